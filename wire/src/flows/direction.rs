//! One direction of a connection: bytes put in order, understood, and timed.

use super::Arrival;
use super::segments::{Event, Segments};
use crate::assembler::{Arrivals, Assembler, Chunk, Counts, Segment, Span};
use crate::capture::TcpPacket;
use crate::command::Command;
use crate::flv::{self, Content, TagKind};
use crate::frame::FrameId;
use crate::rtmp::{self, Message, kind};
use crate::ts::Video;
use crate::{StreamKey, amf0, avc, http, peer};

/// Bytes that may wait for a gap to be filled: more than a receive window of Linux (6 MiB by default).
const WAITING: usize = 8 << 20;

/// Streams whose names cannot be read are told so often: a client may ask again for ever.
const MAX_NAMED: usize = 10;

pub(super) struct Direction {
    assembler: Assembler,
    content: Reading,
    /// Up to where its receiver has said that it has everything; `None`: it was never heard to say so.
    acknowledged: Option<u64>,
}

/// What was in a direction, when no more comes.
pub(super) struct Finished {
    pub frames: Vec<Arrival>,
    pub segments: Vec<usize>,
    pub damaged: u64,
    pub stream: Option<StreamKey>,
    pub counts: Counts,
    pub lost: u64,
    pub problems: Vec<String>,
    pub unread: bool,
}

/// The bytes in order, on their way to frames.
struct Reading {
    application: Application,
    arrivals: Arrivals,
    /// Stream offset of the next byte.
    next: u64,
    found: Found,
}

/// What is to be understood next.
enum Application {
    Rtmp(Box<rtmp::Reader>),
    /// A peer's request line, as far as it has come.
    Request(Vec<u8>),
    /// The beginning of a peer's reply.
    Reply(Vec<u8>),
    /// A peer's stream, which begins at that offset.
    Flv {
        reader: flv::Reader,
        start: u64,
    },
    /// The requests to an HTTP server.
    Fetching(http::Requests),
    /// An HTTP server's responses, with playlists and segments.
    Segments(Box<Segments>),
    /// Nothing more that matters, or nothing that can be understood.
    Nothing,
}

#[derive(Default)]
struct Found {
    frames: Vec<Arrival>,
    segments: Vec<usize>,
    damaged: u64,
    aggregates: u64,
    app: Option<Vec<u8>>,
    stream: Option<StreamKey>,
    problems: Vec<String>,
    /// From somewhere on nothing could be read.
    unread: bool,
}

impl Direction {
    pub fn rtmp() -> Self {
        let reader = rtmp::Reader::new(rtmp::Limits::default(), rtmp::Media::Whole);
        Self::new(Application::Rtmp(Box::new(reader)))
    }

    pub fn request() -> Self {
        Self::new(Application::Request(Vec::new()))
    }

    pub fn reply() -> Self {
        Self::new(Application::Reply(Vec::new()))
    }

    pub fn fetching() -> Self {
        Self::new(Application::Fetching(http::Requests::new()))
    }

    pub fn segments() -> Self {
        Self::new(Application::Segments(Box::default()))
    }

    fn new(application: Application) -> Self {
        let content = Reading { application, arrivals: Arrivals::new(), next: 0, found: Found::default() };
        Self { assembler: Assembler::new(usize::MAX), content, acknowledged: None }
    }

    /// Whether the packet begins another connection with the same addresses.
    pub fn is_restarted_by(&self, packet: &TcpPacket<'_>) -> bool {
        self.assembler.is_restarted_by(&packet.segment)
    }

    pub fn take(&mut self, packet: &TcpPacket<'_>) {
        let Self { assembler, content, .. } = self;
        let from_start = assembler.is_from_start() || packet.segment.syn;
        // It has no limit of its own, so nothing is refused: room is made below.
        let _ = assembler.push(&packet.segment, |chunk| content.take(&chunk, from_start));
        // What comes so late will not come: the capture lost it.
        while self.waiting() > WAITING && self.give_up_gap() {}
    }

    /// Its receiver has everything up to that sequence number.
    pub fn acknowledge(&mut self, number: u32) {
        let nothing = Segment { seq: number, syn: false, fin: false, payload: &[], time: 0 };
        // Before anything was sent there is nothing that it could be about.
        let Some(ahead) = self.assembler.ahead(&nothing) else { return };
        let upto = self.assembler.offset().saturating_add_signed(ahead);
        self.acknowledged = self.acknowledged.max(Some(upto));
    }

