//! Reads FLV as it comes.

use std::io;
use std::ops::Range;

use super::{Content, FILE_HEADER_LEN, TAG_HEADER_LEN, TAG_TRAILER_LEN, TagKind};

/// Bytes that [`Reader::read_all`] takes at a time.
const BUFFER: usize = 1 << 16;

/// Reads an FLV file or live stream that is pushed to it in pieces of any size.
///
/// It holds at most one incomplete tag. It is strict: the first byte that is not as the specification says ends the
/// reading, since nothing after it could be trusted. A file that merely ends in the middle of a tag is not an error:
/// see [`Reader::tail`].
#[derive(Debug, Clone)]
pub struct Reader {
    max_payload: usize,
    header_seen: bool,
    /// The beginning of what comes next, as far as it has come; empty while whole tags come in one piece.
    partial: Vec<u8>,
    /// Stream offset of the first byte of `partial`, or of the next byte pushed.
    offset: u64,
    /// How many bytes are left of a tag with a hole.
    passing: usize,
    failed: Option<FlvError>,
}

/// A tag that has come as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Audio, video or script data.
    pub kind: TagKind,
    /// Its timestamp in milliseconds, all 32 bits.
    pub timestamp: u32,
    /// Its payload: the bytes behind the tag header.
    pub payload: &'a [u8],
    /// Where the whole tag, header and `PreviousTagSize` included, lies in the stream.
    pub range: Range<u64>,
}

impl Tag<'_> {
    /// What the payload is, by its first bytes.
    #[must_use]
    pub fn content(&self) -> Content {
        Content::of(self.kind, self.payload)
    }
}

/// A tag whose payload has a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Audio, video or script data.
    pub kind: TagKind,
    /// Its timestamp in milliseconds.
    pub timestamp: u32,
    /// Bytes of its payload, the missing ones included.
    pub size: usize,
}

/// A tag that is not whole yet, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun<'a> {
    /// Audio, video or script data.
    pub kind: TagKind,
    /// Its timestamp in milliseconds, all 32 bits.
    pub timestamp: u32,
    /// Bytes that its payload will have.
    pub size: usize,
    /// Those of its payload that are there.
    pub payload: &'a [u8],
    /// Where the tag begins in the stream.
    pub offset: u64,
}

/// The end of a stream in the middle of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Stream offset of the incomplete part.
    pub offset: u64,
    /// How many bytes of it have come.
    pub bytes: usize,
    /// The tag it would have been; `None` for the file header and for tags cut within their own header.
    pub tag: Option<(TagKind, u32)>,
}

