//! What a tag's payload is to someone who passes a live stream on.

use super::TagKind;

/// What a tag, or the RTMP message of the same type, is good for. One who joins a stream midway needs the latest of
/// each configuration, then everything since a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// A coded picture: what livectl calls a frame.
    Picture {
        /// It can be decoded without any before it.
        keyframe: bool,
    },
    /// What a video decoder must have before its first picture (AVC sequence header).
    VideoConfig,
    /// Coded sound, of any codec.
    Sound,
    /// What an audio decoder must have before its first sound (AAC sequence header).
    AudioConfig,
    /// What the stream says of itself: size, rates, codecs (`onMetaData`).
    Metadata,
    /// Carries neither picture nor sound: end of sequence, seek commands, cue points, empty and unknown payloads.
    Other,
}

/// The first bytes of a video payload (E.4.3.1), or of one of Enhanced RTMP's (Veovera, Enhanced RTMP v1, "Defining
/// Additional Video Codecs"), which announce themselves by the first bit and name the codec by four characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VideoHeader {
    /// 1 keyframe, 2 inter frame, 3 disposable inter frame, 4 generated keyframe, 5 info or command.
    pub frame_type: u8,
    /// 2 Sorenson H.263, 3 Screen, 4 VP6, 5 VP6 with alpha, 6 Screen 2, 7 AVC; 0 when four characters name it.
    pub codec_id: u8,
    /// Of AVC, and of codecs that four characters name (where 3 is 1 without a composition time): 0 sequence header,
    /// 1 coded picture, 2 end of sequence.
    pub avc_packet_type: Option<u8>,
}

/// First bit of Enhanced RTMP's payloads.
const ENHANCED: u8 = 0x80;

/// `CodecID` of AVC.
const AVC: u8 = 7;
/// `SoundFormat` of AAC.
const AAC: u8 = 10;

impl VideoHeader {
    /// Reads it; `None` when the payload is empty, or is AVC and ends before its packet type.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        if first & ENHANCED != 0 {
            // The name of the codec must be there; which it is does not matter here.
            payload.get(1..5)?;
            let packet_type = match first & 0x0f {
                // Sequence start of MPEG-2 TS (5) is one, too.
                5 => 0,
                3 => 1,
                other => other,
            };
            return Some(Self { frame_type: (first >> 4) & 7, codec_id: 0, avc_packet_type: Some(packet_type) });
        }
        let codec_id = first & 0x0f;
        let avc_packet_type = if codec_id == AVC { Some(*payload.get(1)?) } else { None };
        Some(Self { frame_type: first >> 4, codec_id, avc_packet_type })
    }

    /// Whether it announces a coded picture.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        matches!(self.frame_type, 1..=4) && matches!(self.avc_packet_type, None | Some(1))
    }

    /// Whether it announces a picture that can be decoded without any before it.
    #[must_use]
    pub fn is_keyframe(&self) -> bool {
        matches!(self.frame_type, 1 | 4) && self.is_picture()
    }

    /// Whether it announces an AVC sequence header.
    #[must_use]
    pub fn is_sequence_header(&self) -> bool {
        self.avc_packet_type == Some(0) && self.frame_type != 5
    }
}

impl Content {
    /// What the payload of a tag of this kind is. Its first 16 bytes are enough to tell.
    #[must_use]
    pub fn of(kind: TagKind, payload: &[u8]) -> Self {
        match kind {
            TagKind::Video => match VideoHeader::parse(payload) {
                Some(video) if video.is_picture() => Content::Picture { keyframe: video.is_keyframe() },
                Some(video) if video.is_sequence_header() => Content::VideoConfig,
                _ => Content::Other,
            },
            TagKind::Audio => match payload {
                [] => Content::Other,
                [format, rest @ ..] if format >> 4 == AAC => match rest.first() {
                    Some(0) => Content::AudioConfig,
                    Some(1) => Content::Sound,
                    _ => Content::Other,
                },
                _ => Content::Sound,
            },
            // The AMF0 string `onMetaData`: marker 2, length 10.
            TagKind::Script if payload.starts_with(b"\x02\x00\x0aonMetaData") => Content::Metadata,
            TagKind::Script => Content::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use TagKind::{Audio, Script, Video};
    use proptest::prelude::*;

    #[test]
    fn first_bytes_of_payloads() {
        let cases: &[(TagKind, &[u8], Content)] = &[
            (Video, &[0x12, 0, 0, 0x84], Content::Picture { keyframe: true }), // Sorenson keyframe
            (Video, &[0x22, 0, 0, 0x84], Content::Picture { keyframe: false }), // Sorenson inter frame
            (Video, &[0x32], Content::Picture { keyframe: false }),            // Sorenson disposable
            (Video, &[0x17, 0, 0, 0, 0, 1], Content::VideoConfig),
            (Video, &[0x17, 1, 0, 0, 0], Content::Picture { keyframe: true }),
            (Video, &[0x27, 1, 0, 0, 0], Content::Picture { keyframe: false }),
            (Video, &[0x17, 2, 0, 0, 0], Content::Other), // end of sequence
            (Video, &[0x27], Content::Other),             // AVC cut before its packet type
            (Video, &[0x52, 0], Content::Other),          // seek command
            (Video, b"\x90hvc1\x01", Content::VideoConfig), // HEVC by Enhanced RTMP
            (Video, b"\x91hvc1\0\0\0", Content::Picture { keyframe: true }),
            (Video, b"\xa3hvc1\0", Content::Picture { keyframe: false }),
            (Video, b"\x92hvc1", Content::Other), // end of sequence
            (Video, b"\x94hvc1", Content::Other), // metadata
            (Video, b"\xd1hvc1", Content::Other), // command
            (Video, b"\x91hvc", Content::Other),  // cut before its codec
            (Video, &[0x57, 0], Content::Other),
            (Video, &[], Content::Other),
            (Audio, &[0xaf, 0, 0x12, 0x10], Content::AudioConfig),
            (Audio, &[0xaf, 1, 0x21], Content::Sound),
            (Audio, &[0xaf], Content::Other),
            (Audio, &[0x2f, 0xff], Content::Sound), // MP3
            (Audio, &[], Content::Other),
            (Script, b"\x02\x00\x0aonMetaData\x08", Content::Metadata),
            (Script, b"\x02\x00\x0aonCuePoint\x08", Content::Other),
            (Script, b"", Content::Other),
        ];
        for (kind, payload, content) in cases {
            assert_eq!(Content::of(*kind, payload), *content, "{kind:?} {payload:02x?}");
        }
    }

    proptest! {
        #[test]
        fn sixteen_bytes_are_enough(id in prop_oneof![Just(8u8), Just(9), Just(18)],
                                    payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let kind = TagKind::from_id(id).unwrap();
            prop_assert_eq!(Content::of(kind, &payload), Content::of(kind, &payload[..payload.len().min(16)]));
        }
    }
}
