#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::command::Command;
use crate::datagram::{Emitter, stream_number};
use crate::flv::{Content, TagKind};
use crate::rtmp::Writer;
use crate::testbed::{
    Packet, Sender, datagram, flv_video, handshake, pcap, picture, rtmp_command, rtmp_video, ts_video,
};

const CDN: &str = "10.0.0.2:1935";
const PEER: &str = "10.0.0.1:2000";
const VIEWER: &str = "10.0.0.3:40000";
const MS: i64 = 1_000_000;

fn flows(packets: &[Packet]) -> Vec<Flow> {
    super::read(&pcap(packets)[..]).unwrap().0
}

/// A viewer's half of an RTMP connection.
fn play(name: &str) -> Vec<Packet> {
    let mut client = Sender::new(VIEWER, CDN, 100);
    let mut writer = Writer::new();
    let mut bytes = handshake();
    bytes.extend(rtmp_command(&mut writer, &Command::Connect { transaction: 1.0, app: "live".into(), tc_url: None }));
    bytes.extend(rtmp_command(&mut writer, &Command::Play { transaction: 0.0, name: name.into() }));
    let mut packets = vec![client.syn(0)];
    packets.extend(client.send(&bytes, 1448, MS, 1_000));
    packets
}

/// The server's stream with these pictures, and where each begins in it.
fn served(pictures: &[(u32, Vec<u8>)]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = handshake();
    let mut writer = Writer::new();
    writer.set_chunk_size(4096, &mut bytes).unwrap();
    let mut starts = Vec::new();
    for (timestamp, payload) in pictures {
        starts.push(bytes.len());
        bytes.extend(rtmp_video(&mut writer, *timestamp, payload));
    }
    starts.push(bytes.len());
    (bytes, starts)
}

fn pictures() -> Vec<(u32, Vec<u8>)> {
    (0..4).map(|n| (n * 33, picture(n, n == 0, 5000))).collect()
}

fn down(flows: &[Flow]) -> &Flow {
    flows.iter().find(|flow| flow.is_from_server()).unwrap()
}

#[test]
fn frames_of_rtmp_with_the_time_of_their_last_segment() {
    let mut server = Sender::new(CDN, VIEWER, u32::MAX - 2000); // wraps on the way
    let (bytes, starts) = served(&pictures());
    let mut packets = play("hb?token=1");
    packets.push(server.syn(0));
    packets.extend(server.send(&bytes, 1000, 2 * MS, 1_000));
    let flows = flows(&packets);
    assert_eq!(flows.len(), 2);
    let flow = down(&flows);
    assert_eq!((flow.from.to_string(), flow.to.to_string()), (CDN.into(), VIEWER.into()));
    assert_eq!(flow.stream.as_ref().unwrap().as_str(), "live/hb");
    assert_eq!((flow.counts.delivered, flow.damaged), (bytes.len() as u64, 0));
    assert_eq!(flow.problems, Vec::<String>::new());
    let segment_of = |byte: usize| 2 * MS + 1_000 * (byte / 1000) as i64;
    for (n, (timestamp, payload)) in pictures().into_iter().enumerate() {
        let expected = Arrival {
            id: FrameId::of(&payload),
            timestamp_ms: timestamp,
            size: 5000,
            keyframe: n == 0,
            time_ns: segment_of(starts[n + 1] - 1),
            first_byte_ns: segment_of(starts[n]),
        };
        assert_eq!(flow.frames[n], expected);
    }
}

#[test]
fn a_frame_has_arrived_when_its_own_bytes_have_though_earlier_ones_are_lost() {
    let mut server = Sender::new(CDN, VIEWER, 5);
    let (bytes, starts) = served(&pictures());
    let mut packets = play("hb");
    packets.push(server.syn(0));
    let mut sent = server.send(&bytes, 1000, 2 * MS, 1_000);
    // A segment inside the first frame comes again much later; frame 1 has one segment in common with frame 0.
    let lost = starts[0] / 1000 + 1;
    let again = (900 * MS, sent[lost].1.clone());
    let late = sent.remove(lost);
    sent.push(again.clone());
    sent.push((901 * MS, late.1));
    packets.extend(sent);
    let flows = flows(&packets);
    let flow = down(&flows);
    assert_eq!(flow.frames.len(), 4);
    assert_eq!(flow.frames[0].time_ns, 900 * MS);
    assert_eq!(flow.frames[1].time_ns, 2 * MS + 1_000 * ((starts[2] - 1) / 1000) as i64);
    assert_eq!(flow.counts.retransmitted, 1000);
    assert!(flow.problems.is_empty());
}

