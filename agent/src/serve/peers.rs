//! The peers that an agent serves.
//!
//! Each peer has a task and a [queue](Queue) of its own, so that a slow one holds up nobody. A queue that grows too
//! long ends its peer, and so does one that lags behind by more than is allowed ([`Limits`]).
//!
//! A peer may connect long before it needs anything, and say nothing until then.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::agent_event::Event;
use livectl_wire::flv::{self, TagKind};
use livectl_wire::peer::{Gap, MAX_REQUEST, Request, Since, emit_refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::begun::{Begun, Part};
use super::cache::{Cache, Entry, TagBytes};
use super::queue::{END_OF_STREAM, Feed, Queue};
use crate::socket;
use crate::tell::{now_ns, tell};

/// Connections at a time, served and held.
const MAX_CONNECTIONS: usize = 256;
/// How long a request may take to arrive after its connection, from one who was not introduced.
const REQUEST_PATIENCE: Duration = Duration::from_secs(20);
/// How long a viewer that was introduced is expected to come. It needs two round trips.
const EXPECTED_WITHIN: Duration = Duration::from_secs(10);
/// A peer that has connected and asked for nothing so long after is not expected to soon.
const STANDS_BY_AFTER: Duration = Duration::from_secs(2);
/// Bytes that the kernel may hold unsent for a peer that may not lag: what waits, waits where it is seen.
const UNSENT: u32 = 16 << 10;
/// Which peers are served, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// How much of the stream is kept for peers that join late.
    pub(crate) span: Duration,
    /// Whoever asks is served, introduced or not.
    pub(crate) admit_all: bool,
    /// How long a tag may wait for a peer before that peer is dropped; `None`: as long as there is room.
    pub(crate) lag: Option<Duration>,
}

/// The stream as peers see it.
#[derive(Debug)]
pub(crate) struct Peers {
    stream: StreamKey,
    limits: Limits,
    begun: Instant,
    live: Mutex<Live>,
    admission: watch::Sender<Admission>,
    /// Those who were introduced and have not come yet, and when they were.
    expected: watch::Sender<HashMap<Ipv4Addr, Instant>>,
    /// From where the peers are that are being served, those included that only get the rest after the end.
    served: watch::Sender<Vec<Ipv4Addr>>,
}

#[derive(Debug)]
struct Live {
    cache: Cache,
    queues: Vec<Queue>,
    /// The next tag, which is not whole yet, as far as peers were given it.
    begun: Option<Begun>,
    /// What is sent last, once the stream has ended.
    end: Option<TagBytes>,
}

/// Which peers may be served.
#[derive(Debug, Default)]
struct Admission {
    introduced: HashSet<Ipv4Addr>,
    ended: bool,
}

/// Why a peer is not, or no longer, served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no request within {} s", REQUEST_PATIENCE.as_secs())]
    Silent,
    #[error("it closed the connection in the middle of its request")]
    NoRequest,
    #[error("it closed the connection without a request")]
    Unneeded,
    #[error("not a request: {0}")]
    Request(#[from] livectl_wire::peer::PeerError),
    #[error("it asked for {0}, which is not broadcast here")]
    Stream(StreamKey),
    #[error("the stream has ended")]
    Ended,
    #[error("it left before it was introduced")]
    Impatient,
    #[error("the stream is no longer available here")]
    Abandoned,
    #[error("the rest of a tag that it had begun to receive never arrived")]
    BrokenOff,
    #[error("it closed the connection before it had everything")]
    Left,
    #[error("too slow: {0} bytes had been waiting for it for {1} ms")]
    Slow(u64, u64),
}

impl Peers {
    pub(crate) fn new(stream: StreamKey, limits: Limits) -> Self {
        let (admission, expected, served) = Default::default();
        let live = Mutex::new(Live { cache: Cache::new(limits.span), queues: Vec::new(), begun: None, end: None });
        Self { stream, limits, begun: Instant::now(), live, admission, expected, served }
    }

    /// Milliseconds since they are there.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on connections from this address are served.
    pub(crate) fn introduce(&self, address: Ipv4Addr) {
        let new = self.admission.send_if_modified(|admission| admission.introduced.insert(address));
        // Where whoever asks is served, it may have come before.
        if new && !self.served.borrow().contains(&address) {
            self.expected.send_modify(|expected| {
                expected.insert(address, Instant::now());
            });
        }
    }

