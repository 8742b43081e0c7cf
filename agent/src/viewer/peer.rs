//! The stream from a peer.

use std::net::SocketAddrV4;
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::flv::{self, Begun, FlvError, Reader, TagKind};
use livectl_wire::peer::{Answer, Gap, PeerError, Request, Since};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::group;
use super::merge::Tag;
use crate::serve::{END_OF_STREAM, IDLE, told_since};
use crate::socket;

/// Bytes taken from the peer at once.
const READ_SIZE: usize = 64 << 10;
/// Readings that may wait to be merged.
const MAX_READINGS: usize = 8;
/// Bytes of a tag with which its parts begin: enough to know what it is.
const LEAST_FIRST: usize = 64;
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take: a peer holds it back until it was told of who asks.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that the kernel may keep of what came from the peer, of which it offers half as a window. Sized by itself,
/// the window begins at some 40 to 64 kB and grows by a third or so each round trip, so that a viewer that joins 0.4
/// s away needs 2.3 s until it has caught up with a stream of 2.5 Mbit/s.
const RECEIVE_BUFFER: u32 = 4 << 20;

/// What comes from a peer, or of one.
#[derive(Debug)]
pub(super) enum Reading {
    /// It serves; what is missing, if it says so.
    Serves(Option<Gap>),
    /// Some bytes have come, and with them these tags were whole; none as well while the peer itself has nothing.
    Tags(Vec<Tag>),
    /// So many tags are lost, between those before and those after.
    Missing(u32),
    /// Some of a tag has come that is not whole; it will be among the tags when it is.
    Part(Part),
    /// What came last took so much longer than the same way has taken since it was asked.
    Behind(Duration),
    /// The stream has ended, and the peer has given all of it.
    End,
    /// It gives nothing more although the stream has not ended.
    Lost(String),
}

/// What has come of the payload of a tag that is not whole.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) kind: TagKind,
    /// Milliseconds, in the peer's count.
    pub(super) timestamp: u32,
    /// Bytes of the whole payload.
    pub(super) size: usize,
    /// Where in it these lie: they are the next.
    pub(super) at: usize,
    pub(super) bytes: Vec<u8>,
}

/// Tells parts of tags that are long enough.
#[derive(Debug)]
struct Parts {
    /// Bytes of payload; `None`: none is.
    least: Option<usize>,
    /// Where in the stream the tag begins of which so many bytes have been told.
    of: (u64, usize),
}

