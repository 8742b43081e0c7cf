//! The peers that a broadcaster's agent serves.
//!
//! Each peer has a task and a queue of its own, so that a slow one holds up nobody. A queue that grows beyond [`MAX_QUEUE`] ends its
//! peer.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::flv::{self, TagKind};
use livectl_wire::peer::{Gap, MAX_REQUEST, Request, emit_refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::backlog::Probe;
use super::cache::{Cache, Entry, TagBytes};
use crate::socket;
use crate::tell::{now_ns, tell};

/// What is sent to a peer after the last tag: a script tag with the AMF0 string `onStreamEnd` and null. TCP alone cannot tell the end of the
/// stream from the end of the agent.
pub(crate) const END_OF_STREAM: &[u8] = b"\x02\x00\x0bonStreamEnd\x05";

/// Bytes that wait for a peer in this program at most: half a minute of a stream of 16 Mbit/s.
const MAX_QUEUE: u64 = 64 << 20;
/// Connections at a time, served and held.
const MAX_CONNECTIONS: usize = 256;
/// How long a request may take to arrive after its connection.
const REQUEST_PATIENCE: Duration = Duration::from_secs(20);
/// How long a viewer that was introduced is expected to come. It needs two round trips.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);

/// The stream as peers see it.
#[derive(Debug)]
pub(super) struct Peers {
    stream: StreamKey,
    /// Whoever asks is served, introduced or not.
    admit_all: bool,
    live: Mutex<Live>,
    admission: watch::Sender<Admission>,
    /// Those who were introduced and have not come yet, and when they were.
    expected: watch::Sender<HashMap<Ipv4Addr, Instant>>,
    /// How many peers are being served, those included that only get the rest after the end.
    served: watch::Sender<usize>,
}

#[derive(Debug)]
struct Live {
    cache: Cache,
    queues: Vec<Queue>,
    /// What is sent last, once the stream has ended.
    end: Option<TagBytes>,
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
    gap: Gap,
    backlog: u64,
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
    #[error("it closed the connection before it had everything")]
    Left,
    #[error("too slow: {MAX_QUEUE} bytes were waiting for it")]
    Slow,
}

impl Peers {
    pub(super) fn new(stream: StreamKey, span: Duration, admit_all: bool) -> Self {
        let (admission, expected, served) = Default::default();
        let live = Mutex::new(Live { cache: Cache::new(span), queues: Vec::new(), end: None });
        Self { stream, admit_all, live, admission, expected, served }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on connections from this address are served.
    pub(super) fn introduce(&self, address: Ipv4Addr) {
        let new = self.admission.send_if_modified(|admission| admission.introduced.insert(address));
        if new {
            self.expected.send_modify(|expected| {
                expected.insert(address, Instant::now());
            });
        }
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

    /// The stream begins, or begins again: what was kept of an earlier one is of no use.
    pub(super) fn begin(&self, span: Duration) {
        let mut live = self.live();
        live.end = None;
        live.cache = Cache::new(span);
        drop(live);
        self.admission.send_modify(|admission| admission.ended = false);
    }

    /// Hands a tag to every peer. Never waits.
    pub(super) fn send(&self, entry: Entry) {
        let mut live = self.live();
        live.queues.retain(|queue| queue.put(&entry.bytes));
        live.cache.note(entry);
    }

    /// The stream has ended: peers get what waits for them, and the mark of the end. Who asks later gets of what is kept what was born
    /// after that one came.
    pub(super) fn end(&self, timestamp: u32) {
        let mut bytes = Vec::new();
        // The mark is far shorter than a tag may be.
        let _ = flv::tag(TagKind::Script, timestamp, END_OF_STREAM, &mut bytes);
        let bytes: TagBytes = bytes.into();
        let mut live = self.live();
        // Dropping the queue closes it; what is in it is still delivered.
        live.queues.drain(..).for_each(|queue| {
            queue.put(&bytes);
        });
        live.end = Some(bytes);
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

    fn join(&self, connection: &TcpStream, request: &Request) -> Result<Feed, Gone> {
        let (sender, tags) = mpsc::unbounded_channel();
        let (waiting, overflow) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let queue = Queue {
            sender,
            waiting: Arc::clone(&waiting),
            overflow: Arc::clone(&overflow),
            probe: Probe::new(connection).ok(),
        };
        // Backlog and membership under one lock: the peer's next tag is exactly the one after its backlog.
        let (mut live, now_ns) = (self.live(), now_ns());
        if live.end.is_some() && !live.cache.concerns(request.since, now_ns) {
            return Err(Gone::Ended);
        }
        let backlog = live.cache.backlog(request.since, request.live, now_ns);
        for bytes in &backlog.tags {
            queue.put(bytes);
        }
        match &live.end {
            Some(end) => drop(queue.put(end)),
            None => live.queues.push(queue),
        }
        self.served.send_modify(|served| *served += 1);
        let bytes = backlog.tags.iter().map(|bytes| bytes.len() as u64).sum();
        Ok(Feed { tags, waiting, overflow, gap: backlog.gap, backlog: bytes })
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
            (connection, peer) = socket::accept(&listener), if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(attend(Arc::clone(&peers), connection, peer, drain));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => (),
        }
    }
}

async fn attend(peers: Arc<Peers>, mut connection: TcpStream, peer: SocketAddrV4, drain: Duration) {
    match admit(&peers, &mut connection, *peer.ip()).await {
        Ok(feed) => {
            let Gap { skipped, lost, .. } = feed.gap;
            tell(Event::PeerJoined { peer, backlog: feed.backlog, skipped, lost });
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
async fn admit(peers: &Peers, connection: &mut TcpStream, from: Ipv4Addr) -> Result<Feed, Gone> {
    connection.set_nodelay(true)?;
    let request = timeout(REQUEST_PATIENCE, request(connection)).await.map_err(|_| Gone::Silent)??;
    if request.stream != peers.stream {
        return Err(Gone::Stream(request.stream));
    }
    let mut admission = peers.admission.subscribe();
    let mut byte = [0];
    if !peers.admit_all {
        tokio::select! {
            _ = admission.wait_for(|admission| admission.ended || admission.introduced.contains(&from)) => (),
            _ = connection.read(&mut byte) => return Err(Gone::Impatient),
        }
        // One that the network has not named yet comes again when it has.
        if !admission.borrow().introduced.contains(&from) {
            return Err(Gone::Ended);
        }
    }
    let joined = peers.join(connection, &request)?;
    peers.expected.send_modify(|expected| {
        expected.remove(&from);
    });
    Ok(joined)
}

async fn request(connection: &mut TcpStream) -> Result<Request, Gone> {
    let mut received = Vec::with_capacity(MAX_REQUEST);
    loop {
        if let Some((request, _)) = Request::parse(&received)? {
            return Ok(request);
        }
        if connection.read_buf(&mut received).await? == 0 {
            return Err(Gone::NoRequest);
        }
    }
}

impl Feed {
    /// Writes everything to the peer; then closes politely and waits until the peer has closed too, which it does when it has
    /// everything. Returns how many bytes the connection took.
    async fn deliver(self, connection: TcpStream, drain: Duration) -> (u64, Result<(), Gone>) {
        let Feed { mut tags, waiting, overflow, gap, .. } = self;
        let (mut from, mut to) = connection.into_split();
        let mut bytes = 0;
        let write = async {
            to.write_all(gap.emit().as_bytes()).await?;
            while let Some(tag) = tags.recv().await {
                to.write_all(&tag).await?;
                bytes += tag.len() as u64;
                waiting.fetch_sub(tag.len() as u64, Ordering::Relaxed);
            }
            to.shutdown().await?;
            // After the deadline the kernel goes on delivering what it has; only nobody waits for it.
            tokio::time::sleep(drain).await;
            Ok(())
        };
        // A peer says nothing after its request. Its end is noticed at once, although nothing may be there to be written.
        let mut rest = [0; 64];
        let closed = async {
            loop {
                match from.read(&mut rest).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => (),
                    Err(why) => return Err(Gone::Io(why)),
                }
            }
        };
        let result = tokio::select! {
            result = write => result,
            result = closed => result,
            () = overflow.notified() => Err(Gone::Slow),
        };
        // It has closed before it had everything.
        let result = match result {
            Ok(()) if !tags.is_closed() || !tags.is_empty() => Err(Gone::Left),
            result => result,
        };
        (bytes, result)
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