    /// Bytes of memory that wait for a gap to be filled.
    pub fn waiting(&self) -> usize {
        self.assembler.waiting()
    }

    /// Waits no longer for the present gap; says whether there was one.
    pub fn give_up_gap(&mut self) -> bool {
        let Self { assembler, content, .. } = self;
        let from_start = assembler.is_from_start();
        assembler.skip_gap(|chunk| content.take(&chunk, from_start)).is_some()
    }

    pub fn finish(mut self) -> Finished {
        // What its receiver has acknowledged was there, and the capture missed it. What is behind is as if it had
        // never come: no program is given bytes that lie behind others which never arrived.
        while self.assembler.gap().is_some_and(|gap| self.acknowledged.is_none_or(|upto| upto > gap.start)) {
            self.give_up_gap();
        }
        let missed = self.assembler.counts().missing;
        if self.assembler.gap().is_some() {
            self.content.application = Application::Nothing;
            while self.give_up_gap() {}
        }
        let counts = self.assembler.counts();
        let lost = counts.missing - missed;
        let Found { frames, segments, damaged, aggregates, stream, mut problems, unread, .. } = self.content.found;
        if missed > 0 {
            problems.push(format!("{missed} bytes are not in the capture"));
        }
        if lost > 0 {
            problems.push(format!("{lost} bytes were lost on the way and had not been sent again when it ended"));
        }
        if damaged > 0 {
            problems.push(format!("{damaged} video messages cannot be identified: bytes of them are missing"));
        }
        if aggregates > 0 {
            problems.push(format!("{aggregates} aggregate messages were not taken apart"));
        }
        Finished { frames, segments, damaged, stream, counts, lost, problems, unread }
    }
}

impl Reading {
    fn take(&mut self, chunk: &Chunk<'_>, from_start: bool) {
        self.arrivals.record(chunk);
        if self.next == 0 && !from_start {
            self.give_up("the capture begins in the middle of this connection, so it cannot be read".into());
        }
        let hole = chunk.offset.saturating_sub(self.next);
        self.next = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        let read = if hole > 0 { self.hole(hole) } else { Ok(()) };
        if let Err(why) = read.and_then(|()| self.read(chunk.bytes)) {
            self.give_up(why);
        }
        let oldest = match &self.application {
            Application::Rtmp(reader) => reader.oldest(),
            Application::Flv { reader, start } => start + reader.offset(),
            Application::Segments(segments) => segments.oldest(),
            Application::Request(_) | Application::Reply(_) => 0,
            Application::Fetching(_) | Application::Nothing => self.next,
        };
        self.arrivals.forget(oldest);
    }

    fn give_up(&mut self, why: String) {
        self.application = Application::Nothing;
        self.found.problems.push(why);
        self.found.unread = true;
    }

