//! The log of births: one line of CSV for each tag that the encoder emitted.
//!
//! ```text
//! index,tag,timestamp_ms,size,keyframe,id,birth_ns
//! 0,codec,0,45,0,6b0c…,1764000000000000000
//! 0,video,0,21417,1,99aa…,1764000000012345678
//! ```
//!
//! A tag of kind `video` is a frame, a coded picture; `audio` is coded sound; `script` is AMF0. What only configures
//! a decoder or ends a sequence is `codec`, whichever of audio and video it belongs to, so that the frames of H.264
//! are counted as those of any other codec. The analysis divides what arrives in the same way.

use std::fmt;
use std::str::FromStr;

use crate::flv::{Content, TagKind};
use crate::frame::{FrameId, FrameIdError};

/// The first line of the log, without its newline.
pub const HEADER: &str = "index,tag,timestamp_ms,size,keyframe,id,birth_ns";

/// One tag, as the encoder emitted it. Its text is a line of the log without the newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Counts the tags of its kind, from 0.
    pub index: u64,
    /// What the tag holds.
    pub kind: BirthKind,
    /// The tag's timestamp in milliseconds.
    pub timestamp_ms: u32,
    /// Bytes of the tag's payload.
    pub size: u32,
    /// A picture that can be decoded without any before it.
    pub keyframe: bool,
    /// XXH3-128 of the tag's payload.
    pub id: FrameId,
    /// When the agent had its last byte: nanoseconds of CLOCK_REALTIME.
    pub birth_ns: i64,
}

/// What a line of the log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BirthKind {
    /// A frame: a coded picture.
    Video,
    /// Coded sound.
    Audio,
    /// Metadata and other AMF0.
    Script,
    /// An audio or video tag without picture or sound: codec headers, end of sequence.
    Codec,
}

/// Why a line is not one of the log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BirthError {
    /// It has this many fields, not seven.
    #[error("a line of births has 7 fields ({HEADER}), this has {0}")]
    Fields(usize),
    /// A field that is no value of its column.
    #[error("`{text}` is not a valid {field}")]
    Field {
        /// Name of the column.
        field: &'static str,
        /// The text that stands there.
        text: String,
    },
    /// The id is not 32 hexadecimal digits.
    #[error(transparent)]
    Id(#[from] FrameIdError),
}

impl BirthKind {
    /// The kind of a tag with that payload.
    #[must_use]
    pub fn of(kind: TagKind, payload: &[u8]) -> Self {
        match (Content::of(kind, payload), kind) {
            (Content::Picture { .. }, _) => BirthKind::Video,
            (Content::Sound, _) => BirthKind::Audio,
            (_, TagKind::Script) => BirthKind::Script,
            _ => BirthKind::Codec,
        }
    }

    /// The word in the log: `video`, `audio`, `script`, `codec`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BirthKind::Video => "video",
            BirthKind::Audio => "audio",
            BirthKind::Script => "script",
            BirthKind::Codec => "codec",
        }
    }
}

/// Numbers the tags of one encoder: what the broadcaster's agent keeps.
#[derive(Debug, Clone, Default)]
pub struct Register {
    counts: [u64; 4],
}

impl Register {
    /// The birth of a tag at `birth_ns` (nanoseconds of CLOCK_REALTIME).
    pub fn birth(&mut self, kind: TagKind, timestamp_ms: u32, payload: &[u8], birth_ns: i64) -> Birth {
        let keyframe = matches!(Content::of(kind, payload), Content::Picture { keyframe: true });
        let kind = BirthKind::of(kind, payload);
        let count = match kind {
            BirthKind::Video => &mut self.counts[0],
            BirthKind::Audio => &mut self.counts[1],
            BirthKind::Script => &mut self.counts[2],
            BirthKind::Codec => &mut self.counts[3],
        };
        let index = *count;
        *count += 1;
        // A tag's payload has at most 2²⁴ - 1 bytes.
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Birth { index, kind, timestamp_ms, size, keyframe, id: FrameId::of(payload), birth_ns }
    }
}

impl fmt::Display for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Birth { index, kind, timestamp_ms, size, keyframe, id, birth_ns } = self;
        write!(f, "{index},{},{timestamp_ms},{size},{},{id},{birth_ns}", kind.as_str(), u8::from(*keyframe))
    }
}

