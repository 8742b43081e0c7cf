#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::super::{MAX_PAYLOAD, TooLong, header, tag};
use super::*;

/// `ffmpeg -f lavfi -i testsrc2=size=16x16:rate=1 -frames:v 1 -flvflags no_metadata -c:v flv1 -f flv`, its first tag
/// shortened to eight bytes of payload.
const SAMPLE: &[u8] = &[
    0x46, 0x4c, 0x56, 0x01, 0x01, 0x00, 0x00, 0x00, 0x09, // FLV, version 1, video only, header of 9 bytes
    0x00, 0x00, 0x00, 0x00, // PreviousTagSize0
    0x09, 0x00, 0x00, 0x08, 0xff, 0x00, 0x21, 0x01, 0x00, 0x00, 0x00, // video, 8 bytes, 0x01ff0021 ms
    0x12, 0x00, 0x00, 0x84, 0x00, 0x82, 0x00, 0x80, // a Sorenson keyframe begins
    0x00, 0x00, 0x00, 0x13, // 11 + 8
];

type Read = (TagKind, u32, Vec<u8>, Range<u64>);

fn read(reader: &mut Reader, bytes: &[u8]) -> (Vec<Read>, Result<(), FlvError>) {
    let mut tags = Vec::new();
    let result = reader.push(bytes, |t| tags.push((t.kind, t.timestamp, t.payload.to_vec(), t.range)));
    (tags, result)
}

#[test]
fn a_file_deconstructed() {
    let (tags, result) = read(&mut Reader::new(100), SAMPLE);
    assert_eq!(result, Ok(()));
    assert_eq!(tags, [(TagKind::Video, 0x01ff_0021, SAMPLE[24..32].to_vec(), 13..36)]);
}

#[test]
fn a_file_constructed() {
    let mut bytes = header(false, true).to_vec();
    tag(TagKind::Video, 0x01ff_0021, &SAMPLE[24..32], &mut bytes).unwrap();
    assert_eq!(bytes, SAMPLE);
}

#[test]
fn truncated_at_every_byte_the_tail_is_named() {
    for len in 0..=SAMPLE.len() {
        let mut reader = Reader::new(100);
        let (tags, result) = read(&mut reader, &SAMPLE[..len]);
        assert_eq!(result, Ok(()), "{len}");
        assert_eq!(tags.len(), usize::from(len == SAMPLE.len()));
        let video = Some((TagKind::Video, 0x01ff_0021));
        let tail = match len {
            0 | 13 | 36 => None,
            1..13 => Some(Tail { offset: 0, bytes: len, tag: None }),
            14..24 => Some(Tail { offset: 13, bytes: len - 13, tag: None }),
            _ => Some(Tail { offset: 13, bytes: len - 13, tag: video }),
        };
        assert_eq!(reader.tail(), tail, "{len}");
        let begun = |payload| Begun { kind: TagKind::Video, timestamp: 0x01ff_0021, size: 8, payload, offset: 13 };
        // Its payload is there before what repeats its size.
        let there = (24..36).contains(&len).then(|| begun(&SAMPLE[24..len.min(32)]));
        assert_eq!(reader.begun(), there, "{len}");
    }
}

#[test]
fn violations() {
    let with = |at: usize, byte: u8| {
        let mut bytes = SAMPLE.to_vec();
        bytes[at] = byte;
        let mut reader = Reader::new(8);
        let (tags, result) = read(&mut reader, &bytes);
        assert!(tags.is_empty());
        assert_eq!(reader.push(SAMPLE, |_| ()), result, "an error is final");
        assert_eq!(reader.tail(), None);
        result.unwrap_err()
    };
    for at in [0, 3, 4, 8, 12] {
        assert_eq!(with(at, 0x2a), FlvError { offset: 0, problem: Problem::FileHeader });
    }
    let at_tag = |problem| FlvError { offset: 13, problem };
    assert_eq!(with(13, 0x29), at_tag(Problem::TagType(0x29)), "the encryption bit");
    assert_eq!(with(13, 0), at_tag(Problem::TagType(0)));
    assert_eq!(with(16, 9), at_tag(Problem::TooLong { size: 9, limit: 8 }));
    assert_eq!(with(22, 1), at_tag(Problem::StreamId(0x100)));
    assert_eq!(with(35, 0x14), at_tag(Problem::PreviousTagSize { expected: 19, found: 20 }));
}

