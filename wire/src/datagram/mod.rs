//! A stream as datagrams to a group: sent once by its broadcaster's agent, copied by the switches to whoever plays
//! it.
//!
//! A tag (of FLV's kinds) is cut into [datagrams](Datagram) that fit an Ethernet frame each, so that IP never cuts
//! them again. They begin with [`HEADER_LEN`] bytes, numbers in network byte order:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | [`MAGIC`] |
//! | 4 | [which stream](stream_number) |
//! | 4 | which publication of it: a later one has a greater number |
//! | 4 | which datagram, counted from 0: by those that are missing a receiver knows how many were lost |
//! | 4 | which tag, counted from 0; at the end of the stream how many there were |
//! | 4 | the tag's timestamp in milliseconds |
//! | 1 | its kind, as in FLV; 0: the end of the stream, which has no payload |
//! | 3 | bytes of its payload |
//! | 4 | where in it this part begins |
//!
//! Every part but the last has [`MAX_PART`] bytes. An [`Emitter`] makes them and repeats metadata and codec headers
//! before each keyframe, since nobody can ask for what came before it joined. A [`Reassembler`] puts them together,
//! in whatever order and however often they come, and says what is missing. Nothing is sent again.

mod emitter;
mod reassembler;

use xxhash_rust::xxh3::xxh3_64;

use crate::StreamKey;
use crate::flv::TagKind;

pub use emitter::Emitter;
pub use reassembler::{Counts, Given, Reassembler, Tag};

/// The UDP port of groups.
pub const PORT: u16 = 2001;

/// What every datagram begins with; the last byte is the version.
pub const MAGIC: [u8; 4] = *b"LVD\x01";

/// Bytes of a datagram before its part of the payload.
pub const HEADER_LEN: usize = 32;

/// Bytes of payload in one datagram: what an IP packet of 1500 bytes has room for (28 bytes are IP's and UDP's
/// headers).
pub const MAX_PART: usize = 1500 - 28 - HEADER_LEN;

/// Fields of a datagram, from its beginning.
mod field {
    pub const STREAM: usize = 4;
    pub const SESSION: usize = 8;
    pub const SERIAL: usize = 12;
    pub const NUMBER: usize = 16;
    pub const TIMESTAMP: usize = 20;
    pub const KIND_AND_SIZE: usize = 24;
    pub const OFFSET: usize = 28;
}

/// A datagram of a stream: its header, and the part of a tag that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Number of the stream: see [`stream_number`].
    pub stream: u32,
    /// Which publication of the stream: a later one has a greater number.
    pub session: u32,
    /// Which datagram of the publication, from 0.
    pub serial: u32,
    /// Which tag of the publication, from 0; at the end how many there were.
    pub number: u32,
    /// Timestamp of the tag in milliseconds; at the end that of the last one.
    pub timestamp: u32,
    /// A part of a tag, or the end.
    pub body: Body<'a>,
}

/// What a datagram holds behind its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A part of a tag.
    Part {
        /// What the tag carries.
        kind: TagKind,
        /// Bytes of its payload in all, less than 2²⁴.
        size: u32,
        /// Where this part begins in it: a multiple of [`MAX_PART`].
        offset: u32,
        /// The bytes of this part.
        part: &'a [u8],
    },
    /// The news that the stream has ended.
    End,
}

/// Why bytes are no datagram of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// It has this many bytes, fewer than a header.
    #[error("a datagram has at least {HEADER_LEN} bytes, this has {0}")]
    TooShort(usize),
    /// It begins otherwise: not ours, or of a version that this program does not speak.
    #[error("a datagram begins with LVD and version 1")]
    Magic,
    /// It says that its tag is of this kind, which no tag has.
    #[error("no tag is of the kind {0}")]
    Kind(u8),
    /// A part that is not one of those in which a tag of that size is sent.
    #[error("of a tag of {size} bytes no part of {part} bytes begins at {offset}")]
    Part {
        /// Bytes of the tag's payload, as the header says.
        size: u32,
        /// Where in the payload the part begins, as the header says.
        offset: u32,
        /// Bytes of the part that are there.
        part: usize,
    },
}

/// The number by which datagrams name a stream: the lower half of XXH3-64 of its name. Each stream has a group of its
/// own; this is for datagrams that went astray, and for who reads a capture.
#[must_use]
pub fn stream_number(stream: &StreamKey) -> u32 {
    xxh3_64(stream.as_str().as_bytes()) as u32
}

/// The part of a tag of `size` bytes that begins at `offset` has so many bytes; `None`: none begins there.
fn part_len(size: u32, offset: u32) -> Option<usize> {
    let (size, offset) = (size as usize, offset as usize);
    // A tag without payload is sent, too.
    let begins = offset.is_multiple_of(MAX_PART) && (offset < size || offset == 0);
    begins.then(|| size.saturating_sub(offset).min(MAX_PART))
}

impl<'a> Datagram<'a> {
    /// Appends the whole datagram to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let (kind, size, offset, part) = match self.body {
            Body::Part { kind, size, offset, part } => (kind.id(), size, offset, part),
            Body::End => (0, 0, 0, &[][..]),
        };
        let [_, s2, s1, s0] = size.to_be_bytes();
        out.reserve(HEADER_LEN + part.len());
        out.extend_from_slice(&MAGIC);
        for word in [self.stream, self.session, self.serial, self.number, self.timestamp] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&[kind, s2, s1, s0]);
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(part);
    }

    /// Reads one. There is one way to write each.
    ///
    /// # Errors
    /// When the bytes are no such datagram, and why.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        let Some((header, part)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(DatagramError::TooShort(bytes.len()));
        };
        if !header.starts_with(&MAGIC) {
            return Err(DatagramError::Magic);
        }
        let word = |at: usize| {
            let word = header.get(at..).and_then(|rest| rest.first_chunk());
            u32::from_be_bytes(word.copied().unwrap_or_default())
        };
        let [kind, ..] = word(field::KIND_AND_SIZE).to_be_bytes();
        let (size, offset) = (word(field::KIND_AND_SIZE) & 0xff_ffff, word(field::OFFSET));
        let is_one = part_len(size, offset) == Some(part.len());
        let body = match TagKind::from_id(kind) {
            Some(kind) if is_one => Body::Part { kind, size, offset, part },
            None if kind != 0 => return Err(DatagramError::Kind(kind)),
            None if size == 0 && is_one => Body::End,
            _ => return Err(DatagramError::Part { size, offset, part: part.len() }),
        };
        Ok(Self {
            stream: word(field::STREAM),
            session: word(field::SESSION),
            serial: word(field::SERIAL),
            number: word(field::NUMBER),
            timestamp: word(field::TIMESTAMP),
            body,
        })
    }
}

#[cfg(test)]
mod tests;