#[test]
fn a_hole_in_the_capture_costs_one_frame_and_is_named() {
    let mut server = Sender::new(CDN, VIEWER, 5);
    let (bytes, starts) = served(&pictures());
    let mut packets = vec![server.syn(0)];
    let mut sent = server.send(&bytes, 500, 2 * MS, 1_000);
    // Wholly inside the first chunk's payload of frame 1.
    sent.remove((starts[1] + 12) / 500 + 2);
    packets.extend(sent);
    packets.push(server.fin(3_000 * MS));
    let flows = flows(&packets);
    let flow = down(&flows);
    let timestamps: Vec<u32> = flow.frames.iter().map(|frame| frame.timestamp_ms).collect();
    assert_eq!(timestamps, [0, 66, 99]);
    assert_eq!((flow.damaged, flow.counts.missing), (1, 500));
    let expected = [
        format!("{CDN} to {VIEWER}: 500 bytes are not in the capture"),
        format!("{CDN} to {VIEWER}: 1 video messages cannot be identified: bytes of them are missing"),
    ];
    assert_eq!(flow.problems, expected);
}

/// The stream of a server whose segment inside of frame 1 is missing, and what its viewer says of it: that it has all
/// but so many bytes.
fn with_a_hole(acknowledged: impl Fn(usize) -> Option<usize>, again: bool) -> Flow {
    let (mut client, mut server) = (Sender::new(VIEWER, CDN, 100), Sender::new(CDN, VIEWER, u32::MAX - 2000));
    let (bytes, starts) = served(&pictures());
    let mut packets = vec![client.syn(0), server.syn(0)];
    let mut sent = server.send(&bytes, 500, 2 * MS, 1_000);
    let hole = (starts[1] + 12) / 500 + 2;
    let lost = sent.remove(hole);
    packets.extend(sent);
    if let Some(upto) = acknowledged(hole * 500) {
        packets.push(client.has_all_but(&server, (bytes.len() - upto) as u32, 10 * MS));
    }
    if again {
        packets.push((900 * MS, lost.1));
    }
    down(&flows(&packets)).clone()
}

#[test]
fn what_was_never_acknowledged_was_lost_and_what_was_the_capture_missed() {
    let timestamps = |flow: &Flow| flow.frames.iter().map(|frame| frame.timestamp_ms).collect::<Vec<_>>();
    // Of the frame with the hole and those behind it the program was never given anything.
    for short in [0, 700] {
        let lost = with_a_hole(|hole| Some(hole - short), false);
        assert_eq!((timestamps(&lost), lost.damaged, lost.unread), (vec![0], 0, false));
        assert_eq!((lost.counts.missing, lost.lost, lost.is_damaged()), (500, 500, false));
        let expected = "500 bytes were lost on the way and had not been sent again when it ended";
        assert_eq!(lost.problems, [format!("{CDN} to {VIEWER}: {expected}")]);
    }
    // Or nobody says anything of it.
    for upto in [Some(501), Some(2_000), None] {
        let missed = with_a_hole(|hole| upto.map(|more| hole + more), false);
        assert_eq!((timestamps(&missed), missed.damaged), (vec![0, 66, 99], 1));
        assert_eq!((missed.counts.missing, missed.lost, missed.is_damaged()), (500, 0, true));
        assert_eq!(missed.problems[0], format!("{CDN} to {VIEWER}: 500 bytes are not in the capture"));
    }
    let filled = with_a_hole(Some, true);
    assert_eq!((timestamps(&filled), filled.frames[1].time_ns), (vec![0, 33, 66, 99], 900 * MS));
    assert_eq!((filled.counts.missing, filled.lost, filled.is_damaged()), (0, 0, false));
    assert_eq!(filled.problems, Vec::<String>::new());
}

