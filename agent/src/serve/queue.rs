//! What waits for a peer: a queue of its own, both ends of it, and what is said between the tags.

use std::borrow::Cow;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use livectl_wire::flv::{self, TagKind};
use livectl_wire::peer::Gap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::backlog::Probe;
use super::cache::TagBytes;
use super::peers::Gone;
use crate::socket;

/// What is sent to a peer after the last tag: a script tag with the AMF0 string `onStreamEnd` and null. TCP alone
/// cannot tell the end of the stream from the end of the agent.
pub(crate) const END_OF_STREAM: &[u8] = b"\x02\x00\x0bonStreamEnd\x05";

/// What is sent to a peer for which there has been nothing for [`IDLE_AFTER`], and again and again: a script tag with
/// the AMF0 string `onStreamIdle` and null. So who gets nothing knows whether this agent is gone or has nothing
/// itself. It is not part of the stream.
pub(crate) const IDLE: &[u8] = b"\x02\x00\x0conStreamIdle\x05";
/// What is sent to a peer now and then, where peers may not lag: a script tag with the AMF0 string `onStreamSince`
/// and a number, when this agent had the tag before it, in milliseconds since some moment of its own. By how much
/// later than ever before that tag comes, by so much the way between the two is slower than it can be. Like [`IDLE`]
/// it is not part of the stream.
const SINCE: &[u8] = b"\x02\x00\x0donStreamSince\x00";
/// Between two of them.
const SINCE_EVERY: Duration = Duration::from_millis(250);
/// Three frames of a stream of 30 a second.
pub(crate) const IDLE_AFTER: Duration = Duration::from_millis(100);

/// Bytes that wait for a peer in this program at most: half a minute of a stream of 16 Mbit/s.
const MAX_QUEUE: u64 = 64 << 20;
/// How much longer than others a peer may lag behind that has not caught up yet since it joined.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// Bytes of a tag that is not whole that are held back from a peer. While nothing more of the tag comes they go to it
/// one by one, every [`IDLE_AFTER`], since [`IDLE`] cannot be said within a tag: for 6 s, which is longer than it
/// takes to find out that who gives the tag is gone and to have the rest from another.
const HELD_BACK: usize = 64;
/// Nothing is being written.
const NOTHING: u64 = u64::MAX;

/// The payload of a tag that tells when this agent had what it sent before it.
fn since(ms: u64) -> Vec<u8> {
    #[allow(clippy::cast_precision_loss)]
    let number = ms as f64;
    [SINCE, &number.to_be_bytes()].concat()
}

/// When a peer had what it sent before this tag, in milliseconds since some moment of its own; `None`: the tag tells
/// something else.
pub(crate) fn told_since(payload: &[u8]) -> Option<f64> {
    let number = payload.strip_prefix(SINCE)?.try_into().ok()?;
    Some(f64::from_be_bytes(number)).filter(|ms| ms.is_finite())
}

/// An agent's end of a peer's queue.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Piece>,
    pub(super) progress: Arc<Progress>,
    probe: Option<Probe>,
    /// The peer was given a part of a tag that is not whole.
    within: bool,
}

/// A tag for a peer, or what comes next of one.
#[derive(Debug)]
struct Piece {
    bytes: TagBytes,
    /// What is before that is not for the peer, which has it.
    from: usize,
    /// With it the tag is whole.
    ends: bool,
    /// Since when it waits: milliseconds since [`Peers`](super::Peers) are there.
    since: u64,
}

/// What comes of a tag before it is whole, on its way to a peer.
#[derive(Debug, Default)]
struct Unfinished {
    within: bool,
    held_back: Vec<u8>,
}

/// What both ends of a queue know.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes in the queue.
    pub(super) waiting: AtomicU64,
    /// Since when that has been waiting which is being written; [`NOTHING`].
    oldest: AtomicU64,
    /// The queue has been empty since the peer joined.
    caught_up: AtomicBool,
    /// The stream has not ended, and nothing more comes.
    pub(super) abandoned: AtomicBool,
    /// The peer was given the beginning of a tag that will not go on.
    broken_off: AtomicBool,
    /// The peer takes too little.
    overflow: Notify,
}

