//! An agent's connection to the notification service: it hears of peers there, answers, asks to be told soon, and
//! tells the network what has become of its parent and of itself.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::heartbeat::{Heartbeat, HeartbeatError, Introduction, LEN, News, PeerRole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::tell::{ms_since, tell};

/// First wait before the service is tried again; doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(200);
/// Longest such wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// A service that sends no heartbeat for so long is taken for gone. Seconds of queueing are normal on a congested
/// path.
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
    /// What the peer may be.
    pub(crate) roles: &'static [PeerRole],
    /// The network is told that the stream is going to be published here, until it is.
    pub(crate) announces: bool,
}

/// A peer, as the network names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    /// What the peer is to this agent: parent, child, standby, ….
    pub(crate) role: PeerRole,
    /// Address and port of the peer.
    pub(crate) peer: SocketAddrV4,
}

/// What the network is told by an agent.
#[derive(Debug)]
pub(crate) enum Report {
    /// That peer does not serve, or no longer. It is told again and again until the network names another one.
    Lost(SocketAddrV4),
    /// That peer serves after all, and need not be told of any more.
    Serves(SocketAddrV4),
    /// Program or player is gone. Whoever waits is told when that has been written.
    Left(oneshot::Sender<()>),
}

/// Whether an agent expects to be told something, and for how long.
#[derive(Debug, Clone, Copy, Default)]
struct Expectation {
    /// When the program or player connected; `None` if there is none.
    since: Option<Instant>,
    /// Hasten until then; without it and with a program or player, until something happens.
    until: Option<Instant>,
    /// A publish or play has been accepted once.
    was_accepted: bool,
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
        self.0.send_modify(|expected| (expected.since, expected.until) = (Some(Instant::now()), None));
    }

    /// Its publish or play was accepted.
    pub(crate) fn accepted(&self) {
        self.0.send_modify(|expected| {
            expected.until = Some(Instant::now() + AFTER_ACCEPTANCE);
            expected.was_accepted = true;
        });
    }

    /// The program or player is gone.
    pub(crate) fn end(&self) {
        self.0.send_modify(|expected| (expected.since, expected.until) = (None, None));
    }

    /// It was told something, or has told something: there may be more.
    fn expect_more(&self) {
        self.0.send_modify(|expected| expected.until = Some(Instant::now() + AFTER_INTRODUCTION));
    }

    fn is_due(&self) -> bool {
        let Expectation { since, until, .. } = *self.0.borrow();
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
    #[error("it sent bytes that are not a heartbeat: {0}")]
    Heartbeat(#[from] HeartbeatError),
}

/// Keeps a connection to the service for ever. Each introduction of interest is acknowledged and handed on every time
/// it is heard: the controller repeats it until it has seen the answer pass, and may introduce a peer again.
pub(crate) async fn listen(
    service: SocketAddrV4,
    interest: Interest,
    hasten: Hasten,
    introductions: mpsc::Sender<Named>,
    reports: mpsc::UnboundedReceiver<Report>,
) {
    let mut back_off = BACK_OFF;
    let mut listener = Listener { interest, hasten, introductions, reports, known: HashSet::new(), lost: Vec::new() };
    loop {
        // The service may come later than the agent.
        if let Ok(Ok(connection)) = timeout(CONNECT_PATIENCE, TcpStream::connect(service)).await {
            tell(Event::Connected { service });
            back_off = BACK_OFF;
            let Err(why) = listener.attend(connection).await;
            tell(Event::Disconnected { service, why: why.to_string() });
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

struct Listener {
    interest: Interest,
    hasten: Hasten,
    introductions: mpsc::Sender<Named>,
    reports: mpsc::UnboundedReceiver<Report>,
    /// Of whom the outside was told.
    known: HashSet<Named>,
    /// Peers that do not serve, as long as the network has not named others.
    lost: Vec<SocketAddrV4>,
}

impl Listener {
    async fn attend(&mut self, connection: TcpStream) -> Result<Infallible, Lost> {
        connection.set_nodelay(true)?;
        let (mut from, mut to) = connection.into_split();
        let mut expectations = self.hasten.0.subscribe();
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
                    if self.interest.announces && !self.hasten.0.borrow().was_accepted {
                        say(&mut to, News::Announce(self.interest.stream.clone())).await?;
                    }
                    if self.hasten.is_due() {
                        say(&mut to, News::Hasten).await?;
                    }
                    for peer in self.lost.clone() {
                        self.say_lost(&mut to, peer).await?;
                    }
                }
                Some(report) = self.reports.recv() => self.report(&mut to, report).await?,
                // The sender is `hasten`'s: it is not gone. One that has just come is not kept waiting for the next
                // tick.
                _ = expectations.changed() => {
                    let since = expectations.borrow_and_update().since;
                    if since != present && since.is_some() {
                        ticks.reset_immediately();
                        self.known.clear();
                    }
                    present = since;
                }
            }
            while let Some(bytes) = received.get(..LEN) {
                let heartbeat = Heartbeat::parse(bytes)?;
                received.drain(..LEN);
                self.hear(&mut to, heartbeat).await?;
            }
        }
    }

    async fn hear(&mut self, to: &mut OwnedWriteHalf, heartbeat: Heartbeat) -> Result<(), Lost> {
        let Heartbeat { sequence, news } = heartbeat;
        let News::Peer(introduction) = news else { return Ok(()) };
        let Introduction { role, peers, stream } = &introduction;
        let role = *role;
        if *stream != self.interest.stream || !self.interest.roles.contains(&role) {
            return Ok(());
        }
        for &peer in peers {
            let named = Named { role, peer };
            if role != PeerRole::Child {
                // There is one of each, and one source in all: whoever was named before may be named again.
                let replaces =
                    |known: &Named| known.role == role || role != PeerRole::Standby && known.role != PeerRole::Child;
                self.known.retain(|known| *known == named || !replaces(known));
                self.lost.retain(|lost| role == PeerRole::Standby && *lost != peer);
            }
            if self.known.insert(named) {
                let ms = self.hasten.0.borrow().since.map(ms_since);
                tell(Event::Introduced { peer, role: role.to_string(), ms });
                self.hasten.expect_more();
            }
            // The agent is ending when nobody takes it.
            let _ = self.introductions.send(named).await;
        }
        to.write_all(&Heartbeat { sequence, news: News::Ack(introduction) }.emit()).await?;
        Ok(())
    }

    async fn report(&mut self, to: &mut OwnedWriteHalf, report: Report) -> Result<(), Lost> {
        match report {
            Report::Lost(peer) => {
                if !self.lost.contains(&peer) {
                    self.lost.push(peer);
                }
                // The same peer may be named once more.
                self.known.retain(|known| known.peer != peer || known.role == PeerRole::Child);
                self.hasten.expect_more();
                self.say_lost(to, peer).await
            }
            Report::Serves(peer) => {
                self.lost.retain(|lost| *lost != peer);
                Ok(())
            }
            Report::Left(written) => {
                self.lost.clear();
                say(to, News::Left(self.interest.stream.clone())).await?;
                // Nobody may wait any more.
                let _ = written.send(());
                Ok(())
            }
        }
    }

    async fn say_lost(&self, to: &mut OwnedWriteHalf, peer: SocketAddrV4) -> Result<(), Lost> {
        say(to, News::Lost { peer, stream: self.interest.stream.clone() }).await
    }
}

async fn say(to: &mut OwnedWriteHalf, news: News) -> Result<(), Lost> {
    to.write_all(&Heartbeat { sequence: 0, news }.emit()).await?;
    Ok(())
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
        let interest = Interest { stream, roles: &[PeerRole::Child], announces: false };
        let client = tokio::spawn(listen(address, interest, Hasten::new(), sender, mpsc::unbounded_channel().1));
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
                assert_eq!(introductions.recv().await, Some(Named { role: PeerRole::Child, peer: *peer }));
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
        let interest = Interest { stream: "live/hb".parse().unwrap(), roles: &[PeerRole::Child], announces: false };
        let client = tokio::spawn(listen(address, interest, hasten.clone(), sender, mpsc::unbounded_channel().1));
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

    #[tokio::test]
    async fn a_broadcaster_is_announced_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let stream: StreamKey = "live/hb".parse().unwrap();
        let hasten = Hasten::new();
        let (sender, _introductions) = mpsc::channel(16);
        let interest = Interest { stream: stream.clone(), roles: &[PeerRole::Child], announces: true };
        let client = tokio::spawn(listen(address, interest, hasten.clone(), sender, mpsc::unbounded_channel().1));
        // On each connection, and again.
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().await.unwrap();
            for _ in 0..2 {
                assert_eq!(next(&mut connection).await, News::Announce(stream.clone()));
            }
        }
        let (mut connection, _) = listener.accept().await.unwrap();
        assert_eq!(next(&mut connection).await, News::Announce(stream.clone()));
        hasten.begin();
        assert_eq!(next(&mut connection).await, News::Announce(stream.clone()), "nothing has been accepted yet");
        assert_eq!(next(&mut connection).await, News::Hasten);
        hasten.accepted();
        hasten.end();
        let quiet = timeout(Duration::from_millis(2500), async {
            while next(&mut connection).await != News::Announce(stream.clone()) {}
        });
        assert!(quiet.await.is_err(), "who has published says nothing of what is to come");
        client.abort();
    }

    #[tokio::test]
    async fn what_is_lost_is_told_until_another_is_named_and_leaving_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let stream: StreamKey = "live/hb".parse().unwrap();
        let (sender, mut introductions) = mpsc::channel(16);
        let (reports, received) = mpsc::unbounded_channel();
        let interest = Interest { stream: stream.clone(), roles: PeerRole::ALL, announces: false };
        let client = tokio::spawn(listen(address, interest, Hasten::new(), sender, received));
        let (mut connection, _) = listener.accept().await.unwrap();
        let peer = "10.0.0.1:2000".parse().unwrap();
        reports.send(Report::Lost(peer)).unwrap();
        for _ in 0..2 {
            assert_eq!(next(&mut connection).await, News::Lost { peer, stream: stream.clone() });
        }
        reports.send(Report::Serves(peer)).unwrap();
        let quiet = timeout(Duration::from_millis(1500), next(&mut connection)).await;
        assert!(quiet.is_err(), "it serves again");
        reports.send(Report::Lost(peer)).unwrap();
        assert_eq!(next(&mut connection).await, News::Lost { peer, stream: stream.clone() });
        let other = "10.0.0.2:2000".parse().unwrap();
        let parent = Introduction { role: PeerRole::Parent, peers: vec![other], stream: stream.clone() };
        connection.write_all(&Heartbeat { sequence: 1, news: News::Peer(parent.clone()) }.emit()).await.unwrap();
        assert_eq!(introductions.recv().await, Some(Named { role: PeerRole::Parent, peer: other }));
        assert_eq!(next(&mut connection).await, News::Ack(parent));
        let quiet = timeout(Duration::from_millis(1500), next(&mut connection)).await;
        assert!(quiet.is_err(), "another one was named");
        let (written, is_written) = oneshot::channel();
        reports.send(Report::Left(written)).unwrap();
        assert_eq!(next(&mut connection).await, News::Left(stream));
        is_written.await.unwrap();
        client.abort();
    }
}