#[test]
fn a_connection_met_midway_is_named_not_guessed() {
    let mut server = Sender::new(CDN, VIEWER, 5);
    let (bytes, _) = served(&pictures());
    let packets = server.send(&bytes[5000..], 1000, 2 * MS, 1_000);
    let flows = flows(&packets);
    let flow = down(&flows);
    assert!(flow.frames.is_empty());
    assert_eq!(flow.counts.delivered, bytes.len() as u64 - 5000);
    let expected = "the capture begins in the middle of this connection, so it cannot be read";
    assert_eq!(flow.problems, [format!("{CDN} to {VIEWER}: {expected}")]);
    assert!(flow.unread);
}

#[test]
fn a_second_connection_with_the_same_ports_is_another() {
    let (bytes, _) = served(&pictures()[..1]);
    let mut packets = Vec::new();
    for seq in [5, 700_000] {
        let mut server = Sender::new(CDN, VIEWER, seq);
        packets.push(server.syn(0));
        packets.extend(server.send(&bytes, 1448, MS, 1));
    }
    let flows = flows(&packets);
    assert_eq!(flows.iter().filter(|flow| flow.frames.len() == 1).count(), 2);
}

#[test]
fn frames_from_a_peer() {
    let mut client = Sender::new(VIEWER, PEER, 1);
    let mut server = Sender::new(PEER, VIEWER, 2);
    let mut packets = vec![client.syn(0), server.syn(0)];
    packets.extend(client.send(peer::emit_request(&"live/hb".parse().unwrap()).as_bytes(), 7, MS, 1));
    let mut bytes = crate::flv::header(false, true).to_vec();
    bytes.extend(flv_video(0, &[0x17, 0, 0, 0, 0, 1, 2, 3])); // a sequence header is no frame
    bytes.extend(flv_video(33, &picture(1, true, 3000)));
    packets.extend(server.send(&bytes, 2, 2 * MS, 10));
    let flows = flows(&packets);
    let flow = down(&flows);
    assert_eq!(flow.protocol, Protocol::Peer);
    assert_eq!(flow.stream.as_ref().unwrap().as_str(), "live/hb");
    assert_eq!(flow.frames.len(), 1);
    assert_eq!((flow.frames[0].timestamp_ms, flow.frames[0].size), (33, 3000));
    assert_eq!(flow.frames[0].time_ns, 2 * MS + 10 * ((bytes.len() as i64 - 1) / 2));
    assert!(flow.problems.is_empty());
}

#[test]
fn what_waits_is_bounded_over_all_connections_together() {
    let (bytes, _) = served(&pictures());
    let mut packets = Vec::new();
    for n in 0..4 {
        // A segment of the first picture's first chunk was not captured.
        let mut server = Sender::new(CDN, &format!("10.0.0.{}:40000", 3 + n), 5);
        packets.push(server.syn(0));
        let mut sent = server.send(&bytes, 1000, MS, 1_000);
        sent.remove(4);
        packets.extend(sent);
    }
    let file = pcap(&packets);
    let read = |waiting| super::read_within(Limits { waiting, ..Limits::default() }, &file[..]).unwrap().0;
    let found = |flows: Vec<Flow>| -> Vec<_> {
        flows.into_iter().map(|flow| (flow.frames, flow.damaged, flow.counts.missing)).collect()
    };
    let roomy = found(read(usize::MAX));
    let expected: Vec<_> = [(0, 0, 0), (3, 1, 1000)].into_iter().cycle().take(8).collect();
    assert_eq!(roomy.iter().map(|of| (of.0.len(), of.1, of.2)).collect::<Vec<_>>(), expected);
    for waiting in [0, 3_000, 40_000] {
        assert_eq!(found(read(waiting)), roomy, "{waiting}");
        let mut connections = Connections::new(Limits { waiting, ..Limits::default() });
        crate::capture::read(&file[..], |packet| {
            connections.take(&packet);
            let all = connections.all.iter().flat_map(|connection| [&connection.up, &connection.down]);
            assert_eq!(connections.waiting, all.map(Direction::waiting).sum::<usize>());
            assert!(connections.waiting <= waiting);
        })
        .unwrap();
    }
}