/// Where and why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not FLV at byte {offset}: {problem}")]
pub struct FlvError {
    /// Offset in the stream of what was being read.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a file or stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file header is not `FLV`, version 1, nine bytes long, followed by a zero.
    #[error("the file header is not that of FLV version 1")]
    FileHeader,
    /// A type byte other than 8, 9 or 18: encrypted, reserved or out of step.
    #[error("a tag of type {0:#04x}; only audio (8), video (9) and script (18) are known")]
    TagType(u8),
    /// The stream id is always 0 (E.4.1).
    #[error("a tag with stream id {0}; it must be 0")]
    StreamId(u32),
    /// The payload is longer than the reader's owner allows.
    #[error("a tag of {size} bytes; at most {limit} are allowed")]
    TooLong {
        /// Bytes of the payload, as the tag header says.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// `PreviousTagSize` differs from the tag before it.
    #[error("the tag before has {expected} bytes, but its size is repeated as {found}")]
    PreviousTagSize {
        /// Bytes of the tag before, its header included.
        expected: u32,
        /// The number that stands there.
        found: u32,
    },
    /// Bytes are missing, and not only from one tag: where the next one begins cannot be known.
    #[error("{0} bytes are missing, and what follows them cannot be told apart")]
    Hole(u64),
}

struct TagHeader {
    kind: TagKind,
    size: usize,
    timestamp: u32,
}

impl Reader {
    /// A reader at the beginning of a file. Tags with payloads over `max_payload` bytes are refused.
    #[must_use]
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload, header_seen: false, partial: Vec::new(), offset: 0, passing: 0, failed: None }
    }

    /// Takes the next bytes and hands on each tag that they complete.
    ///
    /// # Errors
    /// At the first violation, after the tags before it were handed on; from then on always the same error.
    pub fn push(&mut self, bytes: &[u8], mut deliver: impl FnMut(Tag<'_>)) -> Result<(), FlvError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.read(bytes, &mut deliver).inspect_err(|error| {
            self.failed = Some(*error);
            self.partial = Vec::new();
        })
    }

    /// Takes all that a source has and hands on each tag. What is wrong with the stream is the inner error: what was
    /// before it was handed on.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_all(
        &mut self,
        mut source: impl io::Read,
        mut deliver: impl FnMut(Tag<'_>),
    ) -> io::Result<Result<(), FlvError>> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let bytes = match source.read(&mut buffer) {
                Ok(0) => return Ok(Ok(())),
                Ok(len) => buffer.get(..len).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Err(error) = self.push(bytes, &mut deliver) {
                return Ok(Err(error));
            }
        }
    }

    /// Says that the next `bytes` bytes of the stream will not come. Within one tag this harms that tag alone: it is
    /// passed over, and described the first time. A hole that reaches further ends the reading.
    ///
    /// # Errors
    /// As [`Reader::push`].
    pub fn hole(&mut self, bytes: u64) -> Result<Option<Damaged>, FlvError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let missing = usize::try_from(bytes).unwrap_or(usize::MAX);
        let header = if self.header_seen { self.tag_header(&self.partial)? } else { None };
        let left = match &header {
            Some(header) => (TAG_HEADER_LEN + header.size + TAG_TRAILER_LEN).saturating_sub(self.partial.len()),
            None => self.passing,
        };
        if missing > left {
            let error = self.error(Problem::Hole(bytes));
            self.failed = Some(error);
            return Err(error);
        }
        self.passing = left - missing;
        self.offset += self.partial.len() as u64 + bytes;
        self.partial.clear();
        Ok(header.map(|TagHeader { kind, size, timestamp }| Damaged { kind, timestamp, size }))
    }

    /// Offset in the stream of the incomplete tag, or of the next one.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn read(&mut self, mut bytes: &[u8], deliver: &mut impl FnMut(Tag<'_>)) -> Result<(), FlvError> {
        let passed = self.passing.min(bytes.len());
        self.passing -= passed;
        self.offset += passed as u64;
        bytes = bytes.get(passed..).unwrap_or_default();
        // What was left over is completed first: only as many bytes are copied as it still needs.
        while !self.partial.is_empty() {
            let needed = self.needed(&self.partial)?;
            if self.partial.len() >= needed {
                let partial = std::mem::take(&mut self.partial);
                let taken = self.item(&partial, deliver)?;
                self.offset += taken as u64;
                self.partial = partial;
                self.partial.clear();
                break;
            }
            let more = bytes.get(..needed - self.partial.len()).unwrap_or(bytes);
            if more.is_empty() {
                return Ok(());
            }
            self.partial.extend_from_slice(more);
            bytes = bytes.get(more.len()..).unwrap_or_default();
        }
        // From here on tags are handed on from where they lie.
        while !bytes.is_empty() {
            let needed = self.needed(bytes)?;
            if bytes.len() < needed {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            }
            let taken = self.item(bytes, deliver)?;
            self.offset += taken as u64;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// How many bytes the item that begins with `bytes` has, as far as these bytes tell.
    fn needed(&self, bytes: &[u8]) -> Result<usize, FlvError> {
        if !self.header_seen {
            return Ok(FILE_HEADER_LEN);
        }
        match self.tag_header(bytes)? {
            Some(header) => Ok(TAG_HEADER_LEN + header.size + TAG_TRAILER_LEN),
            None => Ok(TAG_HEADER_LEN),
        }
    }

    /// Reads the whole item that `bytes` begin with and says how long it is.
    fn item(&mut self, bytes: &[u8], deliver: &mut impl FnMut(Tag<'_>)) -> Result<usize, FlvError> {
        if !self.header_seen {
            return match bytes {
                [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0, ..] if flags & !5 == 0 => {
                    self.header_seen = true;
                    Ok(FILE_HEADER_LEN)
                }
                _ => Err(self.error(Problem::FileHeader)),
            };
        }
        // `needed` has made sure of both slices.
        let Some(header) = self.tag_header(bytes)? else { return Ok(0) };
        let end = TAG_HEADER_LEN + header.size;
        let (Some(payload), Some(trailer)) =
            (bytes.get(TAG_HEADER_LEN..end), bytes.get(end..).and_then(|rest| rest.first_chunk::<TAG_TRAILER_LEN>()))
        else {
            return Ok(0);
        };
        let (expected, found) = (end as u32, u32::from_be_bytes(*trailer));
        if found != expected {
            return Err(self.error(Problem::PreviousTagSize { expected, found }));
        }
        let len = end + TAG_TRAILER_LEN;
        let range = self.offset..self.offset + len as u64;
        deliver(Tag { kind: header.kind, timestamp: header.timestamp, payload, range });
        Ok(len)
    }

    fn tag_header(&self, bytes: &[u8]) -> Result<Option<TagHeader>, FlvError> {
        if let Some(&id) = bytes.first()
            && TagKind::from_id(id).is_none()
        {
            return Err(self.error(Problem::TagType(id)));
        }
        let Some(&[id, s2, s1, s0, t2, t1, t0, t3, i2, i1, i0]) = bytes.first_chunk::<TAG_HEADER_LEN>() else {
            return Ok(None);
        };
        let kind = TagKind::from_id(id).ok_or(self.error(Problem::TagType(id)))?;
        let size = u32::from_be_bytes([0, s2, s1, s0]) as usize;
        let stream_id = u32::from_be_bytes([0, i2, i1, i0]);
        if stream_id != 0 {
            return Err(self.error(Problem::StreamId(stream_id)));
        }
        if size > self.max_payload {
            return Err(self.error(Problem::TooLong { size, limit: self.max_payload }));
        }
        Ok(Some(TagHeader { kind, size, timestamp: u32::from_be_bytes([t3, t2, t1, t0]) }))
    }

    fn error(&self, problem: Problem) -> FlvError {
        FlvError { offset: self.offset, problem }
    }

    /// What a stream that ends now ends in the middle of. `None`: it ends cleanly after a whole tag or the file
    /// header, or reading had failed before.
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        if self.partial.is_empty() {
            return None;
        }
        let header = if self.header_seen { self.tag_header(&self.partial).ok().flatten() } else { None };
        let tag = header.map(|h| (h.kind, h.timestamp));
        Some(Tail { offset: self.offset, bytes: self.partial.len(), tag })
    }

    /// The tag that is not whole yet, once its header is.
    #[must_use]
    pub fn begun(&self) -> Option<Begun<'_>> {
        if !self.header_seen {
            return None;
        }
        let TagHeader { kind, size, timestamp } = self.tag_header(&self.partial).ok().flatten()?;
        let there = self.partial.get(TAG_HEADER_LEN..)?;
        let payload = there.get(..size).unwrap_or(there);
        Some(Begun { kind, timestamp, size, payload, offset: self.offset })
    }

    /// Whether the file header has been read.
    #[must_use]
    pub fn has_header(&self) -> bool {
        self.header_seen
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
