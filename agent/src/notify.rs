//! The notification service: a heartbeat a second to every agent that is connected, more often to those that hasten.
//!
//! It runs on the CDN and knows nothing of peers: the controller puts those into passing heartbeats. Agents'
//! answers to introductions are meant for the controller and are discarded here; only `hasten` is acted on.

use std::future::Future;
use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::heartbeat::{HASTENED_FOR, HASTENED_INTERVAL, Heartbeat, LEN, News};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::cli::endpoint;
use crate::socket;

/// Connections at a time; further ones are closed at once.
const MAX_CLIENTS: usize = 1024;
/// How long a client may take no bytes before it counts as dead: longer than any queue that TCP survives.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `live-agent notify`.
#[derive(Debug, Clone, clap::Args)]
pub struct NotifyArgs {
    /// Address and port to listen on; may be given several times
    #[arg(long = "listen", value_name = "IP:PORT", required = true, value_parser = endpoint)]
    pub listen: Vec<SocketAddrV4>,
}

/// The service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; is another service using the port, or does the address belong to another host?"
)]
pub struct ListenError {
    address: SocketAddrV4,
    source: std::io::Error,
}

/// Listens on these addresses.
///
/// # Errors
/// When one of them cannot be used.
pub async fn listen(addresses: &[SocketAddrV4]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError { address, source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves until `stop` is ready, with so long between two heartbeats.
pub async fn serve(listeners: Vec<TcpListener>, interval: Duration, stop: impl Future<Output = ()>) {
    let (sender, mut accepted) = tokio::sync::mpsc::channel(16);
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        let sender = sender.clone();
        acceptors.spawn(async move {
            loop {
                let (client, _) = socket::accept(&listener).await;
                if sender.send(client).await.is_err() {
                    return;
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
    let (hastened, mut hastens) = watch::channel(Instant::now());
    let beat = async {
        for sequence in 0.. {
            let sent = Instant::now();
            let bytes = Heartbeat { sequence, news: News::None }.emit();
            if !matches!(timeout(WRITE_PATIENCE, to.write_all(&bytes)).await, Ok(Ok(()))) {
                return;
            }
            // Counted from this one, so that after a stall they do not come in a burst.
            loop {
                let until = *hastens.borrow_and_update();
                let pause = if until > Instant::now() { period.min(HASTENED_INTERVAL) } else { period };
                tokio::select! {
                    () = sleep_until(sent + pause) => break,
                    // The sender lives as long as this.
                    _ = hastens.changed() => (),
                }
            }
        }
    };
    let hear = async {
        let mut bytes = [0; LEN];
        // What is no heartbeat is no agent's: nothing sensible can follow.
        while from.read_exact(&mut bytes).await.is_ok() {
            match Heartbeat::parse(&bytes) {
                Ok(Heartbeat { news: News::Hasten, .. }) => {
                    hastened.send_replace(Instant::now() + HASTENED_FOR);
                }
                Ok(_) => (),
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = beat => (),
        () = hear => (),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::heartbeat;

    use super::*;

    async fn start(
        period: Duration,
    ) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listeners = listen(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let service = tokio::spawn(serve(listeners, period, async {
            let _ = stopped.await;
        }));
        (address, stop, service)
    }

    async fn beat(client: &mut TcpStream) -> u64 {
        let mut bytes = [0; LEN];
        timeout(Duration::from_secs(5), client.read_exact(&mut bytes)).await.unwrap().unwrap();
        let heartbeat = Heartbeat::parse(&bytes).unwrap();
        assert_eq!(heartbeat.news, News::None);
        heartbeat.sequence
    }

    #[tokio::test]
    async fn numbered_heartbeats_to_every_client() {
        let (address, stop, service) = start(Duration::from_millis(20)).await;
        let mut clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        for client in &mut clients {
            for expected in 0..5 {
                assert_eq!(beat(client).await, expected);
            }
        }
        drop(stop);
        service.await.unwrap();
        let [mut first, _] = clients;
        let mut rest = Vec::new();
        first.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len() % LEN, 0, "closed after a whole heartbeat");
    }

    #[tokio::test]
    async fn hastened_for_a_while() {
        let (address, _stop, _service) = start(heartbeat::INTERVAL).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        beat(&mut client).await;
        client.write_all(&Heartbeat { sequence: 0, news: News::Hasten }.emit()).await.unwrap();
        let begun = Instant::now();
        // 2 s at ten a second, then one a second; a busy machine may be late, never early.
        for _ in 0..15 {
            beat(&mut client).await;
        }
        assert!(begun.elapsed() > Duration::from_millis(1400), "{:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_millis(3000), "{:?}", begun.elapsed());
        while begun.elapsed() < HASTENED_FOR {
            beat(&mut client).await;
        }
        let slow = Instant::now();
        beat(&mut client).await;
        beat(&mut client).await;
        assert!(slow.elapsed() > Duration::from_secs(1), "{:?}", slow.elapsed());
    }

    #[tokio::test]
    async fn garbage_ends_a_client_and_no_other() {
        let (address, _stop, _service) = start(Duration::from_millis(20)).await;
        let mut other = TcpStream::connect(address).await.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&[b'x'; LEN]).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset.
        let _ = timeout(Duration::from_secs(5), client.read_to_end(&mut rest)).await.unwrap();
        for expected in 0..3 {
            assert_eq!(beat(&mut other).await, expected);
        }
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
