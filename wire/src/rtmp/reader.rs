//! Reads messages from chunk streams.

use std::ops::Range;

use super::header::{ChunkHeader, MAX_HEADER};
use super::{DEFAULT_CHUNK_SIZE, HANDSHAKE_LEN, Message, VERSION, kind};

/// How much a reader may keep in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes. Of messages whose payload is not kept ([`Media::Head`]) only the kept part counts.
    pub message: usize,
    /// How many chunk streams there may be in one direction.
    pub chunk_streams: usize,
    /// Bytes that all incomplete messages together may have.
    pub incomplete: usize,
}

impl Default for Limits {
    /// What video needs: messages up to 16 MiB (the format's own limit), 64 chunk streams, 32 MiB incomplete.
    fn default() -> Self {
        Self { message: 1 << 24, chunk_streams: 64, incomplete: 1 << 25 }
    }
}

/// How much of payloads is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// The whole payload.
    Whole,
    /// Of audio and video the first so many bytes; the rest is counted and passed over. For one who wants to know what
    /// happens, not what is shown.
    Head(usize),
    /// Of commands the first so many bytes, and of other messages nothing.
    Commands(usize),
}

/// What became of messages that were not handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Cut off by the header of another message on the same chunk stream.
    pub cut_off: u64,
}

/// Where and why reading ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not RTMP at byte {offset}: {problem}")]
pub struct RtmpError {
    /// Offset in the direction's bytes of the chunk, or of the handshake.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with the bytes of a direction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The first byte is this version, not plain RTMP's.
    #[error("version {0}; only plain RTMP ({VERSION}) can be read")]
    Version(u8),
    /// A message is longer than [`Limits::message`].
    #[error("a message of {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Bytes of its payload, as its header says.
        length: u32,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// There are more than [`Limits::chunk_streams`] chunk streams.
    #[error("more than {0} chunk streams")]
    ChunkStreams(usize),
    /// Incomplete messages have more than [`Limits::incomplete`] bytes.
    #[error("more than {0} bytes of incomplete messages")]
    Incomplete(usize),
    /// Chunks are to have no payload from now on.
    #[error("a chunk size of 0")]
    ChunkSize,
    /// Bytes are missing, and not only from the payload of one chunk: where the next header is cannot be known.
    #[error("{0} bytes are missing, and what follows them cannot be told apart")]
    Hole(u64),
}

/// Reads one direction of a connection that is pushed to it in pieces of any size.
///
/// **Extended timestamps** (section 5.3.1.3): the specification repeats them in every type-3 chunk, as nginx-rtmp,
/// ffmpeg and librtmp do; some implementations leave them out (nginx-rtmp with `play_time_fix off`). The reader takes
/// four bytes after a type-3 header for the field when they are what the field must be, and for payload otherwise.
///
/// **Type-3 chunks that begin a message** repeat the last timestamp field of their chunk stream as a delta, also when
/// that was in a type-0 header (section 5.3.1.2.4).
///
/// **What is not as it should be**, and what nginx-rtmp makes of it, is taken as nginx-rtmp takes it: what a chunk
/// stream's first header leaves out is 0. A header of any type continues a message under way, if it does not say
/// another length or type; else another message begins. A Set Chunk Size of less than four bytes, or with its first
/// bit set, changes nothing. An Abort Message neither: no server or player is known that acts on one, and a message
/// that was to be aborted goes on there.
#[derive(Debug, Clone)]
pub struct Reader {
    limits: Limits,
    media: Media,
    state: State,
    offset: u64,
    chunk_size: u32,
    /// The beginning of a chunk header whose end has not come yet.
    header: [u8; MAX_HEADER],
    header_len: usize,
    streams: Vec<ChunkStream>,
    /// Payload bytes kept of all incomplete messages.
    incomplete: usize,
    counts: Counts,
}

/// At most what [`Limits::spare`] says.
const MAX_SPARE: usize = 256 << 10;
/// At most what [`Limits::spans`] says.
const MAX_SPANS: usize = 1024;

#[derive(Debug, Clone)]
enum State {
    Handshake,
    Header,
    /// In a chunk of the chunk stream at that index, before its last so many payload bytes.
    Payload(usize, u32),
    Failed(RtmpError),
}

#[derive(Debug, Clone)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    /// The last timestamp field, the extended one if there was one.
    field: u32,
    extended: bool,
    length: u32,
    kind: u8,
    stream_id: u32,
    /// Payload bytes of the message under way that have passed; `None` between messages.
    passed: Option<u32>,
    /// How many payload bytes of the message under way are kept.
    keep: usize,
    payload: Vec<u8>,
    spans: Vec<Range<u64>>,
}

