#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::amf0;
use crate::command::{Command, CommandError, Status};

/// What ffmpeg 5.1 sends after the handshake, up to `publish`; `connect` is longer than a chunk.
const CLIENT: &str = "\
    0300000000008b1400000000020007636f6e6e656374003ff00000000000000300036170700200046c69766500047479706502000a6e\
    6f6e707269766174650008666c617368566572020024464d4c452f332e302028636f6d70617469626c653b204c61766635392e32372e\
    313030290005746355726c02001a72746d703a2f2f3132372e302e302e313a31c33933352f6c69766500000902000000000004010000\
    0000000010004300000000001f1402000d72656c6561736553747265616d0040000000000000000502000268624300000000001b1402\
    000946435075626c697368004008000000000000050200026862430000000000191402000c63726561746553747265616d0040100000\
    00000000050800000000002014010000000200077075626c6973680040140000000000000502000268620200046c697665\
    ";

/// What nginx-rtmp 1.2.2 with `chunk_size 4096` answers.
const SERVER: &str = "\
    020000000000040500000000004c4b40020000000000050600000000004c4b4002020000000000040100000000000010000300000000\
    00be14000000000200075f726573756c74003ff0000000000000030006666d7356657202000d464d532f332c302c312c313233000c63\
    61706162696c697469657300403f0000000000000000090300056c6576656c0200067374617475730004636f646502001d4e6574436f\
    6e6e656374696f6e2e436f6e6e6563742e53756363657373000b6465736372697074696f6e020015436f6e6e656374696f6e20737563\
    6365656465642e000e6f626a656374456e636f64696e670000000000000000000000090300000000001d14000000000200075f726573\
    756c7400401000000000000005003ff00000000000000500000000006914010000000200086f6e537461747573000000000000000000\
    050300056c6576656c0200067374617475730004636f64650200174e657453747265616d2e5075626c6973682e5374617274000b6465\
    736372697074696f6e0200105374617274207075626c697368696e67000009\
    ";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
}

/// A message that owns its payload and spans.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    kind: u8,
    stream_id: u32,
    chunk_stream: u32,
    timestamp: u32,
    length: u32,
    payload: Vec<u8>,
    spans: Vec<Range<u64>>,
}

fn own(m: &Message<'_>) -> Owned {
    Owned {
        kind: m.kind,
        stream_id: m.stream_id,
        chunk_stream: m.chunk_stream,
        timestamp: m.timestamp,
        length: m.length,
        payload: m.payload.to_vec(),
        spans: m.spans.to_vec(),
    }
}

fn reader() -> Reader {
    Reader::after_handshake(Limits::default(), Media::Whole)
}

fn read(reader: &mut Reader, bytes: &[u8]) -> (Vec<Owned>, Result<(), RtmpError>) {
    let mut messages = Vec::new();
    let result = reader.push(bytes, |m| messages.push(own(&m)));
    (messages, result)
}

fn commands(messages: &[Owned]) -> Vec<Command> {
    let commands = messages.iter().filter(|m| m.kind == kind::COMMAND_AMF0);
    commands.map(|m| Command::parse(m.kind, &m.payload, amf0::Limits::default()).unwrap()).collect()
}

#[test]
fn a_publishing_client_deconstructed() {
    let (messages, result) = read(&mut reader(), &bytes(CLIENT));
    assert_eq!(result, Ok(()));
    let kinds: Vec<_> = messages.iter().map(|m| (m.kind, m.chunk_stream, m.stream_id, m.length)).collect();
    let commands_and_chunk_size = [
        (kind::COMMAND_AMF0, 3, 0, 139),
        (kind::SET_CHUNK_SIZE, 2, 0, 4),
        (kind::COMMAND_AMF0, 3, 0, 31),
        (kind::COMMAND_AMF0, 3, 0, 27),
        (kind::COMMAND_AMF0, 3, 0, 25),
        (kind::COMMAND_AMF0, 8, 1, 32),
    ];
    assert_eq!(kinds, commands_and_chunk_size);
    // Header of 12 bytes, 128 of payload, header of 1, the other 11.
    assert_eq!((messages[0].spans.len(), messages[0].spans[0].clone()), (1, HANDSHAKE_LEN..HANDSHAKE_LEN + 152));
    assert_eq!(messages[1].payload, [0, 0, 0x10, 0]);
    let expected = [
        Command::Connect { transaction: 1.0, app: "live".into(), tc_url: Some("rtmp://127.0.0.1:1935/live".into()) },
        Command::Other { name: "releaseStream".into(), transaction: 2.0 },
        Command::Other { name: "FCPublish".into(), transaction: 3.0 },
        Command::CreateStream { transaction: 4.0 },
        Command::Publish { transaction: 5.0, name: "hb".into(), mode: Some("live".into()) },
    ];
    assert_eq!(commands(&messages), expected);
}

