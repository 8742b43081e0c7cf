//! H.264, as far as it takes to recognise a picture in another container (ITU-T H.264).
//!
//! The same picture lies in FLV with lengths before its NAL units (ISO/IEC 14496-15, 5.3.4.2) and in MPEG-2 TS with
//! start codes (H.264, Annex B), there among parameter sets and delimiters that are added on the way. What stays are
//! the NAL units of its slices, to the byte.

use crate::flv::{Content, TagKind, VideoHeader};
use crate::frame::{FrameId, Hasher};

/// `CodecID` of AVC in FLV.
const AVC: u8 = 7;
/// Frame type and codec, packet type, composition time: before the NAL units in FLV (Adobe FLV 10.1, E.4.3.1 and
/// E.4.3.2).
const FLV_HEADER: usize = 5;
/// Types of NAL units that hold slices of the picture (H.264, table 7-1).
const SLICES: std::ops::RangeInclusive<u8> = 1..=5;
/// A slice of a picture that can be decoded without any before it.
const IDR: u8 = 5;

/// A coded picture of H.264, told apart from others whatever container it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// XXH3-128 of its slices' NAL units, each with its length (32 bits, big-endian) before it: the same in every
    /// container.
    pub id: FrameId,
    /// It can be decoded without any before it.
    pub keyframe: bool,
}

/// The picture in an access unit with start codes; `None` if there is none.
#[must_use]
pub fn picture_in_stream(bytes: &[u8]) -> Option<Picture> {
    picture(units(bytes))
}

/// The picture in the payload of an FLV video tag, whose NAL units have lengths of so many bytes ([`length_size`]);
/// `None`: it is no picture of AVC, or is cut off.
#[must_use]
pub fn picture_in_tag(payload: &[u8], length_size: usize) -> Option<Picture> {
    if !is_avc(payload) || !matches!(Content::of(TagKind::Video, payload), Content::Picture { .. }) {
        return None;
    }
    let mut rest = payload.get(FLV_HEADER..)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = rest.get(..length_size)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let end = length_size.checked_add(length)?;
        found.push(rest.get(length_size..end)?);
        rest = rest.get(end..)?;
    }
    picture(found.into_iter())
}

/// How many bytes the lengths before NAL units have, by the payload of an AVC sequence header (ISO/IEC 14496-15,
/// 5.3.3.1.2); `None`: the payload is no such header.
#[must_use]
pub fn length_size(payload: &[u8]) -> Option<usize> {
    if !is_avc(payload) || Content::of(TagKind::Video, payload) != Content::VideoConfig {
        return None;
    }
    Some(usize::from(payload.get(FLV_HEADER + 4)? & 3) + 1)
}

fn is_avc(payload: &[u8]) -> bool {
    VideoHeader::parse(payload).is_some_and(|header| header.codec_id == AVC)
}

fn picture<'a>(units: impl Iterator<Item = &'a [u8]>) -> Option<Picture> {
    let mut picture: Option<(Hasher, bool)> = None;
    for unit in units {
        // No unit ends with a zero (7.4.1); those that stand behind it belong to nothing.
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let Some((unit, kind)) = unit.get(..end).and_then(|unit| Some((unit, unit.first()? & 0x1f))) else {
            continue;
        };
        if SLICES.contains(&kind) {
            let (hasher, keyframe) = picture.get_or_insert_default();
            hasher.update(&u32::try_from(unit.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(unit);
            *keyframe |= kind == IDR;
        }
    }
    picture.map(|(hasher, keyframe)| Picture { id: hasher.finish(), keyframe })
}

/// The NAL units between start codes (B.1.1).
fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = |from: usize| bytes.get(from..)?.windows(3).position(|three| three == [0, 0, 1]).map(|at| from + at);
    let mut next = start(0);
    std::iter::from_fn(move || {
        let begin = next? + 3;
        next = start(begin);
        bytes.get(begin..next.unwrap_or(bytes.len()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    const DELIMITER: &[u8] = &[0x09, 0xf0];
    const SEI: &[u8] = &[0x06, 5, 1, 0xaa, 0x80];
    /// Two slices of one picture, with an emulation prevention byte in the first.
    const SLICES: [&[u8]; 2] = [&[0x65, 0x88, 0x84, 0, 0, 3, 1, 0x21], &[0x65, 0x22, 0x80]];

    fn tag(length_size: usize, units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x17, 1, 0, 0, 42];
        for unit in units {
            payload.extend(&(unit.len() as u32).to_be_bytes()[4 - length_size..]);
            payload.extend_from_slice(unit);
        }
        payload
    }

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    #[test]
    fn a_picture_is_the_same_in_every_container() {
        let in_tag = picture_in_tag(&tag(4, &[SEI, SLICES[0], SLICES[1]]), 4).unwrap();
        assert!(in_tag.keyframe);
        for length_size in [1, 2] {
            assert_eq!(picture_in_tag(&tag(length_size, &SLICES), length_size), Some(in_tag));
        }
        let in_stream = stream(&[DELIMITER, SPS, PPS, SLICES[0], SLICES[1]]);
        assert_eq!(picture_in_stream(&in_stream), Some(in_tag));
        assert_eq!(picture_in_stream(&[in_stream.as_slice(), &[0, 0]].concat()), Some(in_tag), "zeros behind it");
        assert_ne!(picture_in_stream(&stream(&[SLICES[0]])), Some(in_tag));
        assert_ne!(picture_in_stream(&stream(&[SLICES[1], SLICES[0]])), Some(in_tag));
        let inter = picture_in_stream(&stream(&[&[0x41, 0x9a]])).unwrap();
        assert!(!inter.keyframe);
    }

    #[test]
    fn what_holds_no_picture() {
        assert_eq!(picture_in_stream(&stream(&[DELIMITER, SPS, PPS])), None);
        assert_eq!(picture_in_stream(&[]), None);
        assert_eq!(picture_in_tag(&[0x22, 0, 0, 0x84], 4), None, "flv1");
        assert_eq!(picture_in_tag(&[0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff], 4), None, "a sequence header");
        assert_eq!(length_size(&[0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff]), Some(4));
        assert_eq!(length_size(&[0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xfd]), Some(2));
        assert_eq!(length_size(&tag(4, &SLICES)), None);
        let whole = tag(4, &SLICES);
        for end in 0..whole.len() {
            let cut = picture_in_tag(&whole[..end], 4);
            // Between the slices it cannot be told from a picture of one.
            assert!(cut.is_none() || end == whole.len() - 4 - SLICES[1].len(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>, size in 1usize..5) {
            let _ = (picture_in_stream(&bytes), picture_in_tag(&bytes, size), length_size(&bytes));
        }

        #[test]
        fn slices_of_any_bytes(mut slice in proptest::collection::vec(1u8.., 0..60)) {
            slice.insert(0, 0x41);
            prop_assert_eq!(picture_in_tag(&tag(4, &[&slice]), 4), picture_in_stream(&stream(&[DELIMITER, &slice])));
        }
    }
}