#[test]
fn a_gap_is_given_up_when_too_much_waits_and_each_byte_is_counted_once() {
    let pictures: Vec<_> = (0..150).map(|n| (n, picture(n, false, 100_000))).collect();
    let (bytes, _) = served(&pictures);
    let mut server = Sender::new(CDN, VIEWER, 5);
    let mut packets = vec![server.syn(0)];
    let mut sent = server.send(&bytes, 1_000, MS, 1_000);
    // Inside of a chunk.
    let (early, late) = (sent[2].clone(), sent.remove(5));
    packets.extend(sent);
    // What was given up comes after all, and something else twice.
    packets.extend([(900 * MS, late.1), (901 * MS, early.1)]);
    let flows = flows(&packets);
    let flow = down(&flows);
    let counts = flow.counts;
    assert_eq!((flow.damaged, flow.frames.len()), (1, 149), "{:?}", flow.problems);
    assert_eq!((counts.missing, counts.refused, counts.overlapping), (1_000, 0, 0));
    assert_eq!((counts.delivered, counts.retransmitted), (bytes.len() as u64 - 1_000, 2_000));
    // 8 MiB in pieces of 1000 bytes, each of which costs 96 more, and the one that is too much.
    assert_eq!(counts.out_of_order, (8 << 20) / 1_096 * 1_000 + 1_000);
}

#[test]
fn connections_beyond_the_limit_are_counted() {
    let mut packets = Vec::new();
    for n in 0..3 {
        let mut client = Sender::new(&format!("10.0.0.{}:40000", 3 + n), CDN, 5);
        packets.push(client.syn(0));
        packets.extend(client.send(b"abc", 1, MS, 1));
    }
    let limits = Limits { connections: 2, ..Limits::default() };
    let (flows, facts) = super::read_within(limits, &pcap(&packets)[..]).unwrap();
    assert_eq!(flows.len(), 4);
    assert_eq!(facts.problems, ["4 packets are of further connections than the first 2; they were not read"]);
}

#[test]
fn what_a_frame_and_a_connection_take_is_what_is_said() {
    assert_eq!(size_of::<Arrival>(), 48);
    assert!(size_of::<Connection>() + 2 * size_of::<rtmp::Reader>() < 2_048, "{}", size_of::<Connection>());
}

#[test]
fn a_refusal_is_told() {
    let mut server = Sender::new(PEER, VIEWER, 2);
    let mut packets = vec![server.syn(0)];
    packets.extend(server.send(peer::emit_refusal("not introduced").as_bytes(), 5, MS, 1));
    let flows = flows(&packets);
    assert_eq!(down(&flows).problems, [format!("{PEER} to {VIEWER}: the peer refused: not introduced")]);
}

/// A line of tshark's list: time, source, destination, timestamp, size.
type Listed = (i64, String, String, u32, u32);

/// `tests/captures`, or another folder that `make.sh` there has filled.
fn folder() -> String {
    std::env::var("LIVECTL_CAPTURES").unwrap_or(format!("{}/../tests/captures", env!("CARGO_MANIFEST_DIR")))
}

/// The video messages that tshark finds in a capture, pictures only.
fn listed(name: &str) -> Vec<Listed> {
    let path = format!("{}/{name}.tsv", folder());
    let list = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let [time, from, to, timestamp, size, head] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (seconds, fraction) = time.split_once('.').unwrap();
        let time = seconds.parse::<i64>().unwrap() * 1_000_000_000 + fraction.parse::<i64>().unwrap();
        let head = [0, 2].map(|at| u8::from_str_radix(&head[at..at + 2], 16).unwrap());
        let listed = (time, from.to_string(), to.to_string(), timestamp.parse().unwrap(), size.parse().unwrap());
        matches!(Content::of(TagKind::Video, &head), Content::Picture { .. }).then_some(listed)
    };
    list.lines().filter_map(line).collect()
}

