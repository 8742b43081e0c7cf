//! An agent's connection to the notification service: it hears of peers there, and answers.

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::heartbeat::{Heartbeat, HeartbeatError, Introduction, LEN, News, PeerRole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::event::{Event, tell};

/// First wait before the service is tried again; doubled up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(200);
/// Longest such wait.
const MAX_BACK_OFF: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// A service that sends no heartbeat for so long is taken for gone. Seconds of queueing are normal on a congested path.
const SILENCE: Duration = Duration::from_secs(60);

/// Which introductions concern an agent.
#[derive(Debug, Clone)]
pub(super) struct Interest {
    pub(super) stream: StreamKey,
    /// What the peer must be.
    pub(super) role: PeerRole,
}

/// Why a connection to the service ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no heartbeat for {} s", SILENCE.as_secs())]
    Silent,
    #[error("bytes that are no heartbeat: {0}")]
    Heartbeat(#[from] HeartbeatError),
}

/// Keeps a connection to the service for ever. Each introduction of interest is acknowledged and handed on every time it is heard: the
/// controller repeats it until it has seen the answer pass, and may introduce a peer again.
pub(super) async fn listen(service: SocketAddrV4, interest: Interest, introductions: mpsc::Sender<Introduction>) {
    let mut back_off = BACK_OFF;
    let mut known = HashSet::new();
    loop {
        // The service may come later than the agent.
        if let Ok(Ok(connection)) = timeout(CONNECT_PATIENCE, TcpStream::connect(service)).await {
            tell(Event::Connected { service });
            back_off = BACK_OFF;
            if let Err(why) = attend(connection, &interest, &mut known, &introductions).await {
                tell(Event::Disconnected { service, why: why.to_string() });
            }
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

async fn attend(
    mut connection: TcpStream,
    interest: &Interest,
    known: &mut HashSet<SocketAddrV4>,
    introductions: &mpsc::Sender<Introduction>,
) -> Result<(), Lost> {
    connection.set_nodelay(true)?;
    let mut bytes = [0; LEN];
    loop {
        timeout(SILENCE, connection.read_exact(&mut bytes)).await.map_err(|_| Lost::Silent)??;
        let Heartbeat { sequence, news } = Heartbeat::parse(&bytes)?;
        let News::Peer(introduction) = news else { continue };
        if introduction.stream != interest.stream || introduction.role != interest.role {
            continue;
        }
        for &peer in introduction.peers.iter().filter(|peer| known.insert(**peer)) {
            tell(Event::Introduced { peer, role: introduction.role.to_string() });
        }
        // The agent is ending when nobody takes it.
        let _ = introductions.send(introduction.clone()).await;
        connection.write_all(&Heartbeat { sequence, news: News::Ack(introduction) }.emit()).await?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn acknowledges_what_concerns_it_and_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let stream: StreamKey = "live/hb".parse().unwrap();
        let peer = |role, stream: &str| Introduction {
            role,
            peers: vec!["10.0.0.1:2000".parse().unwrap()],
            stream: stream.parse().unwrap(),
        };
        let (sender, mut introductions) = mpsc::channel(4);
        let agent = tokio::spawn(listen(address, Interest { stream, role: PeerRole::Broadcaster }, sender));
        let (mut service, _) = listener.accept().await.unwrap();
        let wanted = peer(PeerRole::Broadcaster, "live/hb");
        let told = [
            News::None,
            News::Peer(peer(PeerRole::Viewer, "live/hb")),
            News::Peer(peer(PeerRole::Broadcaster, "live/other")),
            News::Peer(wanted.clone()),
            News::Peer(wanted.clone()),
        ];
        for (sequence, news) in (0..).zip(told) {
            service.write_all(&Heartbeat { sequence, news }.emit()).await.unwrap();
        }
        let mut bytes = [0; LEN];
        for sequence in [3, 4] {
            service.read_exact(&mut bytes).await.unwrap();
            let ack = Heartbeat { sequence, news: News::Ack(wanted.clone()) };
            assert_eq!(Heartbeat::parse(&bytes).unwrap(), ack);
        }
        for _ in 0..2 {
            assert_eq!(introductions.recv().await, Some(wanted.clone()));
        }
        assert!(introductions.try_recv().is_err(), "only what concerns it");
        service.write_all(&[b'?'; LEN]).await.unwrap();
        let again = timeout(Duration::from_secs(5), listener.accept()).await.unwrap();
        assert!(again.is_ok(), "it drops what it does not understand, and comes back");
        agent.abort();
    }
}