#[test]
fn a_server_deconstructed() {
    let mut reader = reader();
    let (messages, result) = read(&mut reader, &bytes(SERVER));
    assert_eq!(result, Ok(()));
    assert_eq!(reader.chunk_size(), 4096);
    let kinds: Vec<u8> = messages.iter().map(|m| m.kind).collect();
    assert_eq!(kinds[..3], [kind::WINDOW_SIZE, kind::PEER_BANDWIDTH, kind::SET_CHUNK_SIZE]);
    let commands = commands(&messages);
    let Command::Result { transaction: 1.0, value: Some(answer) } = &commands[0] else { panic!("{commands:?}") };
    assert_eq!(answer.get("code").and_then(amf0::Value::as_str), Some("NetConnection.Connect.Success"));
    assert_eq!(commands[1], Command::Result { transaction: 4.0, value: Some(1.0.into()) });
    let start = Status {
        level: "status".into(),
        code: "NetStream.Publish.Start".into(),
        description: "Start publishing".into(),
    };
    assert_eq!(commands[2], Command::OnStatus(start));
    assert_eq!(messages.last().map(|m| m.stream_id), Some(1));
}

#[test]
fn truncated_at_every_byte_the_messages_before_are_there() {
    for sample in [bytes(CLIENT), bytes(SERVER)] {
        let (all, _) = read(&mut reader(), &sample);
        for len in 0..sample.len() {
            let (messages, result) = read(&mut reader(), &sample[..len]);
            assert_eq!(result, Ok(()), "{len}");
            let complete = all.iter().filter(|m| m.spans.last().unwrap().end <= HANDSHAKE_LEN + len as u64).count();
            assert_eq!(messages, all[..complete], "{len}");
        }
    }
}

#[test]
fn the_handshake_in_any_pieces() {
    let mut stream = vec![VERSION];
    stream.resize(HANDSHAKE_LEN as usize, 0xa5);
    stream.extend(bytes(CLIENT));
    let (expected, _) = read(&mut reader(), &bytes(CLIENT));
    for piece in [1, 2, 1536, 1537, 3000, 3073, 3074, 5000] {
        let mut reader = Reader::new(Limits::default(), Media::Whole);
        let mut messages = Vec::new();
        for piece in stream.chunks(piece) {
            reader.push(piece, |m| messages.push(own(&m))).unwrap();
        }
        assert_eq!(messages, expected, "{piece}");
    }
    let mut reader = Reader::new(Limits::default(), Media::Whole);
    let error = reader.push(&[6, 0, 0], |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "not RTMP at byte 0: version 6; only plain RTMP (3) can be read");
}

/// The specification's own examples (section 5.3.2).
#[test]
fn the_examples_of_the_specification() {
    let audio = |timestamp| Header { chunk_stream: 3, kind: kind::AUDIO, stream_id: 12345, timestamp };
    let mut writer = Writer::new();
    let mut out = Vec::new();
    let mut lengths = Vec::new();
    for timestamp in [1000, 1020, 1040, 1060] {
        let before = out.len();
        writer.write(audio(timestamp), &[7; 32], &mut out).unwrap();
        lengths.push(out.len() - before);
    }
    assert_eq!(lengths, [44, 36, 33, 33]);
    let (messages, _) = read(&mut reader(), &out);
    assert_eq!(messages.iter().map(|m| m.timestamp).collect::<Vec<_>>(), [1000, 1020, 1040, 1060]);

    let video = Header { chunk_stream: 4, kind: kind::VIDEO, stream_id: 12346, timestamp: 1000 };
    let chunks = Writer::new().chunks(video, &[9; 307]).unwrap();
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [140, 129, 52]);
    let (messages, _) = read(&mut reader(), &chunks.concat());
    assert_eq!((messages[0].stream_id, messages[0].length), (12346, 307));
    assert_eq!(messages[0].payload, [9; 307]);
}

