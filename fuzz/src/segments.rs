//! Segments of a stream by HTTP: answers, transport streams, pictures.

use livectl_wire::avc;
use livectl_wire::http::{Piece, Requests, Responses};
use livectl_wire::ts::{Reader, SYNC, Video};

/// Status, body, and whether it ended; what is missing stands as its length.
type Answer = (u16, Vec<u8>, Vec<u64>, bool);

/// The same answers, and the same video in them, however the bytes are cut; pictures of any bytes; holes at worst end
/// the reading.
pub fn segments(data: &[u8]) {
    let Some((&[size, hole, at], stream)) = data.split_first_chunk() else { return };
    let size = usize::from(size).max(1);
    assert_eq!(answers(stream, size), answers(stream, stream.len().max(1)));
    assert_eq!(video(stream, size), video(stream, stream.len().max(1)));
    for body in answers(stream, size).0.into_iter().filter(|answer| answer.1.first() == Some(&SYNC)) {
        assert_eq!(video(&body.1, size), video(&body.1, body.1.len().max(1)));
    }
    assert_eq!(targets(stream, size), targets(stream, stream.len().max(1)));
    for length_size in 1..=4 {
        let _ = avc::picture_in_tag(stream, length_size);
    }
    let _ = (avc::picture_in_stream(stream), avc::length_size(stream));

    let (before, after) = stream.split_at(stream.len() * usize::from(at) / 256);
    let (mut answers, mut reader, hole) = (Responses::new(), Reader::new(), u64::from(hole));
    let _ = answers.push(before, |_| ());
    let _ = answers.hole(hole, |_| ());
    let _ = answers.push(after, |_| ());
    assert!(answers.oldest() <= stream.len() as u64 + hole);
    let _ = reader.push(before, 0, |_| ());
    reader.hole(hole);
    let _ = reader.push(after, before.len() as u64 + hole, |_| ());
    assert!(reader.oldest().is_none_or(|oldest| oldest < stream.len() as u64 + hole));
    reader.end(|_| ());
}

fn answers(stream: &[u8], size: usize) -> (Vec<Answer>, bool) {
    let (mut reader, mut read): (_, Vec<Answer>) = (Responses::new(), Vec::new());
    let mut failed = false;
    for piece in stream.chunks(size) {
        failed |= reader
            .push(piece, |piece| match (piece, read.last_mut()) {
                (Piece::Head(status), _) => read.push((status, Vec::new(), Vec::new(), false)),
                (Piece::Body(bytes, offset), Some(last)) => {
                    let there = stream.get(offset as usize..offset as usize + bytes.len());
                    assert_eq!(there, Some(bytes), "it lies where it says");
                    last.1.extend_from_slice(bytes);
                }
                (Piece::Missing(bytes), Some(last)) => last.2.push(bytes),
                (Piece::End, Some(last)) => last.3 = true,
                (_, None) => panic!("a body without a head"),
            })
            .is_err();
    }
    (read, failed)
}

fn video(stream: &[u8], size: usize) -> (Vec<String>, bool) {
    let (mut reader, mut read, mut at, mut failed) = (Reader::new(), Vec::new(), 0, false);
    let mut deliver = |video: Video<'_>| {
        if let Video::Whole(unit) = video {
            let packets: u64 = unit.spans.iter().map(|span| span.end - span.start).sum();
            assert!(unit.payload.len() as u64 <= packets && packets <= stream.len() as u64);
        }
        read.push(format!("{video:?}"));
    };
    for piece in stream.chunks(size) {
        failed |= reader.push(piece, at, &mut deliver).is_err();
        at += piece.len() as u64;
    }
    reader.end(&mut deliver);
    (read, failed)
}

fn targets(stream: &[u8], size: usize) -> (Vec<String>, bool) {
    let (mut reader, mut read, mut failed) = (Requests::new(), Vec::new(), false);
    for piece in stream.chunks(size) {
        failed |= reader.push(piece, |target| read.push(target.to_owned())).is_err();
    }
    (read, failed)
}