#[test]
fn real_captures_are_read_as_tshark_reads_them() {
    let captures = [
        ("rtmp-128-flv1", "pcap", 2),
        ("rtmp-4096-h264-aac", "pcap", 2),
        ("rtmp-4096-ipv6-vlan", "pcap", 2),
        ("rtmp-60000-two-streams", "pcapng", 4),
    ];
    for (name, kind, with_frames) in captures {
        let path = format!("{}/{name}.{kind}", folder());
        let (flows, facts) = super::read(std::fs::File::open(path).unwrap()).unwrap();
        assert_eq!(facts.problems, Vec::<String>::new(), "{name}");
        let mut found: Vec<Listed> = Vec::new();
        for flow in &flows {
            assert_eq!(flow.problems, Vec::<String>::new(), "{name}");
            found.extend(flow.frames.iter().map(|frame| {
                (frame.time_ns, flow.from.to_string(), flow.to.to_string(), frame.timestamp_ms, frame.size)
            }));
        }
        let mut expected = listed(name);
        assert!(expected.len() >= 7 * with_frames, "{name}: {} messages", expected.len());
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{name}");
        println!("{name}: {} messages as tshark lists them", found.len());

        // What nginx-rtmp sends on is what it was sent, with the same timestamps.
        assert_eq!(flows.iter().filter(|flow| !flow.frames.is_empty()).count(), with_frames);
        for up in flows.iter().filter(|flow| !flow.is_from_server() && !flow.frames.is_empty()) {
            let down = flows.iter().find(|flow| flow.is_from_server() && flow.stream == up.stream);
            let content = |flow: &Flow| flow.frames.iter().map(|f| (f.id, f.timestamp_ms)).collect::<Vec<_>>();
            assert_eq!(down.map(content), Some(content(up)), "{name}");
        }
    }
}

const GROUP: &str = "239.192.7.1:2001";

/// The datagrams of pictures that leave 1 us apart, each picture 33 ms after the one before.
fn to_group(pictures: &[(u32, Vec<u8>)]) -> Vec<Packet> {
    let mut emitter = Emitter::new(&"live/hb".parse().unwrap(), 1);
    let mut packets = Vec::new();
    for (timestamp, payload) in pictures {
        let mut time = i64::from(*timestamp) * MS;
        let send = |bytes: &[u8]| {
            packets.push(datagram("10.0.0.1:40001", GROUP, bytes, time));
            time += 1_000;
        };
        emitter.tag(TagKind::Video, *timestamp, payload, send).unwrap();
    }
    packets
}

#[test]
fn frames_to_a_group_with_the_time_of_their_last_datagram() {
    let mut packets = to_group(&pictures());
    // The second frame's last two come in the other order, and one again.
    let (a, b) = (packets[6].1.clone(), packets[7].1.clone());
    (packets[6].1, packets[7].1) = (b.clone(), a);
    packets.insert(8, (packets[7].0, b));
    let flows = flows(&packets);
    let [flow] = flows.as_slice() else { panic!("{flows:?}") };
    assert_eq!((flow.from.to_string(), flow.to.to_string()), ("10.0.0.1:40001".into(), GROUP.into()));
    assert_eq!(flow.protocol, Protocol::Group(stream_number(&"live/hb".parse().unwrap())));
    assert!(flow.is_from_server() && !flow.is_damaged() && flow.problems.is_empty());
    let bytes = 4 * (5000 + 4 * crate::datagram::HEADER_LEN as u64);
    assert_eq!((flow.counts.delivered, flow.counts.retransmitted), (bytes, 712));
    let frame = |n: u32| Arrival {
        id: FrameId::of(&picture(n, n == 0, 5000)),
        timestamp_ms: 33 * n,
        size: 5000,
        keyframe: n == 0,
        time_ns: i64::from(33 * n) * MS + 3_000,
        first_byte_ns: i64::from(33 * n) * MS,
    };
    assert_eq!(flow.frames, (0..4).map(frame).collect::<Vec<_>>());
}

#[test]
fn what_a_group_lost_is_no_hole_in_the_capture() {
    let mut packets = to_group(&pictures());
    packets.remove(5);
    let flows = flows(&packets);
    assert_eq!(flows[0].frames.iter().map(|frame| frame.timestamp_ms).collect::<Vec<_>>(), [0, 66, 99]);
    assert!(!flows[0].is_damaged());
    let told = "10.0.0.1:40001 to 239.192.7.1:2001: 1 datagrams were lost on the way, and with them 1 tags";
    assert_eq!(flows[0].problems, [told]);
}