#[test]
fn a_hole_in_a_tag_harms_that_tag() {
    let mut stream = header(false, true).to_vec();
    tag(TagKind::Video, 1, &[1; 100], &mut stream).unwrap(); // 13..128
    tag(TagKind::Video, 2, &[2; 100], &mut stream).unwrap(); // 128..243
    let damaged = Damaged { kind: TagKind::Video, timestamp: 1, size: 100 };
    for (from, to) in [(24, 30), (30, 32), (100, 128), (24, 128)] {
        let mut reader = Reader::new(1000);
        reader.push(&stream[..from], |_| panic!("no tag yet")).unwrap();
        assert_eq!(reader.hole(1), Ok(Some(damaged.clone())), "told the first time");
        assert_eq!(reader.hole((to - from - 1) as u64), Ok(None));
        let (tags, result) = read(&mut reader, &stream[to..]);
        assert_eq!(result, Ok(()));
        assert_eq!((tags.len(), tags[0].1, tags[0].3.clone()), (1, 2, 128..243));
        assert_eq!(reader.offset(), 243);
    }
}

#[test]
fn a_hole_over_a_tag_header_ends_the_reading() {
    for (from, missing) in [(5, 1), (13, 1), (20, 1), (30, 7)] {
        let mut reader = Reader::new(100);
        reader.push(&SAMPLE[..from], |_| ()).unwrap();
        let error = reader.hole(missing).unwrap_err();
        assert_eq!(error.problem, Problem::Hole(missing));
        assert_eq!(reader.push(SAMPLE, |_| ()), Err(error));
    }
}

#[test]
fn a_payload_too_long_to_write() {
    let mut out = vec![1];
    assert_eq!(tag(TagKind::Video, 0, &vec![0; MAX_PAYLOAD + 1], &mut out), Err(TooLong(MAX_PAYLOAD + 1)));
    assert_eq!(out, [1]);
}

fn any_kind() -> impl Strategy<Value = TagKind> {
    prop_oneof![Just(TagKind::Audio), Just(TagKind::Video), Just(TagKind::Script)]
}

proptest! {
    #[test]
    fn round_trip_in_any_pieces(
        tags in proptest::collection::vec((any_kind(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        pieces in proptest::collection::vec(1usize..80, 1..50),
    ) {
        let mut bytes = header(true, true).to_vec();
        let mut expected = Vec::new();
        for (kind, timestamp, payload) in tags {
            let start = bytes.len() as u64;
            tag(kind, timestamp, &payload, &mut bytes).unwrap();
            expected.push((kind, timestamp, payload, start..bytes.len() as u64));
        }
        let mut reader = Reader::new(60);
        let mut found = Vec::new();
        let mut rest = &bytes[..];
        for piece in pieces.iter().cycle() {
            let (piece, after) = rest.split_at((*piece).min(rest.len()));
            let (tags, result) = read(&mut reader, piece);
            prop_assert_eq!(result, Ok(()));
            found.extend(tags);
            rest = after;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(reader.tail(), None);
    }

    #[test]
    fn any_bytes_in_any_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300, valid: bool) {
        let mut all = if valid { SAMPLE.to_vec() } else { Vec::new() };
        all.extend(bytes);
        let (whole, result) = read(&mut Reader::new(1000), &all);
        let mut reader = Reader::new(1000);
        let (first, second) = all.split_at(cut.min(all.len()));
        let (mut tags, one) = read(&mut reader, first);
        let (more, two) = read(&mut reader, second);
        tags.extend(more);
        prop_assert_eq!(tags, whole);
        prop_assert_eq!(one.and(two), result);
    }
}