/// Why there is nothing more from a peer although the stream goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("it did not answer within {} s", ANSWER_PATIENCE.as_secs())]
    Unanswered,
    #[error("it refused: {0}")]
    Refused(String),
    #[error("it sent data without being asked")]
    Unasked,
    #[error("its answer is invalid: {0}")]
    Answer(#[from] PeerError),
    #[error("its stream cannot be read: {0}")]
    Stream(#[from] FlvError),
    #[error("it closed the connection before the end of the stream")]
    Closed,
}

/// A connection to a peer; it ends with this.
#[derive(Debug)]
pub(super) struct Fetch {
    readings: mpsc::Receiver<Reading>,
    task: JoinHandle<()>,
    /// Of a connection that is there for when it is needed: by which it is asked.
    ask: Option<oneshot::Sender<Asked>>,
}

/// A request, and when it was made: the connection may take its time.
#[derive(Debug)]
struct Asked {
    request: Request,
    at: Instant,
}

impl Asked {
    /// As it is to be said now: who waits has gone on waiting.
    fn now(self) -> Request {
        let since = match self.request.since {
            Since::Waiting(ms) => {
                let more = u32::try_from(self.at.elapsed().as_millis()).unwrap_or(u32::MAX);
                Since::Waiting(ms.saturating_add(more))
            }
            since => since,
        };
        Request { since, ..self.request }
    }
}

impl Fetch {
    /// Joins a group of that stream over the link that leads towards that address.
    pub(super) fn join(group: SocketAddrV4, towards: SocketAddrV4, stream: StreamKey) -> Self {
        let (sender, readings) = mpsc::channel(MAX_READINGS);
        let task = tokio::spawn(async move {
            let taken = group::take(group, towards, &stream, &sender).await;
            finish(taken, &sender).await;
        });
        Self { readings, task, ask: None }
    }

    /// Asks `peer`. Of tags with at least so many bytes parts are told.
    pub(super) fn begin(peer: SocketAddrV4, request: Request, in_parts: Option<usize>) -> Self {
        let mut fetch = Self::stand_by(peer, in_parts);
        fetch.ask(request);
        fetch
    }

    /// Connects to `peer`, and asks nothing yet.
    pub(super) fn stand_by(peer: SocketAddrV4, in_parts: Option<usize>) -> Self {
        let (sender, readings) = mpsc::channel(MAX_READINGS);
        let (ask, asked) = oneshot::channel();
        let task = tokio::spawn(async move {
            let parts = Parts { least: in_parts, of: (0, 0) };
            let fetched = fetch(peer, asked, parts, &sender).await;
            finish(fetched, &sender).await;
        });
        Self { readings, task, ask: Some(ask) }
    }

    /// Asks for the stream, once.
    pub(super) fn ask(&mut self, request: Request) {
        if let Some(ask) = self.ask.take() {
            // If it is lost, that is said where it is waited for.
            let _ = ask.send(Asked { request, at: Instant::now() });
        }
    }

    /// What comes next; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Reading> {
        self.readings.recv().await
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says how it ended.
async fn finish(how: Result<(), Lost>, to: &mpsc::Sender<Reading>) {
    let last = match how {
        Ok(()) => Reading::End,
        Err(why) => Reading::Lost(why.to_string()),
    };
    // Nobody may want to know any more.
    let _ = to.send(last).await;
}

/// How much longer than at its best what a peer had takes until it is here, whatever moment the peer counts from.
#[derive(Debug)]
struct Lateness {
    begun: Instant,
    least: f64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { begun: Instant::now(), least: f64::INFINITY }
    }
}

impl Lateness {
    /// Of what the peer had then, in milliseconds by its own count, and is here now.
    fn of(&mut self, since: f64) -> Duration {
        let took = self.begun.elapsed().as_secs_f64() * 1e3 - since;
        self.least = self.least.min(took);
        Duration::try_from_secs_f64((took - self.least) / 1e3).unwrap_or_default()
    }
}

/// Connects with room for what a peer sends at once to one that joins.
async fn open(peer: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Without it, the kernel goes on sizing the window, as far as its own limit.
    let _ = socket::room_for_received(&socket, RECEIVE_BUFFER);
    let connection = socket.connect(peer.into()).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

impl Parts {
    /// What has come of the tag that is not whole.
    fn next(&mut self, reader: &Reader) -> Option<Part> {
        let Begun { kind, timestamp, size, payload, offset } = reader.begun()?;
        let at = if self.of.0 == offset { self.of.1 } else { 0 };
        let is_told = self.least.is_some_and(|least| size >= least) && (at > 0 || payload.len() >= LEAST_FIRST);
        let bytes = payload.get(at..).filter(|new| is_told && !new.is_empty())?.to_vec();
        self.of = (offset, payload.len());
        Some(Part { kind, timestamp, size, at, bytes })
    }
}

async fn fetch(
    peer: SocketAddrV4,
    asked: oneshot::Receiver<Asked>,
    mut parts: Parts,
    to: &mpsc::Sender<Reading>,
) -> Result<(), Lost> {
    let connected = timeout(CONNECT_PATIENCE, open(peer)).await;
    let mut connection = connected.map_err(|late| Lost::Unreachable(late.into()))?.map_err(Lost::Unreachable)?;
    let mut received = Vec::new();
    // Until it is asked a peer says nothing; but it may close, or refuse.
    let request = tokio::select! {
        biased;
        // Without a sender nobody wants anything any more.
        request = asked => request.map_err(|_| Lost::Closed)?,
        count = connection.read_buf(&mut received) => match count? {
            0 => return Err(Lost::Closed),
            _ => return Err(match Answer::parse(&received)? {
                Some(Answer::Refused(why)) => Lost::Refused(why),
                _ => Lost::Unasked,
            }),
        },
    };
    connection.write_all(request.now().emit().as_bytes()).await?;
    let answer = async {
        loop {
            match Answer::parse(&received)? {
                Some(Answer::Stream { gap, consumed }) => return Ok((gap, consumed)),
                Some(Answer::Refused(why)) => return Err(Lost::Refused(why)),
                None if connection.read_buf(&mut received).await? == 0 => return Err(Lost::Closed),
                None => (),
            }
        }
    };
    let (gap, consumed) = timeout(ANSWER_PATIENCE, answer).await.map_err(|_| Lost::Unanswered)??;
    let _ = to.send(Reading::Serves(gap)).await;
    let mut reader = Reader::new(flv::MAX_PAYLOAD);
    let mut bytes = received.split_off(consumed);
    let mut buffer = vec![0; READ_SIZE];
    let mut lateness = Lateness::default();
    loop {
        let (mut tags, mut ended) = (Vec::new(), false);
        let mut behind = None;
        let read = reader.push(&bytes, |tag| {
            ended |= tag.kind == TagKind::Script && tag.payload == END_OF_STREAM;
            let is_idle = tag.kind == TagKind::Script && tag.payload == IDLE;
            if let Some(since) = told_since(tag.payload).filter(|_| tag.kind == TagKind::Script) {
                behind = Some(lateness.of(since));
            } else if !ended && !is_idle {
                tags.push(Tag::of(tag.kind, tag.timestamp, tag.payload.to_vec()));
            }
        });
        // What came before it was in order.
        let _ = to.send(Reading::Tags(tags)).await;
        if let Some(behind) = behind {
            let _ = to.send(Reading::Behind(behind)).await;
        }
        read?;
        if ended {
            return Ok(());
        }
        if let Some(part) = parts.next(&reader) {
            let _ = to.send(Reading::Part(part)).await;
        }
        let count = connection.read(&mut buffer).await?;
        if count == 0 {
            return Err(Lost::Closed);
        }
        bytes.clear();
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}