    fn hole(&mut self, bytes: u64) -> Result<(), String> {
        let Self { application, arrivals, found, .. } = self;
        match application {
            Application::Rtmp(reader) => {
                reader.hole(bytes, |message| found.message(&message, arrivals)).map_err(|error| error.to_string())
            }
            Application::Flv { reader, .. } => {
                let damaged = reader.hole(bytes).map_err(|error| error.to_string())?;
                found.damaged += u64::from(damaged.is_some_and(|tag| tag.kind == TagKind::Video));
                Ok(())
            }
            Application::Segments(segments) => segments.hole(bytes, |event| found.event(event, arrivals)),
            Application::Fetching(_) => Err(format!("{bytes} bytes are missing from its requests")),
            Application::Request(_) | Application::Reply(_) => Err(format!("its first {bytes} bytes are missing")),
            Application::Nothing => Ok(()),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Self { application, arrivals, found, .. } = self;
        match application {
            Application::Rtmp(reader) => {
                reader.push(bytes, |message| found.message(&message, arrivals)).map_err(|error| error.to_string())
            }
            Application::Flv { reader, start } => {
                reader.push(bytes, |tag| found.tag(&tag, *start, arrivals)).map_err(|error| error.to_string())
            }
            Application::Segments(segments) => segments.push(bytes, |event| found.event(event, arrivals)),
            Application::Fetching(requests) => {
                requests.push(bytes, |target| found.target(target)).map_err(|error| error.to_string())
            }
            Application::Request(received) => {
                let room = peer::MAX_REQUEST.saturating_sub(received.len());
                received.extend(bytes.iter().take(room));
                if let Some((stream, _)) = peer::parse_request(received).map_err(|error| error.to_string())? {
                    found.stream = Some(stream);
                    *application = Application::Nothing;
                }
                Ok(())
            }
            Application::Reply(received) => {
                received.extend_from_slice(bytes);
                match peer::Answer::parse(received).map_err(|error| error.to_string())? {
                    None => Ok(()),
                    // That is an answer, read to its end.
                    Some(peer::Answer::Refused(why)) => {
                        found.problems.push(format!("the peer refused: {why}"));
                        *application = Application::Nothing;
                        Ok(())
                    }
                    Some(peer::Answer::Stream { consumed, .. }) => {
                        let received = std::mem::take(received);
                        let reader = flv::Reader::new(flv::MAX_PAYLOAD);
                        *application = Application::Flv { reader, start: consumed as u64 };
                        self.read(received.get(consumed..).unwrap_or_default())
                    }
                }
            }
            Application::Nothing => Ok(()),
        }
    }
}

impl Found {
    fn message(&mut self, message: &Message<'_>, arrivals: &Arrivals) {
        match message.kind {
            kind::VIDEO => {
                let spans = message.spans.iter().map(|span| arrivals.of(span.clone()));
                let span = spans.reduce(|a, b| Some(a?.with(b?))).flatten();
                self.video(message.timestamp, message.payload, span.filter(|_| message.is_whole()));
            }
            kind::AGGREGATE => self.aggregates += 1,
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 if self.stream.is_none() => {
                // What a command means to others is theirs; only the name of the stream is wanted here.
                match Command::parse(message.kind, message.payload, amf0::Limits::default()) {
                    Ok(Command::Connect { app, .. }) => self.app = Some(app),
                    Ok(Command::Publish { name, .. } | Command::Play { name, .. }) => {
                        let app = self.app.as_deref().unwrap_or_default();
                        match StreamKey::from_rtmp(app, &name) {
                            Ok(stream) => self.stream = Some(stream),
                            Err(error) if self.problems.len() < MAX_NAMED => {
                                self.problems
                                    .push(format!("stream \"{}\": {error}", StreamKey::as_asked(app, &name)));
                            }
                            Err(_) => {}
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn tag(&mut self, tag: &flv::Tag<'_>, start: u64, arrivals: &Arrivals) {
        if tag.kind == TagKind::Video {
            let range = start + tag.range.start..start + tag.range.end;
            self.video(tag.timestamp, tag.payload, arrivals.of(range));
        }
    }

    /// Takes note of a file that an HTTP server is asked for: it names the stream.
    fn target(&mut self, target: &str) {
        let file = http::file_of_stream(target).filter(|_| self.stream.is_none());
        self.stream = self.stream.take().or_else(|| file.and_then(|(app, name, _)| StreamKey::new(app, name).ok()));
    }

    fn event(&mut self, event: Event<'_>, arrivals: &Arrivals) {
        let unit = match event {
            Event::Begun => {
                // One without pictures begins where the next does.
                if self.segments.last() != Some(&self.frames.len()) {
                    self.segments.push(self.frames.len());
                }
                return;
            }
            Event::Video(Video::Damaged) => {
                self.damaged += 1;
                return;
            }
            Event::Video(Video::Whole(unit)) => unit,
        };
        let Some(picture) = avc::picture_in_stream(unit.payload) else { return };
        let spans = unit.spans.iter().map(|span| arrivals.of(span.clone()));
        match spans.reduce(|a, b| Some(a?.with(b?))).flatten() {
            Some(Span { first, last }) => self.frames.push(Arrival {
                id: picture.id,
                timestamp_ms: unit.timestamp_ms,
                // A unit has at most 2²⁴ bytes.
                size: u32::try_from(unit.payload.len()).unwrap_or(u32::MAX),
                keyframe: picture.keyframe,
                time_ns: last,
                first_byte_ns: first,
            }),
            None => self.damaged += 1,
        }
    }

    /// A video message; without `span` it is not whole.
    fn video(&mut self, timestamp_ms: u32, payload: &[u8], span: Option<Span>) {
        match (Content::of(TagKind::Video, payload), span) {
            (Content::Picture { keyframe }, Some(Span { first, last })) => self.frames.push(Arrival {
                id: FrameId::of(payload),
                timestamp_ms,
                // A message has at most 2²⁴ - 1 bytes.
                size: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                keyframe,
                time_ns: last,
                first_byte_ns: first,
            }),
            (_, None) => self.damaged += 1,
            _ => {}
        }
    }
}