    /// Peers that were introduced lately and have not come yet.
    pub(crate) fn expected(&self, now: Instant) -> usize {
        let lately = |since: &&Instant| now.saturating_duration_since(**since) < EXPECTED_WITHIN;
        self.expected.borrow().values().filter(lately).count()
    }

    /// Changes when a peer is expected, or has come.
    pub(crate) fn expectations(&self) -> watch::Receiver<HashMap<Ipv4Addr, Instant>> {
        self.expected.subscribe()
    }

    /// The stream begins, or begins again: what was kept of an earlier one is of no use.
    pub(crate) fn begin(&self) {
        let mut live = self.live();
        live.end = None;
        live.cache = Cache::new(self.limits.span);
        drop(live);
        self.admission.send_modify(|admission| admission.ended = false);
    }

    /// Hands a tag to every peer. Never waits. Who was given the beginning of a tag gets the rest, if this is that
    /// tag; if it is not, that peer is dropped.
    pub(crate) fn send(&self, entry: Entry) {
        let (mut live, now, lag) = (self.live(), self.now(), self.limits.lag);
        let rest = live.begun.take().and_then(|begun| begun.rest_of(&entry.bytes));
        live.queues.retain_mut(|queue| match rest {
            _ if !queue.is_within() => queue.put(&entry.bytes, now, lag),
            Some(from) => queue.put_rest(&entry.bytes, from, now, lag),
            None => {
                queue.break_off();
                false
            }
        });
        live.cache.note(entry);
    }

    /// Hands what has come of the next tag to every peer that has all before it. `may_begin`: it is certain that what
    /// begins with this part will be the next tag. It counts as a tag once all of it was [sent](Self::send).
    pub(crate) fn send_part(&self, part: &Part<'_>, may_begin: bool) {
        let (mut live, now, lag) = (self.live(), self.now(), self.limits.lag);
        let Live { begun, queues, .. } = &mut *live;
        if let Some(begun) = begun {
            if let Some(more) = begun.take(part) {
                queues.retain_mut(|queue| !queue.is_within() || queue.put_part(&more, now, lag));
            }
        } else if may_begin
            && queues.iter().any(Queue::is_idle)
            && let Some((new, bytes)) = Begun::with(part)
        {
            *begun = Some(new);
            queues.retain_mut(|queue| !queue.is_idle() || queue.put_part(&bytes, now, lag));
        }
    }

    /// The stream goes on, but nothing more of it comes here: peers get what waits for them, and are left without its
    /// end.
    pub(crate) fn abandon(&self) {
        let mut live = self.live();
        live.begun = None;
        for queue in live.queues.drain(..) {
            queue.progress.abandoned.store(true, Ordering::Relaxed);
        }
        live.cache = Cache::new(self.limits.span);
    }

    /// The stream has ended: peers get what waits for them, and the mark of the end. Who asks later gets of what is
    /// kept what was born after that one came.
    pub(crate) fn end(&self, timestamp: u32) {
        let mut bytes = Vec::new();
        // The mark is far shorter than a tag may be.
        let _ = flv::tag(TagKind::Script, timestamp, END_OF_STREAM, &mut bytes);
        let bytes: TagBytes = bytes.into();
        let (mut live, now) = (self.live(), self.now());
        // Dropping the queue closes it; what is in it is still delivered.
        live.begun = None;
        live.queues.drain(..).for_each(|queue| match queue.is_within() {
            true => queue.break_off(),
            false => drop(queue.put(&bytes, now, None)),
        });
        live.end = Some(bytes);
        drop(live);
        self.admission.send_modify(|admission| admission.ended = true);
    }

    /// The stream from there on, as whole tags, with what a decoder needs before that.
    pub(crate) fn backlog(&self, since: Since) -> Vec<TagBytes> {
        self.live().cache.backlog(since, false, now_ns()).tags
    }

    /// Peers that are being served.
    pub(crate) fn served(&self) -> usize {
        self.served.borrow().len()
    }

