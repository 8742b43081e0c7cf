//! Watching one RTMP connection until it is known what it is for.
//!
//! Who watches is to take whatever the two ends take; nginx-rtmp's reading is the measure where the specification and
//! servers differ. What it cannot read, it says so.

use std::collections::VecDeque;

use livectl_wire::StreamKey;
use livectl_wire::amf0::{self, Value};
use livectl_wire::assembler::{Assembler, Segment};
use livectl_wire::command::{Command, Status};
use livectl_wire::rtmp::{self, Media, Message, kind};

use super::connection::Direction;
use super::members::Part;

/// Bytes that may wait behind a lost segment, in each direction.
const WAITING: usize = 16 << 10;
/// So much of a command is kept. `connect` with all its properties has some hundred bytes, unless a token is among
/// them.
const COMMAND: usize = 8 << 10;
/// Chunk streams in each direction: as many as nginx-rtmp allows unless told otherwise.
const CHUNK_STREAMS: usize = 32;
/// Bytes of a connection, both directions, after which nothing more is expected of it. The handshake takes 6146 of
/// them.
const MOST: u64 = 256 << 10;
/// Bytes by which an RST or an acknowledgement may be ahead of what was seen.
const AHEAD: i64 = 1 << 20;
/// Requests that wait for their answer.
const REQUESTS: usize = 16;
/// The first byte of a client that speaks RTMP, plain or encrypted.
const VERSIONS: [u8; 2] = [rtmp::VERSION, 6];

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Not enough has been said yet.
    Open,
    /// The client is this in that stream: it asked for it, and the server said yes.
    Role(Part, StreamKey),
    /// It will not be known: the reason.
    Nothing(String),
}

/// One connection, from its first segment on.
#[derive(Debug)]
pub struct Watch {
    to_server: Half,
    to_client: Half,
    talk: Talk,
    /// The first byte of what the client says.
    first: Option<u8>,
    bytes: u64,
}

#[derive(Debug)]
struct Half {
    assembler: Assembler,
    reader: rtmp::Reader,
}

impl Half {
    fn new() -> Self {
        let limits = rtmp::Limits { message: COMMAND, chunk_streams: CHUNK_STREAMS, incomplete: 2 * COMMAND };
        Self { assembler: Assembler::new(WAITING), reader: rtmp::Reader::new(limits, Media::Commands(COMMAND)) }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self { to_server: Half::new(), to_client: Half::new(), talk: Talk::default(), first: None, bytes: 0 }
    }

    fn half(&self, direction: Direction) -> &Half {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    /// Takes a segment.
    pub fn push(&mut self, direction: Direction, segment: &Segment<'_>) -> Finding {
        self.bytes += segment.payload.len() as u64;
        let mut finding = Finding::Open;
        let half = match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        };
        let Half { assembler, reader } = half;
        let mut failed = None;
        // When no more can wait, what is kept may still tell it all once the gap is filled: usually it is the answer
        // that was lost, and video that waits behind it.
        let _ = assembler.push(segment, |chunk| {
            if direction == Direction::ToServer && chunk.offset == 0 {
                self.first = chunk.bytes.first().copied();
            }
            if failed.is_some() {
                return;
            }
            let read = reader.push(chunk.bytes, |message| {
                if finding == Finding::Open {
                    finding = self.talk.message(direction, &message);
                }
            });
            failed = read.err();
        });
        // A stray SYN made what follows unreadable.
        let lacks_start = self.first.is_none() && self.to_client.assembler.offset() > 0;
        match (finding, failed) {
            (Finding::Open, Some(_)) if direction == Direction::ToClient && lacks_start => {
                Finding::Nothing(UNSEEN.to_owned())
            }
            (Finding::Open, Some(error)) => Finding::Nothing(error.to_string()),
            (Finding::Open, None) if self.bytes > MOST && self.has_gap() => Finding::Nothing(UNSEEN.to_owned()),
            (Finding::Open, None) if self.bytes > MOST => {
                Finding::Nothing(format!("neither played nor published in its first {MOST} bytes"))
            }
            (finding, _) => finding,
        }
    }

    /// Whether the client speaks RTMP, as far as it can be told: what else goes to that port is nobody's stream. A
    /// client whose first byte was not seen may.
    #[must_use]
    pub fn is_rtmp(&self) -> bool {
        self.first.is_none_or(|first| VERSIONS.contains(&first))
    }