#[test]
fn a_type_3_header_after_type_0_repeats_its_time_as_delta() {
    let mut stream = vec![0x04, 0, 0, 33, 0, 0, 1, 9, 1, 0, 0, 0, 0xaa];
    stream.extend([0xc4, 0xbb, 0xc4, 0xcc]);
    let (messages, _) = read(&mut reader(), &stream);
    assert_eq!(messages.iter().map(|m| m.timestamp).collect::<Vec<_>>(), [33, 66, 99]);
}

#[test]
fn interleaved_messages_have_their_own_spans() {
    let mut writer = Writer::new();
    let video = Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp: 5 };
    let audio = Header { chunk_stream: 700, kind: kind::AUDIO, stream_id: 1, timestamp: 6 };
    let v = writer.chunks(video, &[1; 300]).unwrap(); // 140, 129, 45 bytes
    let a = writer.chunks(audio, &[2; 130]).unwrap(); // 142, 5 bytes
    let stream = [&v[0][..], &a[0], &v[1], &v[2], &a[1]].concat();
    let mut cut = reader();
    let oldest = [100, 200, 330, 457].map(|len| {
        cut.push(&stream[(cut.offset() - HANDSHAKE_LEN) as usize..len], |_| ()).unwrap();
        cut.oldest() - HANDSHAKE_LEN
    });
    assert_eq!(oldest, [0, 0, 0, 140]);
    let (messages, result) = read(&mut reader(), &stream);
    assert_eq!(result, Ok(()));
    let at = |range: Range<u64>| range.start + HANDSHAKE_LEN..range.end + HANDSHAKE_LEN;
    assert_eq!(messages[0].payload, [1; 300]);
    assert_eq!(messages[0].spans, [at(0..140), at(282..456)]);
    assert_eq!((messages[1].chunk_stream, &messages[1].payload[..]), (700, &[2; 130][..]));
    assert_eq!(messages[1].spans, [at(140..282), at(456..461)]);
}

#[test]
fn the_chunk_size_may_change_within_a_message() {
    let mut writer = Writer::new();
    let video = Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp: 5 };
    let chunks = writer.chunks(video, &[1; 300]).unwrap();
    let mut set = Vec::new();
    writer.set_chunk_size(4096, &mut set).unwrap();
    let rest = [&chunks[1][..], &chunks[2][1..]].concat(); // now one chunk of 172 bytes
    let (messages, result) = read(&mut reader(), &[&chunks[0][..], &set, &rest].concat());
    assert_eq!(result, Ok(()));
    assert_eq!(messages[1].payload, [1; 300]);
}

#[test]
fn extended_timestamps_repeated_or_not() {
    let times = [0xff_fffe, 0xff_ffff, 0x100_0000, 0xffff_fff0];
    for repeated in [true, false] {
        let mut writer = Writer::new();
        if !repeated {
            writer = writer.without_repeated_extended_timestamps();
        }
        let mut stream = Vec::new();
        for (n, timestamp) in times.into_iter().enumerate() {
            let video = Header { chunk_stream: 6 + n as u32, kind: kind::VIDEO, stream_id: 1, timestamp };
            // The payload of the last begins like its timestamp, but for one byte.
            let mut payload = vec![0; 300];
            payload[128..132].copy_from_slice(&[0xff, 0xff, 0xff, 0xf1]);
            writer.write(video, &payload, &mut stream).unwrap();
        }
        for piece in [1, 2, 3, 7, 5000] {
            let (mut reader, mut messages) = (reader(), Vec::new());
            for piece in stream.chunks(piece) {
                reader.push(piece, |m| messages.push(own(&m))).unwrap();
            }
            assert_eq!(messages.iter().map(|m| m.timestamp).collect::<Vec<_>>(), times, "{repeated} {piece}");
            assert!(messages.iter().all(|m| m.payload[131] == 0xf1 && m.payload.len() == 300));
        }
    }
}

#[test]
fn a_message_that_another_cuts_off_is_not_handed_on() {
    let mut writer = Writer::new();
    let video = |timestamp| Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp };
    let mut stream = writer.chunks(video(1), &[1; 300]).unwrap()[0].clone();
    writer.write(video(3), &[3; 10], &mut stream).unwrap();
    let mut reader = reader();
    let (messages, result) = read(&mut reader, &stream);
    assert_eq!(result, Ok(()));
    assert_eq!(messages.iter().map(|m| (m.kind, m.timestamp)).collect::<Vec<_>>(), [(kind::VIDEO, 3)]);
    assert_eq!(reader.counts(), Counts { cut_off: 1 });
    assert_eq!(reader.incomplete_messages(), 0);
}