    /// By how many seconds the last of the peers lags behind the stream, which has so many bytes a second.
    pub(crate) fn lag(&self, bytes_per_s: f64) -> f64 {
        let live = self.live();
        live.queues.iter().map(|queue| queue.lag(bytes_per_s)).fold(0.0, f64::max)
    }

    /// Waits until no peer is being served.
    pub(crate) async fn all_left(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.served.subscribe().wait_for(Vec::is_empty).await;
    }

    fn join(&self, connection: &TcpStream, from: Ipv4Addr, request: &Request) -> Result<Feed, Gone> {
        let (queue, feed) = Queue::new(connection);
        // Backlog and membership under one lock: the peer's next tag is exactly the one after its backlog.
        let (mut live, now, now_ns) = (self.live(), self.now(), now_ns());
        if live.end.is_some() && !live.cache.concerns(request.since, now_ns) {
            return Err(Gone::Ended);
        }
        let backlog = live.cache.backlog(request.since, request.live, now_ns);
        for bytes in &backlog.tags {
            queue.put(bytes, now, None);
        }
        match &live.end {
            Some(end) => drop(queue.put(end, now, None)),
            None => live.queues.push(queue),
        }
        self.served.send_modify(|served| served.push(from));
        let bytes = backlog.tags.iter().map(|bytes| bytes.len() as u64).sum();
        Ok(feed(backlog.gap, bytes))
    }
}

/// Accepts peers for ever. Dropping the future ends every connection.
pub(crate) async fn serve(peers: Arc<Peers>, listener: TcpListener, drain: Duration) {
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
            let tells_since = peers.limits.lag.is_some();
            let (bytes, result) = feed.deliver(connection, drain, tells_since, || peers.now()).await;
            peers.served.send_modify(|served| {
                let at = served.iter().position(|from| from == peer.ip());
                at.map(|at| served.swap_remove(at));
            });
            tell(Event::PeerLeft { peer, bytes, why: result.err().map(|why| why.to_string()) });
        }
        // It stood by and was not needed.
        Err(Gone::Unneeded) => (),
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
    if peers.limits.lag.is_some() {
        socket::keep_unsent_below(connection, UNSENT)?;
    }
    let request = peers.request(connection, from).await?;
    if request.stream != peers.stream {
        return Err(Gone::Stream(request.stream));
    }
    let mut admission = peers.admission.subscribe();
    let mut byte = [0];
    if !peers.limits.admit_all {
        tokio::select! {
            _ = admission.wait_for(|admission| admission.ended || admission.introduced.contains(&from)) => (),
            _ = connection.read(&mut byte) => return Err(Gone::Impatient),
        }
        // One that the network has not named yet comes again when it has.
        if !admission.borrow().introduced.contains(&from) {
            return Err(Gone::Ended);
        }
    }
    let joined = peers.join(connection, from, &request)?;
    peers.expected.send_modify(|expected| {
        expected.remove(&from);
    });
    Ok(joined)
}

impl Peers {
    /// Reads a request. Who was introduced may take as long as it likes.
    async fn request(&self, connection: &mut TcpStream, from: Ipv4Addr) -> Result<Request, Gone> {
        let now = Instant::now();
        let (deadline, stands_by_from) = (now + REQUEST_PATIENCE, now + STANDS_BY_AFTER);
        let mut stands_by = false;
        let mut received = Vec::with_capacity(MAX_REQUEST);
        loop {
            if let Some((request, _)) = Request::parse(&received)? {
                return Ok(request);
            }
            let is_known = received.is_empty() && self.admission.borrow().introduced.contains(&from);
            tokio::select! {
                count = connection.read_buf(&mut received) => if count? == 0 {
                    return Err(if received.is_empty() { Gone::Unneeded } else { Gone::NoRequest });
                },
                () = sleep_until(stands_by_from), if !stands_by => {
                    stands_by = true;
                    self.expected.send_if_modified(|expected| expected.remove(&from).is_some());
                }
                () = sleep_until(deadline), if !is_known => {
                    // It may have been introduced meanwhile.
                    if !received.is_empty() || !self.admission.borrow().introduced.contains(&from) {
                        return Err(Gone::Silent);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
