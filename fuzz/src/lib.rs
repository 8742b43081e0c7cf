//! What must hold for any bytes at all, one function a reader. Each panics when it does not hold.
//!
//! `cargo fuzz` looks for bytes for which it does not (see `README.md`); `tests/corpus.rs` plays all bytes that were
//! ever found interesting, on every test run and with a stable compiler.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod agent;
mod capture;
mod datagram;
mod openflow;
mod scheme;
mod segments;
mod tcp;

pub use agent::{agent, peer};
pub use capture::capture;
pub use datagram::datagram;
pub use openflow::openflow;
pub use scheme::scheme;
pub use segments::segments;
pub use tcp::assembler;

use livectl_wire::amf0::{Decoder, Limits, Value};
use livectl_wire::command::Command;
use livectl_wire::rtmp::{self, Media};
use livectl_wire::{birth, flv, frame};

/// What must hold for these bytes.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 11] = [
    ("agent", agent),
    ("amf0", amf0),
    ("assembler", assembler),
    ("capture", capture),
    ("datagram", datagram),
    ("flv", flv),
    ("openflow", openflow),
    ("peer", peer),
    ("rtmp", rtmp),
    ("scheme", scheme),
    ("segments", segments),
];

/// Values that were decoded are the same when they are encoded and decoded again, and so are commands.
pub fn amf0(data: &[u8]) {
    let values = decode(data);
    let bytes = encode(&values);
    // Compared as bytes, since a number that is none is not equal to itself.
    assert_eq!(encode(&decode(&bytes)), bytes);
    for kind in [rtmp::kind::COMMAND_AMF0, rtmp::kind::COMMAND_AMF3] {
        let Ok(command) = Command::parse(kind, data, Limits::default()) else { continue };
        let bytes = command.emit();
        let again = Command::parse(rtmp::kind::COMMAND_AMF0, &bytes, Limits::default());
        assert_eq!(again.map(|command| command.emit()), Ok(bytes));
    }
}

/// In pieces of `size` bytes.
fn cut(bytes: &[u8], size: u8) -> Vec<&[u8]> {
    bytes.chunks(usize::from(size).max(1)).collect()
}

fn decode(bytes: &[u8]) -> Vec<Value> {
    let mut decoder = Decoder::new(bytes, Limits::default());
    std::iter::from_fn(|| decoder.value().ok().flatten()).collect()
}

fn encode(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode(&mut bytes));
    bytes
}

/// The same messages and the same end, however the bytes are cut; within the limits; and holes do no worse than end
/// the reading.
pub fn rtmp(data: &[u8]) {
    let Some((&[how, size], stream)) = data.split_first_chunk() else { return };
    let media = if how & 1 == 0 { Media::Whole } else { Media::Head(usize::from(how >> 4)) };
    let limits = rtmp::Limits { message: 2000, chunk_streams: 8, incomplete: 4000 };
    let new =
        || if how & 2 == 0 { rtmp::Reader::after_handshake(limits, media) } else { rtmp::Reader::new(limits, media) };
    let read = |pieces: &[&[u8]]| {
        let (mut reader, mut seen) = (new(), Vec::new());
        let result = pieces.iter().try_for_each(|piece| {
            reader.push(piece, |message| {
                assert!(message.payload.len() <= limits.message);
                assert!(message.payload.len() as u64 <= u64::from(message.length));
                let range = message.range();
                assert!(range.start < range.end);
                assert!(message.spans.windows(2).all(|pair| matches!(pair, [a, b] if a.end <= b.start)));
                // Metadata and commands of a stream are decoded too.
                if message.is_whole() {
                    decode(message.payload);
                }
                seen.push((message.kind, message.timestamp, message.payload.to_vec(), message.spans.to_vec()));
            })
        });
        (seen, result, reader.offset(), reader.oldest(), reader.incomplete_messages(), reader.counts())
    };
    let whole = read(&[stream]);
    assert_eq!(read(&cut(stream, size)), whole);

    let mut reader = new();
    for piece in cut(stream, size) {
        let result = match piece.split_first() {
            Some((&first, _)) if first & 0x1f == 0x1f => reader.hole(piece.len() as u64, |_| {}),
            _ => reader.push(piece, |_| {}),
        };
        if result.is_err() {
            break;
        }
    }
}

/// The same tags and the same end, however the bytes are cut; tags written again are the bytes they came from.
pub fn flv(data: &[u8]) {
    let Some((&size, file)) = data.split_first() else { return };
    let read = |pieces: &[&[u8]]| {
        let (mut reader, mut tags) = (flv::Reader::new(1000), Vec::new());
        let mut register = birth::Register::default();
        let result = pieces.iter().try_for_each(|piece| {
            reader.push(piece, |tag| {
                let mut again = Vec::new();
                flv::tag(tag.kind, tag.timestamp, tag.payload, &mut again).expect("it was short enough to be read");
                let range = tag.range.start as usize..tag.range.end as usize;
                assert_eq!(file.get(range.clone()), Some(&*again));
                let _ = tag.content();
                let born = register.birth(tag.kind, tag.timestamp, tag.payload, 0);
                assert_eq!(born.to_string().parse(), Ok(born));
                tags.push((tag.kind, frame::FrameId::of(tag.payload), range));
            })?;
            // What has come of the next one is what is in the file, and no more than it will have.
            if let Some(flv::Begun { size, payload, offset, .. }) = reader.begun() {
                let start = offset as usize + flv::TAG_HEADER_LEN;
                assert_eq!(file.get(start..start + payload.len()), Some(payload));
                assert!(payload.len() <= size && size <= 1000);
            }
            Ok::<_, flv::FlvError>(())
        });
        (tags, result, reader.offset(), reader.tail())
    };
    let whole = read(&[file]);
    assert_eq!(read(&cut(file, size)), whole);

    let mut reader = flv::Reader::new(1000);
    for piece in cut(file, size) {
        let result = match piece.split_first() {
            Some((&first, _)) if first & 0x1f == 0x1f => reader.hole(piece.len() as u64).map(|_| ()),
            _ => reader.push(piece, |_| {}),
        };
        if result.is_err() {
            break;
        }
    }
}