/// A peer's end of its queue.
pub(super) struct Feed {
    tags: mpsc::UnboundedReceiver<Piece>,
    progress: Arc<Progress>,
    pub(super) gap: Gap,
    /// Bytes that it is given at once.
    pub(super) backlog: u64,
}

impl Default for Progress {
    fn default() -> Self {
        let (waiting, caught_up, abandoned, broken_off, overflow) = Default::default();
        Self { waiting, oldest: AtomicU64::new(NOTHING), caught_up, abandoned, broken_off, overflow }
    }
}

impl Progress {
    /// For how many milliseconds that has been waiting at `now` which is being written.
    fn lag(&self, now: u64) -> u64 {
        match self.oldest.load(Ordering::Relaxed) {
            NOTHING => 0,
            since => now.saturating_sub(since),
        }
    }
}

impl Queue {
    /// A queue of `connection`'s, to whose other end it gives so.
    pub(super) fn new(connection: &TcpStream) -> (Self, impl FnOnce(Gap, u64) -> Feed + use<>) {
        let (sender, tags) = mpsc::unbounded_channel();
        let progress = Arc::new(Progress::default());
        let queue =
            Self { sender, progress: Arc::clone(&progress), probe: Probe::new(connection).ok(), within: false };
        (queue, move |gap, backlog| Feed { tags, progress, gap, backlog })
    }

    /// By how many seconds the peer lags behind a stream of so many bytes a second.
    pub(super) fn lag(&self, bytes_per_s: f64) -> f64 {
        let waiting = self.progress.waiting.load(Ordering::Relaxed);
        self.probe.as_ref().map_or(0.0, |probe| probe.lag(waiting, bytes_per_s))
    }

    /// Nothing waits for the peer, and it has caught up since it joined.
    pub(super) fn is_idle(&self) -> bool {
        let Progress { waiting, caught_up, .. } = &*self.progress;
        caught_up.load(Ordering::Relaxed) && waiting.load(Ordering::Relaxed) == 0
    }

    /// Whether the peer was given a part of a tag that is not whole.
    pub(super) fn is_within(&self) -> bool {
        self.within
    }

    /// Gives the peer a whole tag. Says whether it goes on being served, as all of these do.
    pub(super) fn put(&self, bytes: &TagBytes, now: u64, most: Option<Duration>) -> bool {
        self.put_piece(Piece { bytes: Arc::clone(bytes), from: 0, ends: true, since: now }, most)
    }

    /// Gives the peer what comes next, or first, of a tag that is not whole.
    pub(super) fn put_part(&mut self, bytes: &TagBytes, now: u64, most: Option<Duration>) -> bool {
        self.within = true;
        self.put_piece(Piece { bytes: Arc::clone(bytes), from: 0, ends: false, since: now }, most)
    }

    /// Gives the peer what it has not of that tag, of which it was given as many bytes as `from`.
    pub(super) fn put_rest(&mut self, whole: &TagBytes, from: usize, now: u64, most: Option<Duration>) -> bool {
        self.within = false;
        self.put_piece(Piece { bytes: Arc::clone(whole), from, ends: true, since: now }, most)
    }

    /// The tag of which the peer was given the beginning will not go on. It is told by the end of its connection, and
    /// asks for what follows its last whole frame.
    pub(super) fn break_off(&self) {
        self.progress.broken_off.store(true, Ordering::Relaxed);
    }