impl FromStr for Birth {
    type Err = BirthError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        fn number<T: FromStr>(field: &'static str, text: &str) -> Result<T, BirthError> {
            text.parse().map_err(|_| BirthError::Field { field, text: text.to_owned() })
        }
        let fields: Vec<&str> = line.split(',').collect();
        let &[index, kind, timestamp_ms, size, keyframe, id, birth_ns] = fields.as_slice() else {
            return Err(BirthError::Fields(fields.len()));
        };
        Ok(Birth {
            index: number("index", index)?,
            kind: match kind {
                "video" => BirthKind::Video,
                "audio" => BirthKind::Audio,
                "script" => BirthKind::Script,
                "codec" => BirthKind::Codec,
                other => return Err(BirthError::Field { field: "tag", text: other.to_owned() }),
            },
            timestamp_ms: number("timestamp_ms", timestamp_ms)?,
            size: number("size", size)?,
            keyframe: match keyframe {
                "0" => false,
                "1" => true,
                other => return Err(BirthError::Field { field: "keyframe", text: other.to_owned() }),
            },
            id: id.parse()?,
            birth_ns: number("birth_ns", birth_ns)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "7,video,233,0,1,99aa06d3014798d86001c324468d497f,1764000000012345678";

    #[test]
    fn a_line_deconstructed() {
        let birth: Birth = LINE.parse().unwrap();
        let expected = Birth {
            index: 7,
            kind: BirthKind::Video,
            timestamp_ms: 233,
            size: 0,
            keyframe: true,
            id: FrameId::of(b""),
            birth_ns: 1_764_000_000_012_345_678,
        };
        assert_eq!(birth, expected);
        assert_eq!(birth.to_string(), LINE);
        assert_eq!(HEADER.split(',').count(), LINE.split(',').count());
    }

    #[test]
    fn truncated_at_every_byte_it_is_refused_or_shorter() {
        for len in 0..LINE.len() {
            let parsed = LINE[..len].parse::<Birth>();
            assert!(parsed.is_err() || parsed.is_ok_and(|b| b.birth_ns < 1_764_000_000_012_345_678), "{len}");
        }
    }

    #[test]
    fn fields_that_cannot_be_read_are_named() {
        let refused = |from: &str, to: &str| LINE.replacen(from, to, 1).parse::<Birth>().unwrap_err().to_string();
        assert_eq!(refused("7,video", "x,video"), "`x` is not a valid index");
        assert_eq!(refused("video", "picture"), "`picture` is not a valid tag");
        assert_eq!(refused(",1,", ",yes,"), "`yes` is not a valid keyframe");
        assert_eq!(refused(",99", ",zz"), "a frame id is 32 lower-case hex digits");
        assert!(refused(",0,1", ",1").contains("this has 6"));
    }

    #[test]
    fn every_kind_is_counted_on_its_own() {
        let mut register = Register::default();
        let tags: [(TagKind, &[u8]); 7] = [
            (TagKind::Script, b"\x02\x00\x0aonMetaData"),
            (TagKind::Video, &[0x17, 0]),
            (TagKind::Audio, &[0xaf, 0]),
            (TagKind::Video, &[0x17, 1]),
            (TagKind::Audio, &[0xaf, 1]),
            (TagKind::Video, &[0x27, 1]),
            (TagKind::Video, &[0x17, 2]),
        ];
        let births = tags.map(|(kind, payload)| register.birth(kind, 5, payload, 9));
        let seen = births.map(|b| (b.kind.as_str(), b.index, b.keyframe, b.size));
        let expected = [
            ("script", 0, false, 13),
            ("codec", 0, false, 2),
            ("codec", 1, false, 2),
            ("video", 0, true, 2),
            ("audio", 0, false, 2),
            ("video", 1, false, 2),
            ("codec", 2, false, 2),
        ];
        assert_eq!(seen, expected);
    }

    proptest! {
        #[test]
        fn round_trip(index: u64, timestamp_ms: u32, size: u32, keyframe: bool, id: [u8; 16], birth_ns: i64, kind in 0usize..4) {
            let kind = [BirthKind::Video, BirthKind::Audio, BirthKind::Script, BirthKind::Codec][kind];
            let birth = Birth { index, kind, timestamp_ms, size, keyframe, id: FrameId(id), birth_ns };
            prop_assert_eq!(birth.to_string().parse::<Birth>(), Ok(birth));
        }

        #[test]
        fn any_text(text in "\\PC*") {
            let _ = text.parse::<Birth>();
        }
    }
}