impl Reader {
    /// A reader at the connection's first byte, before the handshake.
    #[must_use]
    pub fn new(limits: Limits, media: Media) -> Self {
        Self {
            limits,
            media,
            state: State::Handshake,
            offset: 0,
            chunk_size: DEFAULT_CHUNK_SIZE,
            header: [0; MAX_HEADER],
            header_len: 0,
            streams: Vec::new(),
            incomplete: 0,
            counts: Counts::default(),
        }
    }

    /// A reader at the first chunk, right after the handshake.
    #[must_use]
    pub fn after_handshake(limits: Limits, media: Media) -> Self {
        Self { state: State::Header, offset: HANDSHAKE_LEN, ..Self::new(limits, media) }
    }

    /// Takes the next bytes and hands on each message that they complete. Set Chunk Size is acted on and handed on
    /// like all others.
    ///
    /// # Errors
    /// At the first violation, after the messages before it were handed on; from then on always the same error.
    pub fn push(&mut self, bytes: &[u8], mut deliver: impl FnMut(Message<'_>)) -> Result<(), RtmpError> {
        self.read(bytes, &mut deliver).inspect_err(|error| self.fail(error))
    }

    /// Says that the next `bytes` bytes of the stream will not come. Within one chunk's payload this harms one
    /// message: it is handed on with the payload before the hole. A hole over a chunk header ends the reading, for
    /// what follows cannot be told apart.
    ///
    /// # Errors
    /// As [`Reader::push`].
    pub fn hole(&mut self, bytes: u64, mut deliver: impl FnMut(Message<'_>)) -> Result<(), RtmpError> {
        let result = match (&self.state, u32::try_from(bytes)) {
            (State::Failed(error), _) => Err(error.clone()),
            (State::Handshake, _) if self.offset > 0 && self.offset.saturating_add(bytes) <= HANDSHAKE_LEN => {
                self.offset += bytes;
                if self.offset == HANDSHAKE_LEN {
                    self.state = State::Header;
                }
                Ok(())
            }
            (&State::Payload(index, left), Ok(bytes)) if bytes <= left => {
                if let Some(stream) = self.streams.get_mut(index) {
                    stream.keep = stream.payload.len();
                }
                self.pass(index, left, bytes, &mut deliver)
            }
            _ => Err(self.error(Problem::Hole(bytes))),
        };
        result.inspect_err(|error| self.fail(error))
    }

    /// What became of messages that were not handed on.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Payload bytes that a chunk has at most, as last set by the sender.
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// How many bytes of the direction were read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset of the first byte that belongs to an incomplete message or chunk header: nothing before it will be in a
    /// message to come.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        let begun = self.streams.iter().filter(|stream| stream.passed.is_some());
        begun.filter_map(|stream| stream.spans.first()).map(|span| span.start).min().unwrap_or(self.offset)
    }

    /// How many messages have begun and are not whole.
    #[must_use]
    pub fn incomplete_messages(&self) -> usize {
        self.streams.iter().filter(|stream| stream.passed.is_some()).count()
    }

    fn fail(&mut self, error: &RtmpError) {
        self.state = State::Failed(error.clone());
        self.streams = Vec::new();
    }

    fn error(&self, problem: Problem) -> RtmpError {
        RtmpError { offset: self.offset, problem }
    }

    fn read(&mut self, mut bytes: &[u8], deliver: &mut impl FnMut(Message<'_>)) -> Result<(), RtmpError> {
        while !bytes.is_empty() {
            let taken = match &self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Handshake => self.read_handshake(bytes)?,
                State::Header => self.read_header(bytes, deliver)?,
                &State::Payload(index, left) => self.read_payload(index, left, bytes, deliver)?,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<usize, RtmpError> {
        match bytes.first() {
            Some(&version) if self.offset == 0 && version != VERSION => Err(self.error(Problem::Version(version))),
            _ => {
                let left = HANDSHAKE_LEN.saturating_sub(self.offset);
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.offset += taken as u64;
                if self.offset == HANDSHAKE_LEN {
                    self.state = State::Header;
                }
                Ok(taken)
            }
        }
    }

    fn read_header(&mut self, bytes: &[u8], deliver: &mut impl FnMut(Message<'_>)) -> Result<usize, RtmpError> {
        let before = self.header_len;
        let header = if before == 0 {
            self.parse_header(bytes)
        } else {
            let mut joined = self.header;
            let room = joined.get_mut(before..).unwrap_or_default();
            let added = room.len().min(bytes.len());
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.parse_header(joined.get(..before + added).unwrap_or_default())
        };
        let Some(header) = header else {
            // An incomplete header is shorter than the longest, so all of `bytes` fits.
            let room = self.header.get_mut(before..).unwrap_or_default();
            let added = room.len().min(bytes.len());
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.header_len += added;
            return Ok(added);
        };
        self.header_len = 0;
        let index = self.begin_chunk(&header)?;
        self.offset += header.len as u64;
        let Some(taken) = header.len.checked_sub(before) else {
            // What was kept looked like an extended timestamp and turned out to be payload.
            let kept = self.header;
            self.state = State::Payload(index, self.chunk_left(index));
            self.read(kept.get(header.len..before).unwrap_or_default(), deliver)?;
            return Ok(0);
        };
        let Some(stream) = self.streams.get(index) else { return Ok(taken) };
        let (length, passed, left) = (stream.length, stream.passed.unwrap_or(0), self.chunk_left(index));

        // A message that lies whole in these bytes is handed on from there.
        let payload = bytes.get(taken..).and_then(|rest| rest.get(..length as usize));
        if let Some(payload) = payload.filter(|_| passed == 0 && left == length) {
            self.offset += u64::from(length);
            self.extend_span(index);
            self.complete(index, Some(payload), deliver)?;
            return Ok(taken + payload.len());
        }
        self.state = State::Payload(index, left);
        Ok(taken)
    }

    /// Payload bytes of the chunk that begins now on that chunk stream.
    fn chunk_left(&self, index: usize) -> u32 {
        let left =
            self.streams.get(index).map_or(0, |stream| stream.length.saturating_sub(stream.passed.unwrap_or(0)));
        left.min(self.chunk_size)
    }

    fn parse_header(&self, bytes: &[u8]) -> Option<ChunkHeader> {
        let extended = |id| self.streams.iter().find(|stream| stream.id == id && stream.extended);
        ChunkHeader::parse(bytes, |id| extended(id).map(|stream| stream.field))
    }

    /// Acts on a chunk header; says which chunk stream it belongs to.
    fn begin_chunk(&mut self, header: &ChunkHeader) -> Result<usize, RtmpError> {
        let known = self.streams.iter().position(|stream| stream.id == header.chunk_stream);
        let index = match known {
            Some(index) => index,
            None if self.streams.len() >= self.limits.chunk_streams => {
                return Err(self.error(Problem::ChunkStreams(self.limits.chunk_streams)));
            }
            // librtmp begins chunk stream 2 with a type-1 header.
            None => {
                self.streams.push(ChunkStream::new(header.chunk_stream));
                self.streams.len() - 1
            }
        };
        let (offset, limits, media) = (self.offset, self.limits, self.media);
        let Some(stream) = self.streams.get_mut(index) else { return Ok(index) };

        let what = header.what.unwrap_or((stream.length, stream.kind));
        if stream.passed.is_some() && what == (stream.length, stream.kind) {
            stream.stream_id = header.stream_id.unwrap_or(stream.stream_id);
        } else if header.format < 3 {
            if stream.passed.take().is_some() {
                self.counts.cut_off += 1;
                self.incomplete -= stream.payload.len();
                stream.forget_message(limits);
            }
            (stream.field, stream.extended) = (header.field, header.extended);
            (stream.length, stream.kind) = what;
        }
        if stream.passed.is_none() {
            stream.timestamp = match header.stream_id {
                Some(id) => {
                    stream.stream_id = id;
                    stream.field
                }
                None => stream.timestamp.wrapping_add(stream.field),
            };
            stream.keep = match (media, stream.kind) {
                (Media::Head(bytes), kind::AUDIO | kind::VIDEO) => bytes,
                (Media::Commands(bytes), kind::COMMAND_AMF0 | kind::COMMAND_AMF3) => bytes,
                (Media::Commands(_), kind::SET_CHUNK_SIZE) => size_of::<u32>(),
                (Media::Commands(_), _) => 0,
                _ => stream.length as usize,
            };
            if stream.keep.min(stream.length as usize) > limits.message {
                let problem = Problem::TooLong { length: stream.length, limit: limits.message };
                return Err(RtmpError { offset, problem });
            }
            stream.passed = Some(0);
        }
        let full = stream.spans.len() >= limits.spans();
        match stream.spans.last_mut() {
            Some(last) if last.end == offset => {}
            Some(last) if full => last.end = offset,
            _ => stream.spans.push(offset..offset),
        }
        Ok(index)
    }

    fn read_payload(
        &mut self,
        index: usize,
        left: u32,
        bytes: &[u8],
        deliver: &mut impl FnMut(Message<'_>),
    ) -> Result<usize, RtmpError> {
        let taken = bytes.len().min(left as usize);
        let part = bytes.get(..taken).unwrap_or_default();
        if let Some(stream) = self.streams.get_mut(index) {
            let kept = part.get(..stream.keep.saturating_sub(stream.payload.len())).unwrap_or(part);
            stream.payload.extend_from_slice(kept);
            self.incomplete += kept.len();
            if self.incomplete > self.limits.incomplete {
                return Err(self.error(Problem::Incomplete(self.limits.incomplete)));
            }
        }
        self.pass(index, left, taken as u32, deliver)?;
        Ok(taken)
    }

    /// Moves on over `bytes` of the `left` payload bytes of a chunk.
    fn pass(
        &mut self,
        index: usize,
        left: u32,
        bytes: u32,
        deliver: &mut impl FnMut(Message<'_>),
    ) -> Result<(), RtmpError> {
        self.offset += u64::from(bytes);
        let left = left.saturating_sub(bytes);
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let passed = stream.passed.unwrap_or(0).saturating_add(bytes);
        stream.passed = Some(passed);
        let complete = passed >= stream.length;
        if left > 0 {
            self.state = State::Payload(index, left);
            return Ok(());
        }
        self.state = State::Header;
        self.extend_span(index);
        if complete { self.complete(index, None, deliver) } else { Ok(()) }
    }

    /// The chunk of that chunk stream ends here.
    fn extend_span(&mut self, index: usize) {
        if let Some(span) = self.streams.get_mut(index).and_then(|stream| stream.spans.last_mut()) {
            span.end = self.offset;
        }
    }

    /// Hands on the message of that chunk stream; its payload is `direct`, or what was kept.
    fn complete(
        &mut self,
        index: usize,
        direct: Option<&[u8]>,
        deliver: &mut impl FnMut(Message<'_>),
    ) -> Result<(), RtmpError> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let kept = stream.payload.len();
        let payload = match direct {
            Some(direct) => direct.get(..stream.keep).unwrap_or(direct),
            None => &stream.payload,
        };
        let message = Message {
            kind: stream.kind,
            stream_id: stream.stream_id,
            chunk_stream: stream.id,
            timestamp: stream.timestamp,
            length: stream.length,
            payload,
            spans: &stream.spans,
        };
        let chunk_size = match (message.kind, payload.first_chunk()) {
            (kind::SET_CHUNK_SIZE, Some(bytes)) => Some(u32::from_be_bytes(*bytes)),
            // Where the next chunk ends depends on what is in the hole.
            (kind::SET_CHUNK_SIZE, None) if !message.is_whole() => {
                let missing = u64::from(message.length) - kept as u64;
                return Err(self.error(Problem::Hole(missing)));
            }
            _ => None,
        };
        deliver(message);
        stream.passed = None;
        stream.forget_message(self.limits);
        self.incomplete -= kept;
        match chunk_size {
            Some(0) => return Err(self.error(Problem::ChunkSize)),
            Some(size) if size <= i32::MAX as u32 => self.chunk_size = size,
            _ => {}
        }
        Ok(())
    }
}

impl Limits {
    /// Spans of one message beyond this are joined over what lies between.
    fn spans(self) -> usize {
        (self.incomplete >> 10).clamp(16, MAX_SPANS)
    }

    /// A payload buffer larger than this is not kept for the next message.
    fn spare(self) -> usize {
        (self.incomplete >> 6).min(MAX_SPARE)
    }
}

impl ChunkStream {
    fn new(id: u32) -> Self {
        Self {
            id,
            timestamp: 0,
            field: 0,
            extended: false,
            length: 0,
            kind: 0,
            stream_id: 0,
            passed: None,
            keep: 0,
            payload: Vec::new(),
            spans: Vec::new(),
        }
    }

    fn forget_message(&mut self, limits: Limits) {
        self.spans.clear();
        self.payload.clear();
        if self.payload.capacity() > limits.spare() {
            self.payload = Vec::new();
        }
    }
}
