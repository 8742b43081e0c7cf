//! An agent's connection to the notification service: it hears of peers there, answers, and asks to be told soon.

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::heartbeat::{Heartbeat, HeartbeatError, Introduction, LEN, News, PeerRole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::tell::{ms_since, tell};

/// First wait before the service is tried again; doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(200);
/// Longest such wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// A service that sends no heartbeat for so long is taken for gone. Seconds of queueing are normal on a congested path.
const SILENCE: Duration = Duration::from_secs(60);
/// Between two requests to hasten.
const HASTEN_INTERVAL: Duration = Duration::from_secs(1);
/// How long an agent hastens after its program's publish, or its player's play, was accepted.
const AFTER_ACCEPTANCE: Duration = Duration::from_secs(10);
/// How long it hastens after each introduction: there may be more.
const AFTER_INTRODUCTION: Duration = Duration::from_secs(3);

/// What an agent wants to hear of.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    pub(crate) stream: StreamKey,
    /// What the peer must be.
    pub(crate) role: PeerRole,
}

/// Whether news is expected.
#[derive(Debug, Clone, Copy, Default)]
struct Expectation {
    /// When the program or player connected; `None`: there is none.
    since: Option<Instant>,
    /// Hasten until then; without it and with a program or player, until something happens.
    until: Option<Instant>,
}

/// Tells the connection when news is expected.
#[derive(Debug, Clone)]
pub(crate) struct Hasten(watch::Sender<Expectation>);

impl Hasten {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Expectation::default()))
    }

    /// A program or player has connected.
    pub(crate) fn begin(&self) {
        self.0.send_replace(Expectation { since: Some(Instant::now()), until: None });
    }

    /// Its publish or play was accepted.
    pub(crate) fn accepted(&self) {
        self.0.send_modify(|expected| expected.until = Some(Instant::now() + AFTER_ACCEPTANCE));
    }

    /// It is gone.
    pub(crate) fn end(&self) {
        self.0.send_replace(Expectation::default());
    }

    fn introduced(&self) {
        self.0.send_modify(|expected| expected.until = Some(Instant::now() + AFTER_INTRODUCTION));
    }

    fn is_due(&self) -> bool {
        let Expectation { since, until } = *self.0.borrow();
        since.is_some() && until.is_none_or(|until| Instant::now() < until)
    }
}

/// Why a connection to the service ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("no heartbeat for {} s", SILENCE.as_secs())]
    Silent,
    #[error("bytes that are no heartbeat: {0}")]
    Heartbeat(#[from] HeartbeatError),
}