    /// Whether anything was said.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.bytes > 0
    }

    /// Whether who acknowledges, in a segment of that direction, has bytes of the other side that were not seen here
    /// and so will not be sent again.
    #[must_use]
    pub fn has_missed(&self, direction: Direction, ack: u32) -> bool {
        let other = match direction {
            Direction::ToServer => &self.to_client,
            Direction::ToClient => &self.to_server,
        };
        let at = Segment { seq: ack, syn: false, fin: false, payload: &[], time: 0 };
        // A FIN is acknowledged too.
        other.assembler.ahead(&at).is_some_and(|ahead| (2..=AHEAD).contains(&ahead))
    }

    /// Whether there are bytes that were not seen before some that were.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.to_server.assembler.gap().is_some() || self.to_client.assembler.gap().is_some()
    }

    /// Whether an RST ends it: one that is not about what was sent next is passed over by whoever it is for (RFC
    /// 5961, section 3.2).
    #[must_use]
    pub fn is_reset_by(&self, direction: Direction, segment: &Segment<'_>) -> bool {
        self.half(direction).assembler.ahead(segment).is_none_or(|ahead| (0..=AHEAD).contains(&ahead))
    }

    /// Whether both sides have said that they will send no more, and all before that was seen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.to_server.assembler.is_finished() && self.to_client.assembler.is_finished()
    }

    /// Whether both sides have said that they will send no more, whatever was seen before.
    #[must_use]
    pub fn has_end(&self) -> bool {
        self.to_server.assembler.has_end() && self.to_client.assembler.has_end()
    }

    /// Whether a segment begins another connection with the same addresses and ports.
    #[must_use]
    pub fn is_restarted_by(&self, segment: &Segment<'_>) -> bool {
        self.to_server.assembler.is_restarted_by(segment)
    }
}

/// Why a connection with a hole is not followed.
pub const UNSEEN: &str = "a part of what was said was not seen";

/// What the client asked for, and the server has not answered yet.
#[derive(Debug)]
struct Request {
    /// The message stream that it was asked on.
    on: u32,
    part: Part,
    transaction: f64,
    /// The stream; `Err`: why it cannot be followed.
    stream: Result<StreamKey, String>,
    /// The client has closed it since. Its answer comes all the same.
    closed: bool,
}

/// What was said so far.
///
/// Answers come in the order of the requests, each role's by itself: for nginx-rtmp there is one message stream, and
/// it answers on that, whatever the client asked on. Only a server that numbers its streams is believed to answer on
/// the stream that it was asked on.
#[derive(Debug, Default)]
struct Talk {
    /// Application of `connect`; empty: there was none that was understood.
    app: Vec<u8>,
    requests: VecDeque<Request>,
    /// Transactions of the last createStreams.
    creating: VecDeque<f64>,
    /// The server has more than one message stream.
    numbers: bool,
}

impl Talk {
    fn message(&mut self, direction: Direction, message: &Message<'_>) -> Finding {
        match (message.kind, direction) {
            // Media that the server sends say that it has consented; the client's may be too early.
            (kind::AUDIO | kind::VIDEO | kind::AGGREGATE, Direction::ToClient) => {
                return Finding::Nothing("media without a play or publish before it".to_owned());
            }
            (kind::COMMAND_AMF0 | kind::COMMAND_AMF3, _) => {}
            _ => return Finding::Open,
        }
        let command = Command::parse(message.kind, message.payload, amf0::Limits::default());
        match (direction, command) {
            (Direction::ToServer, Ok(command)) => self.asked(message.stream_id, command),
            (Direction::ToServer, Err(error)) => {
                tracing::debug!("an RTMP command cannot be read: {error}");
                // It is answered in its turn, whatever the server makes of it.
                let unread = Err(format!("a request that was not understood: {error}"));
                match Command::name(message.kind, message.payload).as_deref() {
                    Some("play" | "play2") => self.ask(message.stream_id, Part::Viewer, 0.0, unread),
                    Some("publish") => self.ask(message.stream_id, Part::Broadcaster, 0.0, unread),
                    Some("deletestream") => {
                        self.close(None);
                        Finding::Open
                    }
                    // One that is not understood is not the one that matters.
                    _ => Finding::Open,
                }
            }
            (Direction::ToClient, Ok(command)) => self.said(message.stream_id, command),
            (Direction::ToClient, Err(_)) => Finding::Open,
        }
    }

