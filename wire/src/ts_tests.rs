#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::testbed::{ts_packet, ts_video};
use proptest::prelude::*;

/// Time, payload and first and last byte of each unit; `None` for a damaged one.
type Read = Vec<Option<(u32, Vec<u8>, u64, u64)>>;

fn read(bytes: &[u8], size: usize) -> Result<Read, TsError> {
    let (mut reader, mut units, mut at) = (Reader::new(), Vec::new(), 1000);
    let mut deliver = |video: Video<'_>| units.push(owned(video));
    for piece in bytes.chunks(size.max(1)) {
        reader.push(piece, at, &mut deliver)?;
        at += piece.len() as u64;
        assert!(reader.oldest().is_none_or(|oldest| (1000..at).contains(&oldest)));
    }
    reader.end(&mut deliver);
    assert_eq!(reader.oldest(), None);
    Ok(units)
}

fn owned(video: Video<'_>) -> Option<(u32, Vec<u8>, u64, u64)> {
    match video {
        Video::Whole(unit) => {
            let (first, last) = (unit.spans.first().unwrap(), unit.spans.last().unwrap());
            Some((unit.timestamp_ms, unit.payload.to_vec(), first.start, last.end))
        }
        Video::Damaged => None,
    }
}

/// Three pictures with a table before and sound between the packets of the second.
fn stream() -> (Vec<u8>, Read) {
    let pictures: [Vec<u8>; 3] = [vec![1; 1000], vec![2; 400], vec![3; 10]];
    let mut bytes = ts_packet(0, true, &[0, 0, 0xb0]);
    let mut units = Vec::new();
    for (n, picture) in (0u32..).zip(&pictures) {
        let video = ts_video(0x100, 95_443 + n * 40, picture);
        let at = bytes.len() as u64 + 1000;
        let sound = if n == 1 { ts_packet(0x101, true, &[0, 0, 1, 0xc0, 9, 9]) } else { Vec::new() };
        let (first, rest) = video.split_at(PACKET.min(video.len()));
        bytes.extend([first, &sound, rest].concat());
        units.push(Some((95_443 + n * 40, picture.clone(), at, bytes.len() as u64 + 1000)));
    }
    (bytes, units)
}

#[test]
fn pictures_with_their_times_and_places_in_pieces_of_any_size() {
    let (bytes, units) = stream();
    for size in [1, 7, 187, 188, 189, bytes.len()] {
        assert_eq!(read(&bytes, size).unwrap(), units, "{size}");
    }
}

/// The same without the lengths of the PES packets, as ffmpeg writes them.
fn without_lengths(mut bytes: Vec<u8>) -> Vec<u8> {
    let starts: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, w)| *w == [0, 0, 1, VIDEO]).map(|(at, _)| at).collect();
    for at in starts {
        bytes[at + 4..at + 6].fill(0);
    }
    bytes
}

#[test]
fn pictures_that_do_not_say_how_long_they_are_end_where_the_next_begin() {
    let (bytes, units) = stream();
    let bytes = without_lengths(bytes);
    for size in [1, 188, bytes.len()] {
        assert_eq!(read(&bytes, size).unwrap(), units, "{size}");
    }
    for end in 0..bytes.len() {
        let read = read(&bytes[..end], 100).unwrap();
        let (last, before) =
            read.split_last().map_or((None, [].as_slice()), |(last, before)| (last.as_ref(), before));
        assert_eq!(before, &units[..before.len()]);
        // At the end of a packet nobody can tell: the length of the answer says whether more was to come.
        let whole = || units[before.len()].as_ref().unwrap();
        assert!(last.is_none_or(|last| end % PACKET == 0 && whole().1.starts_with(&last.1)), "{end}");
    }
}

#[test]
fn what_lies_between_the_packets_of_a_picture_is_not_its_own() {
    let (bytes, _) = stream();
    let (mut reader, mut spans) = (Reader::new(), Vec::new());
    reader
        .push(&bytes, 0, |video| {
            if let Video::Whole(unit) = video {
                spans.push(unit.spans.len());
            }
        })
        .unwrap();
    assert_eq!(spans, [1, 2]);
}

#[test]
fn cut_at_every_byte_no_picture_is_made_up() {
    let (bytes, units) = stream();
    for end in 0..bytes.len() {
        let read = read(&bytes[..end], 100).unwrap();
        let whole = read.iter().filter(|unit| unit.is_some()).count();
        assert_eq!(read[..whole], units[..whole], "{end}");
        assert!(read.len() <= whole + 1, "{end}");
        let ended = units.iter().filter(|unit| unit.as_ref().unwrap().3 <= end as u64 + 1000).count();
        assert_eq!(whole, ended, "{end}");
    }
}

#[test]
fn a_hole_harms_what_it_is_in() {
    let (bytes, units) = stream();
    // Within the first picture, whose packets are 1 to 6; to the end of one, and to the middle.
    for (from, to) in [(200, 300), (300, 376), (376, 1000), (250, 1200)] {
        let (mut reader, mut read) = (Reader::new(), Vec::new());
        let mut deliver = |video: Video<'_>| read.push(owned(video));
        reader.push(&bytes[..from], 1000, &mut deliver).unwrap();
        reader.hole((to - from) as u64);
        reader.push(&bytes[to..], 1000 + to as u64, &mut deliver).unwrap();
        reader.end(&mut deliver);
        assert_eq!(read, [None, units[1].clone(), units[2].clone()], "{from} to {to}");
    }
    // Two in the same packet.
    let (mut reader, mut read) = (Reader::new(), Vec::new());
    let mut deliver = |video: Video<'_>| read.push(owned(video));
    reader.push(&bytes[..200], 1000, &mut deliver).unwrap();
    reader.hole(10);
    reader.push(&bytes[210..220], 1210, &mut deliver).unwrap();
    reader.hole(700);
    reader.push(&bytes[920..], 1920, &mut deliver).unwrap();
    reader.end(&mut deliver);
    assert_eq!(read, [None, units[1].clone(), units[2].clone()]);
}

#[test]
fn out_of_step() {
    let (bytes, units) = stream();
    let at = bytes.len() as u64 + 1000;
    let mut reader = Reader::new();
    let mut read = Vec::new();
    let broken = [bytes.as_slice(), b"<html>"].concat();
    let error = reader.push(&broken, 1000, |video| read.push(owned(video))).unwrap_err();
    assert_eq!(error, TsError { offset: at, found: b'<' });
    assert_eq!(read, units);
    assert_eq!(reader.push(&bytes, 0, |_| panic!("it has failed")), Err(error));
    let no_time = ts_packet(0x100, true, &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0, 1, 2, 3]);
    assert_eq!(super::tests::read(&no_time, 188).unwrap(), [None]);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(changes in proptest::collection::vec((0usize..2500, any::<u8>()), 0..60), size in 1usize..400,
                               hole in 0u64..1000) {
        let (mut bytes, _) = stream();
        for (at, byte) in changes {
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        let _ = read(&bytes, size);
        let mut reader = Reader::new();
        let _ = reader.push(&bytes[..size], 0, |_| ());
        reader.hole(hole);
        let _ = reader.push(&bytes[size..], size as u64 + hole, |_| ());
        reader.end(|_| ());
    }

    #[test]
    fn pictures_of_any_size(size in 0usize..1200, timestamp in 0u32..95_443_717) {
        let picture = vec![7; size];
        let units = read(&ts_video(0x100, timestamp, &picture), 188).unwrap();
        prop_assert_eq!(units.len(), 1);
        let (time, payload, ..) = units[0].clone().unwrap();
        prop_assert_eq!((time, payload), (timestamp, picture));
    }
}