    fn put_piece(&self, piece: Piece, most: Option<Duration>) -> bool {
        let (len, now) = (piece.bytes().len() as u64, piece.since);
        let waiting = self.progress.waiting.fetch_add(len, Ordering::Relaxed).saturating_add(len);
        let caught_up = self.progress.caught_up.load(Ordering::Relaxed);
        let most = most.map(|most| if caught_up { most } else { most + CATCHING_UP });
        let lags = most.is_some_and(|most| u128::from(self.progress.lag(now)) > most.as_millis());
        if waiting > MAX_QUEUE || lags {
            self.progress.overflow.notify_one();
            return false;
        }
        self.sender.send(piece).is_ok()
    }
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

impl Unfinished {
    /// What is to be written when that has come.
    fn next<'a>(&mut self, piece: &'a Piece) -> Cow<'a, [u8]> {
        self.within = !piece.ends;
        if piece.ends && self.held_back.is_empty() {
            return Cow::Borrowed(piece.bytes());
        }
        let mut bytes = std::mem::take(&mut self.held_back);
        bytes.extend_from_slice(piece.bytes());
        if self.within {
            self.held_back = bytes.split_off(bytes.len().saturating_sub(HELD_BACK));
        }
        Cow::Owned(bytes)
    }

    /// A byte that was held back, if there is one left.
    fn sign_of_life(&mut self) -> Option<u8> {
        let first = *self.held_back.first()?;
        self.held_back.remove(0);
        Some(first)
    }
}

impl Feed {
    /// Writes everything to the peer; then closes politely and waits until the peer has closed too, which it does
    /// when it has everything. Returns how many bytes the connection took. `now` is in the queue's count.
    pub(super) async fn deliver(
        self,
        connection: TcpStream,
        drain: Duration,
        tells_since: bool,
        now: impl Fn() -> u64,
    ) -> (u64, Result<(), Gone>) {
        let Feed { mut tags, progress, gap, .. } = self;
        let (mut from, mut to) = connection.into_split();
        let mut idle = Vec::new();
        // It is far shorter than a tag may be.
        let _ = flv::tag(TagKind::Script, 0, IDLE, &mut idle);
        let (mut bytes, mut unfinished) = (0, Unfinished::default());
        let mut told = Instant::now();
        let write = async {
            to.write_all(gap.emit().as_bytes()).await?;
            loop {
                let piece = match timeout(IDLE_AFTER, tags.recv()).await {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(_) if unfinished.within => {
                        to.write_all(unfinished.sign_of_life().as_slice()).await?;
                        continue;
                    }
                    Err(_) => {
                        to.write_all(&idle).await?;
                        continue;
                    }
                };
                progress.oldest.store(piece.since, Ordering::Relaxed);
                to.write_all(&unfinished.next(&piece)).await?;
                let len = piece.bytes().len() as u64;
                bytes += len;
                let before = progress.waiting.fetch_sub(len, Ordering::Relaxed);
                progress.oldest.store(NOTHING, Ordering::Relaxed);
                if before <= len {
                    progress.caught_up.store(true, Ordering::Relaxed);
                }
                // What waits for a peer that has to catch up says nothing of the way to it.
                if tells_since
                    && piece.ends
                    && progress.caught_up.load(Ordering::Relaxed)
                    && told.elapsed() >= SINCE_EVERY
                {
                    told = Instant::now();
                    let mut tag = Vec::new();
                    // It is far shorter than a tag may be.
                    let _ = flv::tag(TagKind::Script, 0, &since(piece.since), &mut tag);
                    to.write_all(&tag).await?;
                }
            }
            to.shutdown().await?;
            // After the deadline the kernel goes on delivering what it has; only nobody waits for it.
            tokio::time::sleep(drain).await;
            Ok(())
        };
        // A peer says nothing after its request. Its end is noticed at once, although nothing may be there to be
        // written.
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
            () = progress.overflow.notified() => {
                Err(Gone::Slow(progress.waiting.load(Ordering::Relaxed), progress.lag(now())))
            }
        };
        if matches!(result, Err(Gone::Slow(..))) {
            // What the kernel still has for it would keep it from knowing, and others from having theirs.
            let _ = socket::reset_at_close(&to.as_ref().as_fd());
            to.forget();
        }
        // It has closed before it had everything.
        let result = match result {
            Ok(()) if !tags.is_closed() || !tags.is_empty() => Err(Gone::Left),
            Ok(()) if progress.abandoned.load(Ordering::Relaxed) => Err(Gone::Abandoned),
            Ok(()) if progress.broken_off.load(Ordering::Relaxed) => Err(Gone::BrokenOff),
            result => result,
        };
        (bytes, result)
    }
}
