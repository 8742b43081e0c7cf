//! FLV: file header, tags and what is in them (Adobe Flash Video File Format Specification 10.1, Annex E).
//!
//! [`Reader`] takes a file or a live stream piece by piece; [`header`] and [`tag`] write one; [`Content`] says what a
//! tag is to someone who passes a live stream on.

mod content;
mod reader;

pub use content::{Content, VideoHeader};
pub use reader::{Begun, Damaged, FlvError, Problem, Reader, Tag, Tail};

/// File header and the `PreviousTagSize0` after it, in bytes (E.2, E.3).
pub const FILE_HEADER_LEN: usize = 13;
/// Header of a tag in bytes (E.4.1).
pub const TAG_HEADER_LEN: usize = 11;
/// `PreviousTagSize` after each tag, in bytes (E.3).
pub const TAG_TRAILER_LEN: usize = 4;
/// Largest payload of a tag in bytes: its size has 24 bits.
pub const MAX_PAYLOAD: usize = 0xff_ffff;

/// What a tag carries (E.4.1, TagType). RTMP uses the same numbers as message types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Audio: number 8.
    Audio,
    /// Video: number 9.
    Video,
    /// Script data, metadata and the like in AMF0: number 18.
    Script,
}

impl TagKind {
    /// The kind with that number; `None`: there is none.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        match id {
            8 => Some(TagKind::Audio),
            9 => Some(TagKind::Video),
            18 => Some(TagKind::Script),
            _ => None,
        }
    }

    /// Its number: 8, 9 or 18.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            TagKind::Audio => 8,
            TagKind::Video => 9,
            TagKind::Script => 18,
        }
    }
}

/// A payload longer than [`MAX_PAYLOAD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag's payload has at most {MAX_PAYLOAD} bytes, this has {0}")]
pub struct TooLong(pub usize);

/// The beginning of an FLV file: header and `PreviousTagSize0` (E.2, E.3).
#[must_use]
pub fn header(audio: bool, video: bool) -> [u8; FILE_HEADER_LEN] {
    let flags = if audio { 4 } else { 0 } | u8::from(video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// Appends a whole tag to `out`: header, payload and the `PreviousTagSize` after it. `timestamp` in milliseconds.
///
/// # Errors
/// When the payload is too long for a tag; `out` is then as it was.
pub fn tag(kind: TagKind, timestamp: u32, payload: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let header = tag_header(kind, timestamp, payload.len())?;
    out.reserve(TAG_HEADER_LEN + payload.len() + TAG_TRAILER_LEN);
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    out.extend_from_slice(&((payload.len() + TAG_HEADER_LEN) as u32).to_be_bytes());
    Ok(())
}

/// The header of a tag whose payload has `size` bytes. `timestamp` in milliseconds.
///
/// # Errors
/// When that is too long for a tag.
pub fn tag_header(kind: TagKind, timestamp: u32, size: usize) -> Result<[u8; TAG_HEADER_LEN], TooLong> {
    let [_, s2, s1, s0] =
        u32::try_from(size).ok().filter(|_| size <= MAX_PAYLOAD).ok_or(TooLong(size))?.to_be_bytes();
    let [t3, t2, t1, t0] = timestamp.to_be_bytes();
    Ok([kind.id(), s2, s1, s0, t2, t1, t0, t3, 0, 0, 0])
}