#[test]
fn only_the_head_of_media_is_kept() {
    let mut writer = Writer::new();
    let mut stream = Vec::new();
    let header = |kind| Header { chunk_stream: 6, kind, stream_id: 1, timestamp: 1 };
    writer.write(header(kind::VIDEO), &[0x17; 1000], &mut stream).unwrap();
    writer.write(header(kind::COMMAND_AMF0), &[5; 90], &mut stream).unwrap();
    writer.write(header(kind::AUDIO), &[0xaf; 100], &mut stream).unwrap();
    let limits = Limits { message: 90, chunk_streams: 4, incomplete: 100 };
    for piece in [1, 100, 5000] {
        let mut reader = Reader::after_handshake(limits, Media::Head(2));
        let mut seen = Vec::new();
        for piece in stream.chunks(piece) {
            reader.push(piece, |m| seen.push((m.kind, m.length, m.payload.to_vec(), m.is_whole()))).unwrap();
        }
        let expected = [
            (kind::VIDEO, 1000, vec![0x17; 2], false),
            (kind::COMMAND_AMF0, 90, vec![5; 90], true),
            (kind::AUDIO, 100, vec![0xaf; 2], false),
        ];
        assert_eq!(seen, expected, "{piece}");
    }
}

#[test]
fn a_hole_in_a_payload_harms_one_message() {
    let mut writer = Writer::new();
    let mut stream = Vec::new();
    writer.set_chunk_size(4096, &mut stream).unwrap();
    let video = |timestamp| Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp };
    writer.write(video(1), &[1; 5000], &mut stream).unwrap();
    writer.write(video(2), &[2; 50], &mut stream).unwrap();
    let (mut reader, mut seen) = (reader(), Vec::new());
    // 16 bytes of Set Chunk Size and 12 of header: the hole is in the first chunk's payload.
    reader.push(&stream[..128], |m| seen.push(own(&m))).unwrap();
    reader.hole(1448, |m| seen.push(own(&m))).unwrap();
    reader.push(&stream[128 + 1448..], |m| seen.push(own(&m))).unwrap();
    let seen: Vec<_> = seen.iter().map(|m| (m.timestamp, m.length, m.payload.len())).collect();
    assert_eq!(seen, [(0, 4, 4), (1, 5000, 100), (2, 50, 50)]);
}

#[test]
fn a_hole_over_a_header_ends_the_reading() {
    let mut writer = Writer::new();
    let video = Header { chunk_stream: 6, kind: kind::VIDEO, stream_id: 1, timestamp: 1 };
    let mut stream = Vec::new();
    writer.write(video, &[1; 300], &mut stream).unwrap();
    let mut reader = reader();
    reader.push(&stream[..100], |_| ()).unwrap();
    let error = reader.hole(60, |_| ()).unwrap_err();
    assert_eq!(error, RtmpError { offset: HANDSHAKE_LEN + 100, problem: Problem::Hole(60) });
    assert_eq!(reader.push(&stream[160..], |_| ()), Err(error));
}

