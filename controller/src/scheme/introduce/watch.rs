//! Watching one RTMP connection until it is known what it is for.

use livectl_wire::StreamKey;
use livectl_wire::amf0;
use livectl_wire::assembler::{Assembler, Segment};
use livectl_wire::command::Command;
use livectl_wire::rtmp::{self, Media, Message, kind};

use super::connection::Direction;
use super::members::Part;

/// Bytes that may wait behind a lost segment, in each direction.
const WAITING: usize = 16 << 10;
/// Longest message that is read. `connect` with all its properties has some hundred bytes.
const LONGEST: usize = 8 << 10;
/// Bytes of a connection, both directions, after which nothing more is expected of it. The handshake takes 6146 of
/// them.
const MOST: u64 = 256 << 10;
/// Bytes by which an RST may be ahead of what was seen.
const AHEAD: i64 = 1 << 20;
/// Requests that wait for their answer.
const REQUESTS: usize = 8;

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
    app: String,
    /// What the client asked for on which message stream.
    requests: Vec<(u32, Part, String)>,
    has_spoken: bool,
    bytes: u64,
}

#[derive(Debug)]
struct Half {
    assembler: Assembler,
    reader: rtmp::Reader,
}

impl Half {
    fn new() -> Self {
        let limits = rtmp::Limits { message: LONGEST, chunk_streams: 16, incomplete: 2 * LONGEST };
        Self { assembler: Assembler::new(WAITING), reader: rtmp::Reader::new(limits, Media::Head(0)) }
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
        let (app, requests) = Default::default();
        Self { to_server: Half::new(), to_client: Half::new(), app, requests, has_spoken: false, bytes: 0 }
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
        let mut talk = Talk { app: &mut self.app, requests: &mut self.requests };
        let mut failed = None;
        // When no more can wait, what is kept may still tell it all once the gap is filled: usually it is the answer
        // that was lost, and video that waits behind it.
        let _ = assembler.push(segment, |chunk| {
            if failed.is_some() {
                return;
            }
            let read = reader.push(chunk.bytes, |message| {
                self.has_spoken |= direction == Direction::ToServer;
                if finding == Finding::Open {
                    finding = talk.message(direction, &message);
                }
            });
            failed = read.err();
        });
        match (finding, failed) {
            (Finding::Open, Some(error)) => Finding::Nothing(error.to_string()),
            (Finding::Open, None) if self.bytes > MOST => {
                Finding::Nothing(format!("neither played nor published in its first {MOST} bytes"))
            }
            (finding, _) => finding,
        }
    }

    /// Whether the client has said anything of RTMP: what else goes to that port is nobody's stream.
    #[must_use]
    pub fn is_rtmp(&self) -> bool {
        self.has_spoken
    }

    /// Whether an RST ends it: one that is not about what was sent next is passed over by whoever it is for (RFC
    /// 5961, section 3.2).
    #[must_use]
    pub fn is_reset_by(&self, direction: Direction, segment: &Segment<'_>) -> bool {
        let half = match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        };
        half.assembler.ahead(segment).is_none_or(|ahead| (0..=AHEAD).contains(&ahead))
    }

    /// Whether both sides have said that they will send no more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.to_server.assembler.is_finished() && self.to_client.assembler.is_finished()
    }

    /// Whether a segment begins another connection with the same addresses and ports.
    #[must_use]
    pub fn is_restarted_by(&self, segment: &Segment<'_>) -> bool {
        self.to_server.assembler.is_restarted_by(segment)
    }
}

/// What was said so far.
struct Talk<'a> {
    app: &'a mut String,
    requests: &'a mut Vec<(u32, Part, String)>,
}

impl Talk<'_> {
    fn message(&mut self, direction: Direction, message: &Message<'_>) -> Finding {
        match message.kind {
            kind::AUDIO | kind::VIDEO | kind::AGGREGATE => {
                return Finding::Nothing("media without a play or publish before it".to_owned());
            }
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 if message.is_whole() => {}
            _ => return Finding::Open,
        }
        let command = match Command::parse(message.kind, message.payload, amf0::Limits::default()) {
            Ok(command) => command,
            // One that is not understood is not the one that matters.
            Err(error) => {
                tracing::debug!("an RTMP command cannot be read: {error}");
                return Finding::Open;
            }
        };
        match (direction, command) {
            (Direction::ToServer, Command::Connect { app, .. }) => *self.app = app,
            (Direction::ToServer, Command::Play { name, .. }) => self.ask(message.stream_id, Part::Viewer, name),
            (Direction::ToServer, Command::Publish { name, .. }) => {
                self.ask(message.stream_id, Part::Broadcaster, name);
            }
            (Direction::ToServer, Command::CloseStream { stream }) => {
                let closed = stream.map_or(message.stream_id, |stream| stream as u32);
                self.requests.retain(|(on, ..)| *on != closed);
            }
            (Direction::ToClient, Command::OnStatus(status)) => {
                return self.answer(message.stream_id, &status.code);
            }
            _ => {}
        }
        Finding::Open
    }

    fn ask(&mut self, on: u32, role: Part, name: String) {
        self.requests.retain(|(other, ..)| *other != on);
        if self.requests.len() < REQUESTS {
            self.requests.push((on, role, name));
        }
    }

    fn answer(&mut self, on: u32, code: &str) -> Finding {
        let role = match code {
            "NetStream.Play.Start" => Part::Viewer,
            "NetStream.Publish.Start" => Part::Broadcaster,
            _ => return Finding::Open,
        };
        // Some servers answer on the control stream, and some clients ask there. An answer elsewhere belongs to the
        // one request that waits for such an answer.
        let mut waiting = self.requests.iter().filter(|(_, asked, _)| *asked == role);
        let asked = self.requests.iter().find(|(stream, asked, _)| (*stream == on || on == 0) && *asked == role);
        let alone = || waiting.next().filter(|_| waiting.next().is_none());
        let Some((_, _, name)) = asked.or_else(alone) else { return Finding::Open };
        match StreamKey::from_rtmp(self.app, name) {
            Ok(stream) => Finding::Role(role, stream),
            Err(error) => {
                Finding::Nothing(format!("{:?} cannot be told to agents: {error}", format!("{}/{name}", self.app)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