/// Keeps a connection to the service for ever. Each introduction of interest is acknowledged and handed on every time it is heard: the
/// controller repeats it until it has seen the answer pass, and may introduce a peer again.
pub(crate) async fn listen(
    service: SocketAddrV4,
    interest: Interest,
    hasten: Hasten,
    introductions: mpsc::Sender<SocketAddrV4>,
) {
    let mut back_off = BACK_OFF;
    let mut known = HashSet::new();
    loop {
        // The service may come later than the agent.
        if let Ok(Ok(connection)) = timeout(CONNECT_PATIENCE, TcpStream::connect(service)).await {
            tell(Event::Connected { service });
            back_off = BACK_OFF;
            let Err(why) = attend(connection, &interest, &hasten, &mut known, &introductions).await;
            tell(Event::Disconnected { service, why: why.to_string() });
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

async fn attend(
    connection: TcpStream,
    interest: &Interest,
    hasten: &Hasten,
    known: &mut HashSet<SocketAddrV4>,
    introductions: &mpsc::Sender<SocketAddrV4>,
) -> Result<std::convert::Infallible, Lost> {
    connection.set_nodelay(true)?;
    let (mut from, mut to) = connection.into_split();
    let mut expectations = hasten.0.subscribe();
    let mut ticks = interval(HASTEN_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut received = Vec::with_capacity(LEN);
    let mut present = None;
    let mut silent_from = Instant::now();
    loop {
        tokio::select! {
            count = from.read_buf(&mut received) => {
                if count? == 0 {
                    return Err(Lost::Closed);
                }
                silent_from = Instant::now();
            }
            _ = ticks.tick() => {
                if silent_from.elapsed() > SILENCE {
                    return Err(Lost::Silent);
                }
                if hasten.is_due() {
                    to.write_all(&Heartbeat { sequence: 0, news: News::Hasten }.emit()).await?;
                }
            }
            // The sender is `hasten`'s: it is not gone. One that has just come is not kept waiting for the next tick.
            _ = expectations.changed() => {
                let since = expectations.borrow_and_update().since;
                if since != present && since.is_some() {
                    ticks.reset_immediately();
                    known.clear();
                }
                present = since;
            }
        }
        while let Some(bytes) = received.get(..LEN) {
            let Heartbeat { sequence, news } = Heartbeat::parse(bytes)?;
            received.drain(..LEN);
            let News::Peer(introduction) = news else { continue };
            let Introduction { role, peers, stream } = &introduction;
            if *stream != interest.stream || *role != interest.role {
                continue;
            }
            for &peer in peers {
                if known.insert(peer) {
                    let ms = hasten.0.borrow().since.map(ms_since);
                    tell(Event::Introduced { peer, role: role.to_string(), ms });
                    hasten.introduced();
                }
                // The agent is ending when nobody takes it.
                let _ = introductions.send(peer).await;
            }
            to.write_all(&Heartbeat { sequence, news: News::Ack(introduction) }.emit()).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tokio::net::TcpListener;

    use super::*;

    async fn next(connection: &mut TcpStream) -> News {
        let mut bytes = [0; LEN];
        timeout(Duration::from_secs(5), connection.read_exact(&mut bytes)).await.unwrap().unwrap();
        Heartbeat::parse(&bytes).unwrap().news
    }

    #[tokio::test]
    async fn acknowledges_what_concerns_it_and_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let stream: StreamKey = "live/hb".parse().unwrap();
        let peers: Vec<SocketAddrV4> = vec!["10.0.0.1:2000".parse().unwrap(), "10.0.0.2:2000".parse().unwrap()];
        let introduction =
            |role, stream: &str| Introduction { role, peers: peers.clone(), stream: stream.parse().unwrap() };
        let (sender, mut introductions) = mpsc::channel(16);
        let interest = Interest { stream, role: PeerRole::Child };
        let client = tokio::spawn(listen(address, interest, Hasten::new(), sender));
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().await.unwrap();
            let ours = introduction(PeerRole::Child, "live/hb");
            for (sequence, news) in [
                (1, News::None),
                (2, News::Peer(introduction(PeerRole::Parent, "live/hb"))),
                (3, News::Peer(introduction(PeerRole::Child, "live/other"))),
                (4, News::Peer(ours.clone())),
            ] {
                connection.write_all(&Heartbeat { sequence, news }.emit()).await.unwrap();
            }
            assert_eq!(next(&mut connection).await, News::Ack(ours));
            for peer in &peers {
                assert_eq!(introductions.recv().await, Some(*peer));
            }
        }
        client.abort();
    }

    #[tokio::test]
    async fn hastens_from_when_someone_is_there_until_nothing_more_is_expected() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let (sender, _introductions) = mpsc::channel(16);
        let hasten = Hasten::new();
        let interest = Interest { stream: "live/hb".parse().unwrap(), role: PeerRole::Child };
        let client = tokio::spawn(listen(address, interest, hasten.clone(), sender));
        let (mut connection, _) = listener.accept().await.unwrap();
        let quiet = timeout(Duration::from_millis(1500), next(&mut connection)).await;
        assert!(quiet.is_err(), "nobody is there who wants to know");
        let begun = Instant::now();
        hasten.begin();
        assert_eq!(next(&mut connection).await, News::Hasten);
        assert!(begun.elapsed() < Duration::from_millis(500), "at once: {:?}", begun.elapsed());
        assert_eq!(next(&mut connection).await, News::Hasten);
        hasten.end();
        let quiet = timeout(Duration::from_millis(1500), next(&mut connection)).await;
        assert!(quiet.is_err(), "it is gone");
        client.abort();
    }
}