    /// What the client said.
    fn asked(&mut self, on: u32, command: Command) -> Finding {
        match command {
            Command::Connect { app, .. } => self.app = app,
            Command::CreateStream { transaction } => {
                self.creating.truncate(REQUESTS);
                self.creating.push_front(transaction);
            }
            Command::Play { name, transaction } => {
                return self.ask(on, Part::Viewer, transaction, self.stream(&name));
            }
            Command::Publish { name, transaction, .. } => {
                return self.ask(on, Part::Broadcaster, transaction, self.stream(&name));
            }
            Command::CloseStream { stream } => self.close(Some(stream.map_or(on, |stream| stream as u32))),
            _ => {}
        }
        Finding::Open
    }

    /// What the server said.
    fn said(&mut self, on: u32, command: Command) -> Finding {
        match command {
            Command::OnStatus(status) => {
                self.numbers |= on > 1;
                return self.answer(on, &status);
            }
            Command::Error { transaction, status } => {
                let number = |request: &Request| transaction != 0.0 && request.transaction == transaction;
                match self.requests.iter().position(number) {
                    Some(at) => drop(self.requests.remove(at)),
                    // Not of a request: of an FCPublish, for example.
                    None => self.refuse(on, role(&status.code)),
                }
            }
            Command::Result { transaction, value: Some(Value::Number(id)) } => {
                self.numbers |= id > 1.0 && self.creating.contains(&transaction);
            }
            _ => {}
        }
        Finding::Open
    }

    fn stream(&self, name: &[u8]) -> Result<StreamKey, String> {
        if self.app.is_empty() {
            return Err("no `connect` with an app was understood".to_owned());
        }
        StreamKey::from_rtmp(&self.app, name).map_err(|error| {
            format!("\"{}\" cannot be told to agents: {error}", StreamKey::as_asked(&self.app, name))
        })
    }

    fn ask(&mut self, on: u32, part: Part, transaction: f64, stream: Result<StreamKey, String>) -> Finding {
        if self.requests.len() >= REQUESTS {
            return Finding::Nothing(format!("more than {REQUESTS} requests wait for their answers"));
        }
        self.requests.push_back(Request { on, part, transaction, stream, closed: false });
        Finding::Open
    }

    /// The client closes a message stream; `None`: it is not known which. Whichever it names, nginx-rtmp closes the
    /// one that it has.
    fn close(&mut self, on: Option<u32>) {
        let numbers = self.numbers;
        let closed = |request: &&mut Request| !numbers || on.is_none_or(|on| on == request.on);
        self.requests.iter_mut().filter(closed).for_each(|request| request.closed = true);
    }

    fn answer(&mut self, on: u32, status: &Status) -> Finding {
        let part = match status.code.as_str() {
            "NetStream.Play.Start" => Part::Viewer,
            "NetStream.Publish.Start" => Part::Broadcaster,
            _ if !status.level.eq_ignore_ascii_case("error") => return Finding::Open,
            code => match role(code) {
                None if self.requests.len() > 1 => {
                    return Finding::Nothing(format!("it is not known which request {code:?} refuses"));
                }
                None => {
                    self.requests.clear();
                    return Finding::Open;
                }
                part => {
                    self.refuse(on, part);
                    return Finding::Open;
                }
            },
        };
        match self.take(on, part) {
            Some(Request { closed: true, .. }) => Finding::Open,
            Some(Request { stream: Ok(stream), .. }) => Finding::Role(part, stream),
            Some(Request { stream: Err(why), .. }) => Finding::Nothing(why),
            None => Finding::Nothing(format!("{} answers no request that was understood", status.code)),
        }
    }

    fn refuse(&mut self, on: u32, part: Option<Part>) {
        if let Some(part) = part {
            self.take(on, part);
        }
    }

    /// The request of that role that an answer on that message stream belongs to.
    fn take(&mut self, on: u32, part: Part) -> Option<Request> {
        let of_part = |request: &Request| request.part == part;
        let at = if self.numbers {
            let named = self.requests.iter().position(|request| of_part(request) && request.on == on);
            let is_alone = self.requests.iter().filter(|request| of_part(request)).count() == 1;
            named.or_else(|| self.requests.iter().position(of_part).filter(|_| is_alone))
        } else {
            self.requests.iter().position(of_part)
        };
        self.requests.remove(at?)
    }
}

/// Whose answer a code is.
fn role(code: &str) -> Option<Part> {
    if code.starts_with("NetStream.Publish.") {
        Some(Part::Broadcaster)
    } else if code.starts_with("NetStream.Play.") {
        Some(Part::Viewer)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