#[test]
fn violations() {
    let limits = Limits { message: 200, chunk_streams: 3, incomplete: 250 };
    let problem = |bytes: &[u8]| {
        let mut reader = Reader::after_handshake(limits, Media::Whole);
        let error = reader.push(bytes, |_| ()).unwrap_err();
        assert_eq!(reader.push(bytes, |_| ()), Err(error.clone()), "an error is final");
        error.problem
    };
    assert_eq!(problem(&[4, 0, 0, 0, 0, 0, 201, 9, 0, 0, 0, 0]), Problem::TooLong { length: 201, limit: 200 });
    let begin = |id: u8| [&[id, 0, 0, 0, 0, 0, 200, 9, 0, 0, 0, 0][..], &[0; 128]].concat();
    assert_eq!(problem(&[begin(4), begin(5)].concat()), Problem::Incomplete(250));
    let empty = |id: u8| [id, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
    assert_eq!(problem(&[empty(4), empty(5), empty(6), empty(7)].concat()), Problem::ChunkStreams(3));
    assert_eq!(problem(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Problem::ChunkSize);
}

#[test]
fn what_a_first_header_leaves_out_is_nothing() {
    for first in [&[0xc7][..], &[0x87, 0, 0, 5]] {
        let whole = [first, &[7, 0, 0, 0, 0, 0, 1, 9, 1, 0, 0, 0, 0xaa]].concat();
        for piece in [1, 100] {
            let (mut reader, mut seen) = (reader(), Vec::new());
            for piece in whole.chunks(piece) {
                reader.push(piece, |m| seen.push((m.kind, m.stream_id, m.payload.to_vec()))).unwrap();
            }
            assert_eq!(seen, [(0, 0, vec![]), (9, 1, vec![0xaa])], "{first:02x?}");
        }
    }
}

#[test]
fn a_header_of_any_type_continues_a_message() {
    let payload: Vec<u8> = (0..300).map(|n| n as u8).collect();
    let full = [0, 0, 7, 0, 1, 44, 20, 1, 0, 0, 0];
    let headers: [&[u8]; 5] = [
        &[&[4], &full[..]].concat(),
        &[&[0x44], &full[..7]].concat(),
        &[0x84, 0, 0, 9],
        &[0xc4],
        &[0x84, 0xff, 0xff, 0xff, 1, 2, 3, 4],
    ];
    for header in headers {
        let mut stream = [&[4], &full[..], &payload[..128]].concat();
        for rest in [&payload[128..256], &payload[256..]] {
            stream.extend(header);
            stream.extend(rest);
        }
        stream.extend([0xc4, 5]);
        let mut reader = reader();
        let (messages, result) = read(&mut reader, &stream[..stream.len() - 2]);
        assert_eq!(result, Ok(()));
        assert_eq!(messages.len(), 1, "{header:02x?}");
        let Owned { stream_id, timestamp, ref payload, .. } = messages[0];
        assert_eq!((stream_id, timestamp, &payload[..]), (1, 7, &payload[..]));
        assert_eq!(reader.counts(), Counts { cut_off: 0 });
    }
}

#[test]
fn what_changes_no_chunk_size_and_ends_no_message() {
    let control = |kind: u8, value: &[u8]| [&[2, 0, 0, 0, 0, 0, value.len() as u8, kind, 0, 0, 0, 0], value].concat();
    let table: &[(u8, &[u8], u32)] = &[
        (kind::SET_CHUNK_SIZE, &[0, 1], 128),
        (kind::SET_CHUNK_SIZE, &[], 128),
        (kind::SET_CHUNK_SIZE, &[0x80, 0, 0, 0x40], 128),
        (kind::SET_CHUNK_SIZE, &[0, 0, 0, 0x40, b'z', b'z'], 64),
        (kind::SET_CHUNK_SIZE, &[0x7f, 0xff, 0xff, 0xff], 0x7fff_ffff),
        (kind::ABORT, &[0, 0, 0, 4], 128),
        (kind::ABORT, &[4], 128),
    ];
    for (kind, value, size) in table {
        for media in [Media::Whole, Media::Head(0), Media::Commands(500)] {
            let mut reader = Reader::after_handshake(Limits::default(), media);
            let begun = [&[4, 0, 0, 0, 0, 0, 130, 20, 1, 0, 0, 0][..], &[5; 128]].concat();
            let mut lengths = Vec::new();
            let stream = [begun, control(*kind, value), vec![0xc4, 6, 7]].concat();
            reader.push(&stream, |m| lengths.push((m.kind, m.payload.len()))).unwrap();
            assert_eq!((reader.chunk_size(), lengths.last()), (*size, Some(&(20, 130))), "{kind} {value:02x?}");
        }
    }
}

#[test]
fn only_the_beginning_of_commands_is_kept() {
    let mut writer = Writer::new();
    let mut stream = Vec::new();
    let header = |kind| Header { chunk_stream: 6, kind, stream_id: 1, timestamp: 1 };
    for (kind, length) in [(9, 1000), (18, 30_000), (20, 9000), (4, 6), (17, 70)] {
        writer.write(header(kind), &vec![kind; length], &mut stream).unwrap();
    }
    writer.set_chunk_size(4096, &mut stream).unwrap();
    let limits = Limits { message: 80, chunk_streams: 4, incomplete: 160 };
    for piece in [1, 100, 50_000] {
        let (mut reader, mut seen) = (Reader::after_handshake(limits, Media::Commands(80)), Vec::new());
        for piece in stream.chunks(piece) {
            reader.push(piece, |m| seen.push((m.kind, m.length, m.payload.len()))).unwrap();
        }
        assert_eq!(seen, [(9, 1000, 0), (18, 30_000, 0), (20, 9000, 80), (4, 6, 0), (17, 70, 70), (1, 4, 4)]);
        assert_eq!(reader.chunk_size(), 4096);
    }
}

#[test]
fn a_first_header_of_type_1_as_librtmp_sends_it() {
    let (messages, result) = read(&mut reader(), &[0x42, 0, 0, 0, 0, 0, 4, 5, 0, 0x4c, 0x4b, 0x40]);
    assert_eq!(result, Ok(()));
    assert_eq!((messages[0].kind, messages[0].stream_id), (kind::WINDOW_SIZE, 0));
}

#[test]
fn what_cannot_be_written() {
    let header = |chunk_stream| Header { chunk_stream, kind: 9, stream_id: 1, timestamp: 0 };
    let mut writer = Writer::new();
    for id in [0, 1, 65600] {
        assert_eq!(writer.write(header(id), b"", &mut Vec::new()), Err(WriterError::ChunkStream(id)));
    }
    let long = vec![0; 1 << 24];
    assert_eq!(writer.write(header(6), &long, &mut Vec::new()), Err(WriterError::TooLong(1 << 24)));
    assert_eq!(writer.set_chunk_size(0, &mut Vec::new()), Err(WriterError::ChunkSize(0)));
}

#[test]
fn commands_round_trip_and_are_truncated_at_every_byte() {
    let status = Status { level: "error".into(), code: "NetStream.Play.Failed".into(), description: "no".into() };
    let all = [
        Command::Connect { transaction: 1.0, app: "live".into(), tc_url: Some("rtmp://x/live".into()) },
        Command::CreateStream { transaction: 2.0 },
        Command::Publish { transaction: 0.0, name: "hb".into(), mode: Some("live".into()) },
        Command::Play { transaction: 0.0, name: "hb".into() },
        Command::CloseStream { stream: Some(1.0) },
        Command::CloseStream { stream: None },
        Command::OnStatus(status.clone()),
        Command::Result { transaction: 2.0, value: Some(1.0.into()) },
        Command::Error { transaction: 2.0, status: status.clone() },
        Command::Other { name: "FCPublish".into(), transaction: 3.0 },
    ];
    for command in all {
        let payload = command.emit();
        let parse = |bytes: &[u8]| Command::parse(kind::COMMAND_AMF0, bytes, amf0::Limits::default());
        assert_eq!(parse(&payload), Ok(command.clone()));
        for len in 0..payload.len() {
            // What is cut may be missing; half a name never passes for one.
            match parse(&payload[..len]) {
                Ok(Command::Publish { name, .. } | Command::Play { name, .. }) => assert_eq!(name, b"hb"),
                Ok(Command::Connect { app, .. }) => assert!(app.is_empty() || app == b"live"),
                Ok(Command::OnStatus(cut) | Command::Error { status: cut, .. }) => {
                    assert!(cut.code.is_empty() || cut.code == status.code);
                }
                Ok(Command::CloseStream { stream }) => assert!(stream.is_none_or(|stream| stream == 1.0)),
                _ => {}
            }
        }
        let amf3 = [&[0], &payload[..]].concat();
        assert_eq!(Command::parse(kind::COMMAND_AMF3, &amf3, amf0::Limits::default()), Ok(command));
    }
    let parse = |kind, bytes: &[u8]| Command::parse(kind, bytes, amf0::Limits::default());
    assert_eq!(parse(kind::COMMAND_AMF3, &[3]), Err(CommandError::Amf3));
    assert_eq!(parse(kind::VIDEO, &[2]), Err(CommandError::Kind(9)));
    let field = CommandError::Field { command: "play".into(), field: "stream name" };
    assert_eq!(parse(20, b"\x02\x00\x04play\x00\0\0\0\0\0\0\0\0\x05"), Err(field));
}

/// AMF0 of a string and of a number.
fn text(text: &[u8]) -> Vec<u8> {
    [&[2, 0, text.len() as u8], text].concat()
}

fn number(number: f64) -> Vec<u8> {
    [&[0], &number.to_be_bytes()[..]].concat()
}

/// A message's type, the values in it, and how it is understood.
type Spoken = (u8, Vec<Vec<u8>>, Result<Command, CommandError>);

#[test]
fn commands_are_read_as_servers_read_them() {
    let parse = |kind, bytes: &[u8]| Command::parse(kind, bytes, amf0::Limits::default());
    let (null, five) = (vec![5], number(5.0));
    let play = |name: &[u8], transaction| Ok(Command::Play { transaction, name: name.to_vec() });
    let publish = |name: &[u8]| Ok(Command::Publish { transaction: 5.0, name: name.to_vec(), mode: None });
    let field = |command: &str, field| Err(CommandError::Field { command: command.to_owned(), field });
    let stream_name = "stream name";
    let object = [&[3, 0, 1, b'a'], &five[..], &[0, 10], b"streamName", &text(b"hb"), &[0, 0, 9]].concat();
    let deep = [&[3, 0, 1, b'a'].repeat(50)[..], &[5], &[0, 0, 9].repeat(50)].concat();
    let table: &[Spoken] = &[
        (20, vec![text(b"play"), null.clone(), null.clone(), text(b"hb")], play(b"hb", 0.0)),
        (20, vec![text(b"play"), text(b"7"), null.clone(), text(b"hb")], play(b"hb", 0.0)),
        (20, vec![text(b"play"), vec![1, 1], null.clone(), text(b"hb")], play(b"hb", 0.0)),
        (20, vec![text(b"PLAY"), five.clone(), null.clone(), text(b"hb")], play(b"hb", 5.0)),
        (20, vec![text(b"play\0"), five.clone(), null.clone(), text(b"hb\0x")], play(b"hb", 5.0)),
        (20, vec![text(b"play"), five.clone(), null.clone(), text(b"h\xe9")], play(b"h\xe9", 5.0)),
        (20, vec![text(b"play"), five.clone(), deep, text(b"hb")], play(b"hb", 5.0)),
        (20, vec![text(b"play2"), five.clone(), null.clone(), object], play(b"hb", 5.0)),
        (20, vec![text(b"play2"), five.clone(), null.clone(), text(b"hb")], field("play2", stream_name)),
        (20, vec![text(b"play"), five.clone(), vec![9], text(b"hb")], field("play", stream_name)),
        (20, vec![text(b"publish"), five.clone(), null.clone(), five.clone()], field("publish", stream_name)),
        (20, vec![text(b"Publish"), five.clone(), null.clone(), text(b"hb"), vec![0x11]], publish(b"hb")),
        (20, vec![text(b"publish"), five.clone(), null.clone(), text(b"hb"), vec![2, 0, 9, b'l']], publish(b"hb")),
        (17, vec![vec![3], text(b"publish"), five.clone(), null.clone(), text(b"hb")], publish(b"hb")),
        (17, vec![vec![2], text(b"publish"), five.clone(), null.clone(), text(b"hb")], publish(b"hb")),
        (17, vec![text(b"publish"), five.clone(), null.clone(), text(b"hb")], publish(b"hb")),
        (17, vec![vec![0, 6], text(b"publish")], Err(CommandError::Amf3)),
    ];
    for (kind, values, expected) in table {
        assert_eq!(parse(*kind, &values.concat()), *expected, "{values:02x?}");
    }
    let cut = [text(b"PUBLISH"), five, vec![3, 0, 1]].concat();
    assert!(parse(20, &cut).is_err());
    assert_eq!(Command::name(20, &cut).as_deref(), Some("publish"));
    assert_eq!((Command::name(20, &null), Command::name(9, &cut)), (None, None));
}

#[test]
fn the_app_of_connect_is_found_whatever_is_around_it() {
    let app = |properties: &[Vec<u8>]| {
        let bytes = [&text(b"connect"), &number(1.0), &[3][..], &properties.concat()].concat();
        match Command::parse(kind::COMMAND_AMF0, &bytes, amf0::Limits::default()) {
            Ok(Command::Connect { app, .. }) => app,
            other => panic!("{other:?}"),
        }
    };
    let property = |name: &str, value: &[u8]| [&[0, name.len() as u8], name.as_bytes(), value].concat();
    let (live, end) = (property("app", &text(b"live")), vec![0, 0, 9]);
    let nested = property("x", &[&[3, 0, 1, b'a'].repeat(12)[..], &[5], &[0, 0, 9].repeat(12)].concat());
    let many: Vec<Vec<u8>> = (0..2000).map(|_| property("y", &number(1.0))).collect();
    for (properties, expected) in [
        (vec![live.clone(), end.clone()], &b"live"[..]),
        (vec![live.clone()], b"live"),
        (vec![live.clone(), property("tok", &[2, 0xff, 0xff, b'x'])], b"live"),
        (vec![nested, many.concat(), property("z", &[9]), live.clone(), end.clone()], b"live"),
        (vec![property("app", &text(b"nope")), live.clone(), end.clone()], b"live"),
        (vec![property("app", &number(1.0)), live.clone(), end.clone()], b"live"),
        (vec![property("app", &text(b"live\0x")), end.clone()], b"live"),
        (vec![property("z", &[0x11, 4, 5]), live, end.clone()], b""),
        (vec![end], b""),
    ] {
        assert_eq!(app(&properties), expected);
    }
}

fn any_message() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let id = prop_oneof![2u32..8, 60u32..70, 315u32..325, Just(65599)];
    let time = prop_oneof![0u32..100, 0xff_fff0..0x100_0010u32, any::<u32>()];
    let kind = prop_oneof![Just(8u8), Just(9), Just(18), Just(20)];
    let payload = proptest::collection::vec(any::<u8>(), 0..400);
    (id, time, kind, 0u32..3, payload).prop_map(|(chunk_stream, timestamp, kind, stream_id, payload)| {
        (Header { chunk_stream, kind, stream_id, timestamp }, payload)
    })
}

/// A chunk, and which message it completes.
type Queued = (Option<usize>, Vec<u8>);

proptest! {
    /// Messages written as chunks of different chunk streams, interleaved anyhow, in any pieces, come out whole.
    #[test]
    fn round_trip_interleaved(
        messages in proptest::collection::vec(any_message(), 1..12),
        order in proptest::collection::vec(any::<u8>(), 1..40),
        chunk_size in 1u32..300,
        piece in 1usize..500,
    ) {
        let mut writer = Writer::new();
        let mut stream = Vec::new();
        writer.set_chunk_size(chunk_size, &mut stream).unwrap();
        // One queue per chunk stream: within one, messages follow each other.
        let mut queues: BTreeMap<u32, VecDeque<Queued>> = Default::default();
        for (n, (header, payload)) in messages.iter().enumerate() {
            let chunks = writer.chunks(*header, payload).unwrap();
            let last = chunks.len() - 1;
            let queue = queues.entry(header.chunk_stream).or_default();
            queue.extend(chunks.into_iter().enumerate().map(|(i, chunk)| ((i == last).then_some(n), chunk)));
        }
        let mut expected = Vec::new();
        let mut spans: Vec<u64> = vec![0; messages.len()];
        for pick in order.iter().cycle() {
            queues.retain(|_, queue| !queue.is_empty());
            if queues.is_empty() { break }
            let key = *queues.keys().nth(usize::from(*pick) % queues.len()).unwrap();
            let queue = queues.get_mut(&key).unwrap();
            let of = queue.iter().find_map(|(done, _)| *done).unwrap();
            let (done, chunk) = queue.pop_front().unwrap();
            stream.extend(&chunk);
            spans[of] += chunk.len() as u64;
            expected.extend(done);
        }
        let (mut reader, mut found) = (reader(), Vec::new());
        for piece in stream.chunks(piece) {
            reader.push(piece, |m| found.push(own(&m))).unwrap();
        }
        prop_assert_eq!(found.len(), expected.len() + 1);
        for (message, n) in found[1..].iter().zip(expected) {
            let (header, payload) = &messages[n];
            let of = Header { chunk_stream: message.chunk_stream, kind: message.kind, stream_id: message.stream_id, timestamp: message.timestamp };
            prop_assert_eq!(of, *header);
            prop_assert_eq!(&message.payload, payload);
            prop_assert_eq!(message.spans.iter().map(|s| s.end - s.start).sum::<u64>(), spans[n]);
        }
    }

    /// Anything at all is survived, and the same however it is cut.
    #[test]
    fn any_bytes(noise in proptest::collection::vec(any::<u8>(), 0..400), from in 0usize..300, cut in 0usize..700, head: bool) {
        let valid = bytes(CLIENT);
        let mut all = valid[..from.min(valid.len())].to_vec();
        all.extend(noise);
        let media = if head { Media::Head(4) } else { Media::Whole };
        let new = || Reader::after_handshake(Limits { message: 500, chunk_streams: 8, incomplete: 1000 }, media);
        let (whole, result) = read(&mut new(), &all);
        let (first, second) = all.split_at(cut.min(all.len()));
        let mut reader = new();
        let (mut messages, one) = read(&mut reader, first);
        let (more, two) = read(&mut reader, second);
        messages.extend(more);
        prop_assert_eq!(messages, whole);
        prop_assert_eq!(one.and(two), result);
    }
}
