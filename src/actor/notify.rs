//! The notification service: a heartbeat a second to every agent that is connected.
//!
//! It runs on the CDN and knows nothing of peers: the controller puts those into passing heartbeats. What agents send (their
//! answers to introductions) is meant for the controller too, and is read only to be thrown away.

use std::future::Future;
use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::heartbeat::{Heartbeat, News};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Between two heartbeats.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Connections at a time; further ones are closed at once.
const MAX_CLIENTS: usize = 1024;
/// How long a client may take no bytes before it counts as dead: longer than any queue that TCP survives.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `livectl internal notify`.
#[derive(Debug, Clone, clap::Args)]
pub struct NotifyArgs {
    /// Address and port to listen on; may be given several times
    #[arg(long = "listen", value_name = "IP:PORT", required = true)]
    pub listen: Vec<SocketAddrV4>,
}

/// The service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; is another service using the port, and is the address this host's?")]
pub struct ListenError {
    address: SocketAddrV4,
    source: std::io::Error,
}

/// Listens on these addresses.
///
/// # Errors
/// When one of them cannot be had.
pub async fn listen(addresses: &[SocketAddrV4]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError { address, source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves until `stop` is ready.
pub async fn serve(listeners: Vec<TcpListener>, interval: Duration, stop: impl Future<Output = ()>) {
    let (sender, mut accepted) = tokio::sync::mpsc::channel(16);
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        let sender = sender.clone();
        acceptors.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((client, _)) => {
                        if sender.send(client).await.is_err() {
                            return;
                        }
                    }
                    // Out of descriptors, or the client was gone: neither gets better by trying at once.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
    }
    let mut clients = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(client) = accepted.recv() => {
                if clients.len() < MAX_CLIENTS {
                    clients.spawn(attend(client, interval));
                }
            }
            Some(_) = clients.join_next(), if !clients.is_empty() => (),
        }
    }
}

/// Sends heartbeats, numbered from 0, until the client is gone.
async fn attend(mut client: TcpStream, period: Duration) {
    // Without it, a heartbeat could wait for the acknowledgement of the one before.
    let _ = client.set_nodelay(true);
    let (mut from, mut to) = client.split();
    let beat = async {
        let mut ticks = interval(period);
        // After a stall heartbeats go on once a second rather than in a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for sequence in 0.. {
            let _: Instant = ticks.tick().await;
            let bytes = Heartbeat { sequence, news: News::None }.emit();
            if !matches!(timeout(WRITE_PATIENCE, to.write_all(&bytes)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let discard = async {
        let mut bytes = [0; 1024];
        while matches!(from.read(&mut bytes).await, Ok(1..)) {}
    };
    tokio::select! {
        () = beat => (),
        () = discard => (),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::heartbeat::LEN;

    use super::*;

    async fn beat(client: &mut TcpStream) -> Heartbeat {
        let mut bytes = [0; LEN];
        timeout(Duration::from_secs(5), client.read_exact(&mut bytes)).await.unwrap().unwrap();
        Heartbeat::parse(&bytes).unwrap()
    }

    #[tokio::test]
    async fn every_client_is_counted_for_on_its_own() {
        let listeners = listen(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let service = tokio::spawn(serve(listeners, Duration::from_millis(20), async move {
            let _ = stopped.await;
        }));
        let mut first = TcpStream::connect(address).await.unwrap();
        for sequence in 0..3 {
            assert_eq!(beat(&mut first).await, Heartbeat { sequence, news: News::None });
        }
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(&[b'x'; 5000]).await.unwrap();
        for sequence in 0..3 {
            assert_eq!(beat(&mut second).await.sequence, sequence, "what a client says changes nothing");
        }
        drop(second);
        assert!(beat(&mut first).await.sequence >= 3);
        stop.send(()).unwrap();
        timeout(Duration::from_secs(5), service).await.unwrap().unwrap();
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len() % LEN, 0, "closed after a whole heartbeat");
    }

    #[tokio::test]
    async fn an_address_that_is_taken() {
        let first = listen(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let taken = match first[0].local_addr().unwrap() {
            std::net::SocketAddr::V4(address) => address,
            std::net::SocketAddr::V6(_) => unreachable!(),
        };
        let error = listen(&[taken]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    }
}