#[test]
fn other_datagrams_are_none_of_a_stream() {
    let mut packets = vec![
        datagram("10.0.0.1:40001", "10.0.0.2:2001", &to_group(&pictures())[0].1, 0),
        datagram("10.0.0.1:5353", "224.0.0.251:5353", b"mdns", 0),
        datagram("10.0.0.1:40001", GROUP, b"LVD\x02", 0),
    ];
    assert_eq!(flows(&packets).len(), 0);
    // Many senders do not take ever more memory.
    let one = &to_group(&pictures())[0].1[42..];
    packets = (0..20).map(|port| datagram(&format!("10.0.0.1:{}", 40_000 + port), GROUP, one, 0)).collect();
    let (flows, facts) = super::read(&pcap(&packets)[..]).unwrap();
    assert_eq!((flows.len(), facts.other), (16, 20));
    assert_eq!(facts.problems, ["4 datagrams are of further groups than the first 16; they were not read"]);
}

/// Access units as nginx-rtmp writes them: each begins with a delimiter.
fn units() -> Vec<Vec<u8>> {
    let unit = |n: u8, kind: u8| {
        let slice = [vec![kind, 0x9a, n], vec![n + 1; 700 + 300 * usize::from(n)]].concat();
        [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1], slice.as_slice()].concat()
    };
    (0..5).map(|n| unit(n, if n % 3 == 0 { 0x65 } else { 0x41 })).collect()
}

/// What a server answers: a page, a playlist, and two segments of three pictures and of two. Also where each picture
/// ends in it.
fn fetched() -> (Vec<u8>, Vec<usize>) {
    let mut ends = Vec::new();
    let mut bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_vec();
    bytes.extend(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n#EXTM3U\n");
    for pictures in [0..3, 3..5] {
        let units = units();
        let segment: Vec<Vec<u8>> = pictures.map(|n: usize| ts_video(0x100, 40 * n as u32, &units[n])).collect();
        let length: usize = segment.iter().map(Vec::len).sum();
        bytes.extend(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes());
        for picture in segment {
            bytes.extend(picture);
            ends.push(bytes.len());
        }
    }
    (bytes, ends)
}

const WEB: &str = "10.0.0.2:80";

fn fetch(sent: impl Fn(Vec<Packet>) -> Vec<Packet>) -> (Flow, Vec<usize>) {
    let (mut client, mut server) = (Sender::new(VIEWER, WEB, 100), Sender::new(WEB, VIEWER, u32::MAX - 2000));
    let mut packets = vec![client.syn(0), server.syn(0)];
    packets.extend(client.send(
        b"GET /hls/hb.m3u8 HTTP/1.1\r\n\r\nGET /hls/hb-0.ts HTTP/1.1\r\n\r\n",
        1448,
        MS,
        1_000,
    ));
    let (bytes, ends) = fetched();
    packets.extend(sent(server.send(&bytes, 500, 2 * MS, 1_000)));
    packets.push(server.fin(3_000 * MS));
    (down(&flows(&packets)).clone(), ends)
}

#[test]
fn pictures_in_segments_with_the_time_of_their_last_byte() {
    let (flow, ends) = fetch(|packets| packets);
    assert_eq!((flow.protocol, flow.stream.as_ref().unwrap().to_string()), (Protocol::Hls, "hls/hb".to_owned()));
    assert!(flow.is_from_server() && !flow.is_damaged() && flow.problems.is_empty(), "{:?}", flow.problems);
    assert_eq!(flow.segments, [0, 3]);
    for (n, (frame, end)) in flow.frames.iter().zip(&ends).enumerate() {
        let picture = crate::avc::picture_in_stream(&units()[n]).unwrap();
        assert_eq!((frame.id, frame.keyframe, frame.timestamp_ms), (picture.id, n % 3 == 0, 40 * n as u32));
        assert_eq!(frame.time_ns, 2 * MS + 1_000 * ((end - 1) / 500) as i64);
        assert!(frame.first_byte_ns <= frame.time_ns);
    }
    assert_eq!(flow.frames.len(), 5);
}

#[test]
fn a_hole_in_a_segment_costs_what_it_is_in() {
    // Wholly inside the second picture.
    let (_, ends) = fetched();
    let (flow, _) = fetch(|mut packets| {
        packets.remove(ends[0] / 500 + 1);
        packets
    });
    let timestamps: Vec<u32> = flow.frames.iter().map(|frame| frame.timestamp_ms).collect();
    assert_eq!((timestamps.as_slice(), flow.damaged), ([0, 80, 120, 160].as_slice(), 1));
    assert!(flow.is_damaged());
    assert_eq!(flow.segments, [0, 2]);
}
