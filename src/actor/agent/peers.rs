//! The peers that a broadcaster's agent serves.
//!
//! Each peer has a task and a queue of its own, so that a slow one holds up nobody. A queue that grows beyond [`MAX_QUEUE`] ends its
//! peer.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::flv::{self, Content, TagKind};
use livectl_wire::peer::{MAX_REQUEST, emit_refusal, parse_request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::END_OF_STREAM;
use super::backlog::Probe;
use super::event::{Event, tell};
use super::prelude::{Prelude, TagBytes};

/// Bytes that wait for a peer in this program at most: half a minute of a stream of 16 Mbit/s.
const MAX_QUEUE: u64 = 64 << 20;
/// Connections at a time, served and held.
const MAX_CONNECTIONS: usize = 256;
/// How long a request may take to arrive after its connection.
const REQUEST_PATIENCE: Duration = Duration::from_secs(20);
/// How long a viewer that was introduced is expected to come. It needs two round trips, and a player that starts.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);

/// The stream as peers see it.
#[derive(Debug)]
pub(super) struct Peers {
    stream: StreamKey,
    live: Mutex<Live>,
    admission: watch::Sender<Admission>,
    /// Those who were introduced and have not come yet, and when they were.
    expected: watch::Sender<HashMap<Ipv4Addr, Instant>>,
    /// How many peers are being served, those included that only get the rest after the end.
    served: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Live {
    prelude: Prelude,
    queues: Vec<Queue>,
    ended: bool,
}

/// Who may be served.
#[derive(Debug, Default)]
struct Admission {
    introduced: HashSet<Ipv4Addr>,
    ended: bool,
}

#[derive(Debug)]
struct Queue {
    sender: mpsc::UnboundedSender<TagBytes>,
    waiting: Arc<AtomicU64>,
    overflow: Arc<Notify>,
    probe: Option<Probe>,
}

/// A peer's end of its queue.
struct Feed {
    tags: mpsc::UnboundedReceiver<TagBytes>,
    waiting: Arc<AtomicU64>,
    overflow: Arc<Notify>,
}

/// Why a peer is not, or no longer, served.
#[derive(Debug, thiserror::Error)]
enum Gone {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no request within {} s", REQUEST_PATIENCE.as_secs())]
    Silent,
    #[error("it closed the connection without a request")]
    NoRequest,
    #[error("not a request: {0}")]
    Request(#[from] livectl_wire::peer::PeerError),
    #[error("it asked for {0}, which is not broadcast here")]
    Stream(StreamKey),
    #[error("the stream has ended")]
    Ended,
    #[error("it left before it was introduced")]
    Impatient,
    #[error("too slow: {MAX_QUEUE} bytes were waiting for it")]
    Slow,
}

impl Peers {
    pub(super) fn new(stream: StreamKey) -> Arc<Self> {
        let (admission, expected, served) = Default::default();
        Arc::new(Self { stream, live: Mutex::default(), admission, expected, served })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on connections from this address are served.
    pub(super) fn introduce(&self, address: Ipv4Addr) {
        self.expected.send_modify(|expected| {
            expected.insert(address, Instant::now());
        });
        self.admission.send_if_modified(|admission| admission.introduced.insert(address));
    }

    /// Peers that were introduced lately and have not come yet.
    pub(super) fn expected(&self, now: Instant) -> usize {
        let lately = |since: &&Instant| now.saturating_duration_since(**since) < EXPECTED_WITHIN;
        self.expected.borrow().values().filter(lately).count()
    }

    /// Changes when a peer is expected, or has come.
    pub(super) fn expectations(&self) -> watch::Receiver<HashMap<Ipv4Addr, Instant>> {
        self.expected.subscribe()
    }

    /// Hands a tag to every peer. Never waits.
    pub(super) fn send(&self, kind: TagKind, content: Content, bytes: &TagBytes) {
        let mut live = self.live();
        live.prelude.note(kind, content, bytes);
        live.queues.retain(|queue| queue.put(bytes));
    }

    /// The stream has ended: peers get what waits for them, and the mark of the end; nobody is admitted any more.
    pub(super) fn end(&self, timestamp: u32) {
        let mut bytes = Vec::new();
        // The mark is far shorter than a tag may be.
        let _ = flv::tag(TagKind::Script, timestamp, END_OF_STREAM, &mut bytes);
        let bytes: TagBytes = bytes.into();
        let mut live = self.live();
        live.ended = true;
        // Dropping the queue closes it; what is in it is still delivered.
        live.queues.drain(..).for_each(|queue| {
            queue.put(&bytes);
        });
        drop(live);
        self.admission.send_modify(|admission| admission.ended = true);
    }

    /// Peers that are being served.
    pub(super) fn served(&self) -> usize {
        *self.served.borrow()
    }

    /// By how many seconds the last of the peers lags behind the stream, which has so many bytes a second.
    pub(super) fn lag(&self, bytes_per_s: f64) -> f64 {
        let live = self.live();
        let lags = live.queues.iter().map(|queue| {
            let waiting = queue.waiting.load(Ordering::Relaxed);
            queue.probe.as_ref().map_or(0.0, |probe| probe.lag(waiting, bytes_per_s))
        });
        lags.fold(0.0, f64::max)
    }

    /// Waits until no peer is being served.
    pub(super) async fn all_left(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.served.subscribe().wait_for(|served| *served == 0).await;
    }

    fn join(&self, connection: &TcpStream) -> Result<(Feed, u64), Gone> {
        let (sender, tags) = mpsc::unbounded_channel();
        let (waiting, overflow) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let queue = Queue {
            sender,
            waiting: Arc::clone(&waiting),
            overflow: Arc::clone(&overflow),
            probe: Probe::new(connection).ok(),
        };
        // Backlog and membership under one lock: the peer's next tag is exactly the one after its backlog.
        let mut live = self.live();
        if live.ended {
            return Err(Gone::Ended);
        }
        let backlog = live.prelude.backlog();
        for bytes in &backlog {
            queue.put(bytes);
        }
        live.queues.push(queue);
        self.served.send_modify(|served| *served += 1);
        Ok((Feed { tags, waiting, overflow }, backlog.iter().map(|bytes| bytes.len() as u64).sum()))
    }
}

impl Queue {
    /// Whether the peer goes on being served.
    fn put(&self, bytes: &TagBytes) -> bool {
        let len = bytes.len() as u64;
        let waiting = self.waiting.fetch_add(len, Ordering::Relaxed).saturating_add(len);
        if waiting > MAX_QUEUE {
            self.overflow.notify_one();
            return false;
        }
        self.sender.send(Arc::clone(bytes)).is_ok()
    }
}

/// Accepts peers for ever. Dropping the future ends every connection.
pub(super) async fn serve(peers: Arc<Peers>, listener: TcpListener, drain: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((connection, SocketAddr::V4(peer))) => {
                    connections.spawn(attend(Arc::clone(&peers), connection, peer, drain));
                }
                Ok((_, SocketAddr::V6(_))) => (),
                // Out of descriptors, or the peer was gone: neither gets better by trying at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => (),
        }
    }
}

async fn attend(peers: Arc<Peers>, mut connection: TcpStream, peer: SocketAddrV4, drain: Duration) {
    match admit(&peers, &mut connection, *peer.ip()).await {
        Ok((feed, backlog)) => {
            tell(Event::PeerJoined { peer, backlog });
            let (bytes, result) = feed.deliver(connection, drain).await;
            peers.served.send_modify(|served| *served -= 1);
            tell(Event::PeerLeft { peer, bytes, why: result.err().map(|why| why.to_string()) });
        }
        Err(why) => {
            let why = why.to_string();
            // It may be gone already.
            let _ = connection.write_all(emit_refusal(&why).as_bytes()).await;
            let _ = connection.shutdown().await;
            tell(Event::PeerRefused { peer, why });
        }
    }
}

/// Reads the request and waits until the peer has been introduced.
async fn admit(peers: &Peers, connection: &mut TcpStream, from: Ipv4Addr) -> Result<(Feed, u64), Gone> {
    connection.set_nodelay(true)?;
    let wanted = timeout(REQUEST_PATIENCE, request(connection)).await.map_err(|_| Gone::Silent)??;
    if wanted != peers.stream {
        return Err(Gone::Stream(wanted));
    }
    let mut admission = peers.admission.subscribe();
    let mut byte = [0];
    tokio::select! {
        _ = admission.wait_for(|admission| admission.ended || admission.introduced.contains(&from)) => (),
        _ = connection.read(&mut byte) => return Err(Gone::Impatient),
    }
    let joined = peers.join(connection)?;
    peers.expected.send_modify(|expected| {
        expected.remove(&from);
    });
    Ok(joined)
}

async fn request(connection: &mut TcpStream) -> Result<StreamKey, Gone> {
    let mut received = Vec::with_capacity(MAX_REQUEST);
    loop {
        if let Some((stream, _)) = parse_request(&received)? {
            return Ok(stream);
        }
        if connection.read_buf(&mut received).await? == 0 {
            return Err(Gone::NoRequest);
        }
    }
}

impl Feed {
    /// Writes everything to the peer; then closes politely and waits until the peer has closed too, which it does when it has
    /// everything. Returns how many bytes the connection took.
    async fn deliver(self, mut connection: TcpStream, drain: Duration) -> (u64, Result<(), Gone>) {
        let Feed { mut tags, waiting, overflow } = self;
        let mut bytes = 0;
        let write = async {
            while let Some(tag) = tags.recv().await {
                connection.write_all(&tag).await?;
                bytes += tag.len() as u64;
                waiting.fetch_sub(tag.len() as u64, Ordering::Relaxed);
            }
            connection.shutdown().await?;
            let mut rest = [0; 64];
            let closed = async { while matches!(connection.read(&mut rest).await, Ok(1..)) {} };
            // After the deadline the kernel goes on delivering what it has; only nobody waits for it.
            let _ = timeout(drain, closed).await;
            Ok(())
        };
        let result = tokio::select! {
            result = write => result,
            () = overflow.notified() => Err(Gone::Slow),
        };
        (bytes, result)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use livectl_wire::flv::Reader;
    use livectl_wire::peer::emit_request;

    use super::*;

    struct Bench {
        peers: Arc<Peers>,
        address: SocketAddr,
        service: tokio::task::JoinHandle<()>,
    }

    async fn bench() -> Bench {
        let peers = Peers::new("live/hb".parse().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tokio::spawn(serve(Arc::clone(&peers), listener, Duration::from_secs(5)));
        Bench { peers, address, service }
    }

    fn send(peers: &Peers, timestamp: u32, keyframe: bool, size: usize) {
        let mut payload = vec![timestamp as u8; size];
        payload[0] = if keyframe { 0x12 } else { 0x22 };
        let mut bytes = Vec::new();
        flv::tag(TagKind::Video, timestamp, &payload, &mut bytes).unwrap();
        peers.send(TagKind::Video, Content::of(TagKind::Video, &payload), &bytes.into());
    }

    async fn ask(address: SocketAddr, stream: &str) -> TcpStream {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(emit_request(&stream.parse().unwrap()).as_bytes()).await.unwrap();
        connection
    }

    async fn rest(mut connection: TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(5), connection.read_to_end(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    fn timestamps(bytes: &[u8]) -> Vec<u32> {
        let mut found = Vec::new();
        let mut reader = Reader::new(1 << 20);
        reader.push(bytes, |tag| found.push(tag.timestamp)).unwrap();
        assert_eq!(reader.tail(), None);
        found
    }

    async fn joined(peers: &Peers, count: usize) {
        let wait = async {
            while peers.served() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), wait).await.unwrap();
    }

    #[tokio::test]
    async fn held_until_introduced_then_everything_from_the_last_keyframe_to_the_end() {
        let Bench { peers, address, service } = bench().await;
        let early = ask(address, "live/hb").await;
        for (timestamp, keyframe) in [(0, true), (33, false), (66, true), (100, false)] {
            send(&peers, timestamp, keyframe, 1000);
        }
        assert!(
            timeout(Duration::from_millis(50), early.readable()).await.is_err(),
            "nothing before the introduction"
        );
        peers.introduce(Ipv4Addr::LOCALHOST);
        joined(&peers, 1).await;
        send(&peers, 133, false, 1000);
        let late = ask(address, "live/hb").await;
        joined(&peers, 2).await;
        send(&peers, 166, true, 1000);
        peers.end(200);
        assert_eq!(timestamps(&rest(early).await), [66, 100, 133, 166, 200]);
        assert_eq!(timestamps(&rest(late).await), [66, 100, 133, 166, 200]);
        let refused = rest(ask(address, "live/hb").await).await;
        assert_eq!(refused, b"livectl/1 error the stream has ended\n");
        service.abort();
    }

    #[tokio::test]
    async fn who_was_introduced_is_expected_for_a_while() {
        let Bench { peers, address, service } = bench().await;
        assert_eq!(peers.expected(Instant::now()), 0);
        let mut expectations = peers.expectations();
        peers.introduce(Ipv4Addr::LOCALHOST);
        assert!(expectations.has_changed().unwrap());
        expectations.mark_unchanged();
        assert_eq!(peers.expected(Instant::now()), 1);
        assert_eq!(peers.expected(Instant::now() + EXPECTED_WITHIN), 0, "it is not coming");
        let _connection = ask(address, "live/hb").await;
        timeout(Duration::from_secs(5), expectations.changed()).await.unwrap().unwrap();
        assert_eq!((peers.expected(Instant::now()), peers.served()), (0, 1));
        service.abort();
    }

    #[tokio::test]
    async fn refusals_say_why() {
        let Bench { address, service, .. } = bench().await;
        let refused = rest(ask(address, "live/other").await).await;
        assert_eq!(refused, b"livectl/1 error it asked for live/other, which is not broadcast here\n");
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let refused = String::from_utf8(rest(connection).await).unwrap();
        assert!(refused.starts_with("livectl/1 error not a request: byte 0 differs"), "{refused}");
        service.abort();
    }

    #[tokio::test]
    async fn a_peer_that_never_reads_is_dropped_and_holds_up_nobody() {
        let Bench { peers, address, service } = bench().await;
        peers.introduce(Ipv4Addr::LOCALHOST);
        let _stuck = ask(address, "live/hb").await;
        joined(&peers, 1).await;
        let good = ask(address, "live/hb").await;
        joined(&peers, 2).await;
        let reading = tokio::spawn(rest(good));
        for timestamp in 0..120 {
            send(&peers, timestamp, timestamp == 0, 1 << 20);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        joined(&peers, 1).await;
        peers.end(120);
        assert_eq!(timestamps(&reading.await.unwrap()), (0..=120).collect::<Vec<_>>());
        service.abort();
    }
}
