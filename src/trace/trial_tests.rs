#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use livectl_wire::birth::{HEADER, Register};
use livectl_wire::command::Command;
use livectl_wire::datagram::Emitter;
use livectl_wire::flv::TagKind;
use livectl_wire::{flv, peer, rtmp::Writer};

use super::*;
use crate::plan::delivery::Via;
use crate::plan::{
    CapturePoint, Cdn, Codec, Datapath, End, Host, Interface, Link, LinkKind, Network, Player, Point, Role, Scheme,
    Shape, Switch, Timeline, Video, VideoSource,
};
use crate::trace::Parts;
use crate::trace::testbed::{Sender, datagram, flv_video, handshake, pcap, picture, rtmp_command, rtmp_video};

const MS: i64 = 1_000_000;
const START: i64 = 1_764_000_000_000_000_000;
/// hb, hs and hv1 on one switch, as in p2p.yaml.
const HOSTS: [(&str, Role, [u8; 4]); 3] = [
    ("hb", Role::Broadcaster, [10, 0, 0, 1]),
    ("hs", Role::Cdn, [10, 0, 0, 2]),
    ("hv1", Role::Viewer, [10, 0, 0, 3]),
];

fn trial() -> Trial {
    let shape = Shape {
        bandwidth: Some(4_000_000),
        delay: Duration::from_millis(100),
        jitter: Duration::ZERO,
        loss: 0.0,
        queue: 1000,
    };
    let end = |node: &str, n: usize| End { node: node.into(), interface: format!("{node}-eth{n}") };
    let host = |(link, (name, role, address)): (usize, &(&str, Role, [u8; 4]))| Host {
        name: (*name).into(),
        role: *role,
        interfaces: vec![Interface {
            name: format!("{name}-eth0"),
            mac: format!("02:00:00:00:00:0{link}"),
            address: (*address).into(),
            prefix: 24,
            link,
        }],
        player: Player::default(),
    };
    let link =
        |(n, (name, ..)): (usize, &(&str, Role, [u8; 4]))| Link { a: end(name, 0), b: end("s1", n + 1), shape };
    Trial {
        id: "bypass-1".into(),
        point: Point::new(Scheme::Bypass, 1),
        seed: 1,
        network: Network {
            switches: vec![Switch { name: "s1".into(), dpid: 1 }],
            hosts: HOSTS.iter().enumerate().map(host).collect(),
            links: HOSTS.iter().enumerate().map(link).collect(),
        },
        video: Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 64, height: 48 },
            fps: 30,
            frames: 6,
            codec: Codec::Flv1,
            bitrate: 100_000,
            keyframe_interval: 3,
            audio: false,
            clock: false,
        },
        streams: vec![Stream {
            name: "hb".into(),
            broadcaster: "hb".into(),
            viewers: vec!["hv1".into()],
            program: Default::default(),
        }],
        timeline: Timeline {
            broadcast_at: Duration::ZERO,
            view_at: Duration::ZERO,
            view_every: Duration::ZERO,
            end: Duration::from_secs(1),
            drain: Duration::ZERO,
        },
        link_changes: Vec::new(),
        audience: Default::default(),
        agents: Default::default(),
        pings: vec![],
        captures: vec![CapturePoint { host: "hv1".into(), interface: "hv1-eth0".into() }],
        film: Vec::new(),
        links: LinkKind::Emulated,
        datapath: Datapath::User,
        congestion_control: "cubic".into(),
        crowd: None,
        initial_window: 10,
        cdn: Cdn::default(),
    }
}

/// Six frames; 3 and 4 are equal but for their time.
fn pictures() -> Vec<(u32, Vec<u8>)> {
    let content = [0, 1, 2, 3, 3, 5];
    content.iter().zip(0u32..).map(|(n, i)| (33 * i, picture(*n, *n % 3 == 0 && *n < 4, 700))).collect()
}

fn birth_ns(n: i64) -> i64 {
    START + 33 * n * MS
}

/// What a bypass trial leaves: frames 0 to 3 from the CDN, 3 to 5 from the peer, frame 2 nowhere.
fn files() -> BTreeMap<&'static str, Vec<u8>> {
    let pictures = pictures();
    let mut register = Register::default();
    let mut births = format!("{HEADER}\n{}\n", register.birth(TagKind::Script, 0, b"\x02\x00\x0aonMetaData", START));
    for (n, (timestamp, payload)) in pictures.iter().enumerate() {
        births += &format!("{}\n", register.birth(TagKind::Video, *timestamp, payload, birth_ns(n as i64)));
    }

    let (cdn, viewer, broadcaster) = ("10.0.0.2:1935", "10.0.0.3:40000", "10.0.0.1:2000");
    let mut packets = Vec::new();
    let (mut client, mut server) = (Sender::new(viewer, cdn, 1), Sender::new(cdn, viewer, 2));
    let mut writer = Writer::new();
    let mut asked = handshake();
    asked.extend(rtmp_command(&mut writer, &Command::Connect { transaction: 1.0, app: "live".into(), tc_url: None }));
    asked.extend(rtmp_command(&mut writer, &Command::Play { transaction: 0.0, name: "hb".into() }));
    packets.extend([client.syn(START), server.syn(START)]);
    packets.extend(client.send(&asked, 1448, START, 1));
    packets.extend(server.send(&handshake(), 1448, START, 1));
    let mut writer = Writer::new();
    for n in [0, 1, 3] {
        let (timestamp, payload) = &pictures[n];
        let bytes = rtmp_video(&mut writer, *timestamp, payload);
        packets.extend(server.send(&bytes, 1448, birth_ns(n as i64) + 800 * MS, 1));
    }

    let viewer = "10.0.0.3:40001";
    let (mut client, mut server) = (Sender::new(viewer, broadcaster, 1), Sender::new(broadcaster, viewer, 2));
    packets.extend([client.syn(START), server.syn(START)]);
    packets.extend(client.send(peer::emit_request(&"live/hb".parse().unwrap()).as_bytes(), 100, START, 1));
    packets.extend(server.send(&flv::header(false, true), 100, START, 1));
    for n in [3, 4, 5] {
        let (timestamp, payload) = &pictures[n];
        packets.extend(server.send(&flv_video(*timestamp, payload), 1448, birth_ns(n as i64) + 210 * MS, 1));
    }
    // Another host's packets, which a switch showed to all.
    let mut stranger = Sender::new(broadcaster, "10.0.0.9:40001", 2);
    packets.push(stranger.syn(START));
    packets.extend(stranger.send(
        &[&flv::header(false, true)[..], &flv_video(0, &pictures[0].1)].concat(),
        1448,
        START,
        1,
    ));
    packets.sort_by_key(|packet| packet.0);

    let dump = |frames: &[usize]| {
        let tags = frames.iter().flat_map(|n| flv_video(pictures[*n].0, &pictures[*n].1));
        flv::header(false, true).into_iter().chain(tags).collect::<Vec<u8>>()
    };
    BTreeMap::from([
        ("trial.json", serde_json::to_vec(&trial()).unwrap()),
        ("births/hb.csv", births.into_bytes()),
        ("pcap/hv1-eth0.pcap", pcap(&packets)),
        ("dump/hv1-cdn.flv", dump(&[0, 1, 3])),
        ("dump/hv1-peer.flv", dump(&[3, 4, 5])),
    ])
}

fn folder(files: &BTreeMap<&'static str, Vec<u8>>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

fn read(files: &BTreeMap<&'static str, Vec<u8>>) -> TrialTrace {
    read_trial(folder(files).path(), None).unwrap()
}

#[test]
fn floors_follow_links_that_change() {
    use crate::plan::{Change, Directions, LinkChange, Setting};
    let slower = Setting { bandwidth: Some(1_000_000), ..Setting::default() };
    let at = Duration::from_millis(150);
    let change = |link, directions| LinkChange { at, link, directions, change: Change::Set(slower) };
    // To the viewer; from it and to the broadcaster no video goes.
    let link_changes = vec![change(2, Directions::Down), change(2, Directions::Up), change(0, Directions::Down)];
    let mut files = files();
    files.insert("trial.json", serde_json::to_vec(&Trial { link_changes, ..trial() }).unwrap());
    let events = [
        r#"{"time_ns":1,"event":"phase","phase":"boot"}"#.to_owned(),
        format!(r#"{{"time_ns":{START},"event":"timeline_zero","length_ns":1000000000}}"#),
    ];
    files.insert("events.jsonl", events.join("\n").into_bytes());
    let trace = read(&files);
    assert_eq!(trace.problems, Vec::<String>::new());
    let of = |floor: fn(&FrameDelay) -> Option<Duration>| {
        trace.viewers[0].frames.iter().map(|frame| floor(frame).unwrap().as_micros()).collect::<Vec<_>>()
    };
    // 781 bytes take 1.562 ms at 4 Mbit/s, 6.248 ms at 1 Mbit/s. The third frame, born at 66 ms, is at the second
    // link 101.562 ms later.
    assert_eq!(of(|frame| frame.floor), [203_124, 203_124, 207_810, 207_810, 207_810, 207_810]);
    assert_eq!(of(|frame| frame.stream_floor)[2..], [207_810; 4]);

    files.remove("events.jsonl");
    let trace = read(&files);
    assert_eq!(trace.problems.len(), 1, "{:?}", trace.problems);
    assert!(trace.problems[0].contains("does not tell when the timeline began"), "{:?}", trace.problems);
    assert!(trace.viewers[0].frames.iter().all(|frame| frame.floor.is_none() && frame.stream_floor.is_none()));
}

#[test]
fn a_trial_whole() {
    let trace = read(&files());
    assert_eq!(trace.problems, Vec::<String>::new());
    assert_eq!(trace.trial, trial());
    let [viewer] = trace.viewers.as_slice() else { panic!() };
    assert_eq!((viewer.stream.as_str(), viewer.viewer.as_str()), ("hb", "hv1"));
    let seen: Vec<_> = viewer
        .frames
        .iter()
        .map(|f| (f.index, f.copies, f.delay_ns().map(|ns| ns / MS), f.arrival.map(|a| a.carrier.via())))
        .collect();
    let expected = [
        (0, 1, Some(800), Some(Via::Cdn)),
        (1, 1, Some(800), Some(Via::Cdn)),
        (2, 0, None, None),
        (3, 2, Some(210), Some(Via::Peer)),
        (4, 1, Some(210), Some(Via::Peer)),
        (5, 1, Some(210), Some(Via::Peer)),
    ];
    assert_eq!(seen, expected);
    // 700 + 15 + 66 bytes at 4 Mbit/s, twice, and 200 ms.
    let floor = Duration::from_nanos(203_124_000);
    assert!(viewer.frames.iter().all(|frame| frame.floor == Some(floor)));
    assert_eq!(viewer.frames[4].excess_ns(), Some(210 * MS - 203_124_000));
    assert_eq!((viewer.missing(), viewer.duplicates(), viewer.foreign), (1, 1, 0));
    // Tags of 715 bytes after a header of 13.
    assert_eq!(viewer.peer_bytes, Some(13 + 3 * 715));
    assert_eq!(viewer.repeated_bytes, Some(0));
    assert_eq!((viewer.dumped(), viewer.undumped()), (5, vec![2]));
    let dumps = [0, 1].map(|n| &viewer.dumps[n]);
    assert_eq!(dumps.map(|dump| (dump.matched, dump.foreign, dump.tail)), [(3, 0, None); 2]);
}

#[test]
fn what_is_missing_is_named_and_the_rest_computed() {
    let without = |name: &'static str| {
        let mut files = files();
        files.remove(name).unwrap();
        read(&files)
    };
    let trace = without("births/hb.csv");
    assert_eq!(trace.problems.len(), 1);
    assert!(trace.problems[0].starts_with("births/hb.csv: "));
    assert_eq!(trace.damage, trace.problems);
    assert_eq!((trace.viewers[0].frames.len(), trace.viewers[0].peer_bytes), (0, Some(2158)));

    let trace = without("pcap/hv1-eth0.pcap");
    assert!(trace.problems[0].starts_with("pcap/hv1-eth0.pcap: "));
    assert_eq!(trace.damage, trace.problems);
    assert_eq!((trace.viewers[0].missing(), trace.viewers[0].cdn_bytes, trace.viewers[0].dumped()), (6, None, 5));

    let trace = without("dump/hv1-peer.flv");
    assert!(trace.problems[0].starts_with("dump/hv1-peer.flv: "), "expected, since a peer delivered");
    assert_eq!(trace.damage, Vec::<String>::new(), "the tables are not made from dumps");
    assert_eq!(trace.viewers[0].undumped(), [2, 4, 5]);

    let mut files = files();
    files.remove("trial.json");
    let error = read_trial(folder(&files).path(), None).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the plan of the trial, "), "{error}");
    files.insert("trial.json", b"{".to_vec());
    let error = read_trial(folder(&files).path(), None).unwrap_err().to_string();
    assert!(error.starts_with("cannot understand the plan of the trial, "), "{error}");
}

#[test]
fn a_clip_that_ends_early_is_told_even_of_programs_that_may_be_held_back() {
    let mut trial = trial();
    let short = |trial: &Trial, ended| {
        let born = trial.video.frames as usize - 1;
        fewer_than_planned(trial, &trial.streams[0], born, || ended).is_some()
    };
    assert!(short(&trial, false) && short(&trial, true));
    trial.agents.upload_buffer = Some(64_000);
    assert!(!short(&trial, false), "it waited for the network until the trial's end");
    assert!(short(&trial, true), "it had nothing more to give");
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.jsonl");
    let ended = |host: &str, code: &str| {
        let line = format!(
            r#"{{"time_ns":1,"event":"ended","host":"{host}","actor":"encoder","code":{code},"signal":null}}"#
        );
        std::fs::write(&events, format!("{line}\r\n")).unwrap();
        has_ended_well(&events, "hb", "encoder")
    };
    assert!(ended("hb", "0"));
    assert!(!ended("hb", "255") && !ended("hb", "null") && !ended("hb2", "0"));
}

#[test]
fn a_trial_cut_short() {
    let mut files = files();
    for name in ["births/hb.csv", "pcap/hv1-eth0.pcap", "dump/hv1-cdn.flv", "dump/hv1-peer.flv"] {
        let bytes = files.get_mut(name).unwrap();
        bytes.truncate(bytes.len() - 50);
    }
    let trace = read(&files);
    let named =
        ["births/hb.csv: line 8 is cut off", "pcap/hv1-eth0.pcap: the capture ends in the middle of a packet"];
    for named in named {
        assert!(trace.problems.iter().any(|problem| problem.starts_with(named)), "{named}: {:?}", trace.problems);
        assert!(trace.damage.iter().any(|problem| problem.starts_with(named)), "{named}: {:?}", trace.damage);
    }
    let viewer = &trace.viewers[0];
    assert_eq!((viewer.frames.len(), viewer.missing()), (5, 1));
    let tails = [0, 1].map(|n| viewer.dumps[n].tail.unwrap());
    assert_eq!(tails.map(|tail| tail.tag), [Some((TagKind::Video, 99)), Some((TagKind::Video, 165))]);
    assert_eq!(viewer.undumped(), [2]);
}

#[test]
fn what_a_capture_began_too_late_for_is_not_called_missing_in_silence() {
    let mut files = files();
    let capture = files.get_mut("pcap/hv1-eth0.pcap").unwrap();
    // Without the first half of its packets, or all of them: it begins in the middle of connections, or holds
    // nothing.
    let header = capture[..24].to_vec();
    let mut at = 24;
    while at < capture.len() / 2 {
        at += 16 + u32::from_le_bytes(capture[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    *capture = [&header, &capture[at..]].concat();
    let trace = read(&files);
    assert!(trace.damage.iter().any(|what| what.contains("in the middle of this connection")), "{:?}", trace.damage);
    files.insert("pcap/hv1-eth0.pcap", header);
    assert_eq!(read(&files).damage, ["pcap/hv1-eth0.pcap: it holds no packets"]);
}

#[test]
fn a_capture_that_is_cut_off_between_two_packets_is_told_by_the_count_of_who_wrote_it() {
    let mut files = files();
    let capture = &files["pcap/hv1-eth0.pcap"];
    let (mut at, mut begins) = (24, Vec::new());
    while at < capture.len() {
        begins.push(at);
        at += 16 + u32::from_le_bytes(capture[at + 8..at + 12].try_into().unwrap()) as usize;
    }
    let (count, last) = (begins.len(), begins.pop().unwrap());
    let log = format!("{count} packets captured\n{count} packets received by filter\n0 packets dropped by kernel\n");
    files.insert("log/hv1-tcpdump-hv1-eth0.log", log.into_bytes());
    assert_eq!(read(&files).damage, [""; 0]);
    files.get_mut("pcap/hv1-eth0.pcap").unwrap().truncate(last);
    let told = format!("pcap/hv1-eth0.pcap: it holds {} packets, and tcpdump wrote {count}", count - 1);
    assert_eq!(read(&files).damage, [told]);
    files.insert("log/hv1-tcpdump-hv1-eth0.log", b"tcpdump: listening on hv1-eth0\n".to_vec());
    assert_eq!(read(&files).damage, [""; 0], "it was killed and has not counted");
}

/// The trial without the packet of frame 1; the viewer says that it has all before it and `more` bytes.
fn without_frame_1(more: u32) -> TrialTrace {
    let mut files = files();
    let capture = files.get_mut("pcap/hv1-eth0.pcap").unwrap();
    let mut at = 24;
    let packet = loop {
        let end = at + 16 + u32::from_le_bytes(capture[at + 8..at + 12].try_into().unwrap()) as usize;
        if capture[at..end].windows(20).any(|window| window == &pictures()[1].1[..20]) {
            break at..end;
        }
        at = end;
    };
    capture.drain(packet);
    let (cdn, viewer) = ("10.0.0.2:1935", "10.0.0.3:40000");
    let frame_0 = rtmp_video(&mut Writer::new(), 0, &pictures()[0].1).len();
    let before = 3 + (handshake().len() + frame_0) as u32;
    let told =
        Sender::new(viewer, cdn, 1).has_all_but(&Sender::new(cdn, viewer, before + more), 0, START + 2_000 * MS);
    capture.extend(&pcap(&[told])[24..]);
    read(&files)
}

#[test]
fn what_was_lost_on_the_way_is_no_damage_and_what_the_capture_missed_is() {
    let lost = without_frame_1(0);
    let viewer = &lost.viewers[0];
    // Frame 3 came behind it, so that of the CDN's connection the player never got it: what counts is the peer's
    // copy.
    assert_eq!((viewer.missing(), viewer.frames[3].copies), (2, 1));
    assert_eq!(lost.damage, Vec::<String>::new());
    let expected = "bytes were lost on the way and had not been sent again when it ended";
    assert!(lost.problems.len() == 1 && lost.problems[0].ends_with(expected), "{:?}", lost.problems);

    let missed = without_frame_1(2_000);
    assert_eq!((missed.viewers[0].missing(), missed.damage.is_empty()), (2, false));
    let expected = "709 bytes are not in the capture";
    assert!(missed.damage.iter().any(|what| what.ends_with(expected)), "{:?}", missed.damage);
}

#[test]
fn altered_payloads_are_foreign() {
    let mut files = files();
    for name in ["dump/hv1-cdn.flv", "pcap/hv1-eth0.pcap"] {
        let bytes = files.get_mut(name).unwrap();
        // The payload of frame 1, wherever it lies.
        let at = bytes.windows(20).position(|window| window == &pictures()[1].1[..20]).unwrap();
        bytes[at + 15] ^= 1;
    }
    let trace = read(&files);
    let expected =
        ["hv1, stream hb: 1 frames arrived that were never born", "dump/hv1-cdn.flv: 1 video tags were never born"];
    assert_eq!(trace.problems, expected);
    assert_eq!(trace.damage, expected[..1]);
    let viewer = &trace.viewers[0];
    assert_eq!((viewer.missing(), viewer.foreign), (2, 1));
    let dump = &viewer.dumps[0];
    assert_eq!((dump.matched, dump.foreign), (2, 1));
}

#[test]
fn two_streams_with_equal_pictures_are_told_apart() {
    let mut files = files();
    let mut two = trial();
    two.streams.push(Stream {
        name: "hc".into(),
        broadcaster: "hc".into(),
        viewers: vec!["hv1".into()],
        program: Default::default(),
    });
    files.insert("trial.json", serde_json::to_vec(&two).unwrap());
    files.insert("births/hc.csv", files["births/hb.csv"].clone());
    let trace = read(&files);
    let missing: Vec<_> = trace.viewers.iter().map(|viewer| (viewer.stream.as_str(), viewer.missing())).collect();
    assert_eq!(missing, [("hb", 1), ("hc", 6)]);
    assert_eq!(trace.viewers[1].cdn_bytes, Some(0));
    assert!(trace.viewers[1].frames.iter().all(|frame| frame.floor.is_none()), "no path from hc");
}

/// The same trial, captured at the broadcaster and the CDN too. Frames leave the broadcaster 20 ms after their birth,
/// are at the CDN 300 ms later, and leave it after another 5 ms.
fn files_with_senders(links: LinkKind, jitter: Duration) -> BTreeMap<&'static str, Vec<u8>> {
    let mut files = files();
    let mut plan = trial();
    plan.links = links;
    for link in &mut plan.network.links {
        link.shape.jitter = jitter;
    }
    plan.captures
        .extend(["hb", "hs"].map(|host| CapturePoint { host: host.into(), interface: format!("{host}-eth0") }));
    files.insert("trial.json", serde_json::to_vec(&plan).unwrap());

    let (cdn, upload, viewer) = ("10.0.0.2:1935", "10.0.0.1:50000", "10.0.0.3:40000");
    let pictures = pictures();
    let mut published = handshake();
    let mut writer = Writer::new();
    let connect = Command::Connect { transaction: 1.0, app: "live".into(), tc_url: None };
    published.extend(rtmp_command(&mut writer, &connect));
    published.extend(rtmp_command(
        &mut writer,
        &Command::Publish { transaction: 0.0, name: "hb".into(), mode: Some("live".into()) },
    ));
    let video: Vec<Vec<u8>> =
        pictures.iter().map(|(timestamp, payload)| rtmp_video(&mut writer, *timestamp, payload)).collect();
    // At the broadcaster, and the same 300 ms later at the CDN.
    let upload = |late: i64| {
        let mut client = Sender::new(upload, cdn, 1);
        let mut packets = vec![client.syn(START + late)];
        packets.extend(client.send(&published, 1448, START + late, 1));
        for (n, bytes) in video.iter().enumerate() {
            // Each frame takes three packets, a millisecond apart.
            packets.extend(client.send(bytes, 300, birth_ns(n as i64) + 20 * MS + late, MS));
        }
        packets
    };
    let peer = |late: i64| {
        let (mut client, mut server) =
            (Sender::new("10.0.0.3:40001", "10.0.0.1:2000", 1), Sender::new("10.0.0.1:2000", "10.0.0.3:40001", 2));
        let mut packets = vec![client.syn(START), server.syn(START)];
        packets.extend(client.send(peer::emit_request(&"live/hb".parse().unwrap()).as_bytes(), 100, START, 1));
        packets.extend(server.send(&flv::header(false, true), 100, START, 1));
        for n in [3, 4, 5] {
            let bytes = flv_video(pictures[n].0, &pictures[n].1);
            let sent = server.send(&bytes, 1448, birth_ns(n as i64) + late, 1);
            // The first time it is lost on the way: what counts is when it left first.
            packets.extend(sent.iter().map(|(time, packet)| (time + 9 * MS, packet.clone())).filter(|_| n == 4));
            packets.extend(sent);
        }
        packets
    };
    let mut at_broadcaster = [upload(0), peer(4 * MS)].concat();
    at_broadcaster.sort_by_key(|packet| packet.0);
    let mut at_cdn = upload(300 * MS);
    let (mut client, mut server) = (Sender::new(viewer, cdn, 1), Sender::new(cdn, viewer, 2));
    let mut writer = Writer::new();
    let mut asked = handshake();
    asked.extend(rtmp_command(&mut writer, &connect));
    asked.extend(rtmp_command(&mut writer, &Command::Play { transaction: 0.0, name: "hb".into() }));
    at_cdn.extend([client.syn(START), server.syn(START)]);
    at_cdn.extend(client.send(&asked, 1448, START, 1));
    at_cdn.extend(server.send(&handshake(), 1448, START, 1));
    let mut writer = Writer::new();
    for n in [0, 1, 3] {
        let bytes = rtmp_video(&mut writer, pictures[n].0, &pictures[n].1);
        at_cdn.extend(server.send(&bytes, 1448, birth_ns(n as i64) + 327 * MS, 1));
    }
    at_cdn.sort_by_key(|packet| packet.0);
    files.insert("pcap/hb-eth0.pcap", pcap(&at_broadcaster));
    files.insert("pcap/hs-eth0.pcap", pcap(&at_cdn));
    files
}

#[test]
fn the_way_of_each_frame_adds_up_to_its_delay() {
    let trace = read(&files_with_senders(LinkKind::Emulated, Duration::ZERO));
    assert_eq!(trace.problems, Vec::<String>::new());
    let viewer = &trace.viewers[0];
    let cdn = Parts::Cdn { queue: 20 * MS, uplink: 302 * MS, dwell: 5 * MS, downlink: 473 * MS };
    let peer = Parts::Peer { queue: 4 * MS, transfer: 206 * MS, relay: 0 };
    let parts: Vec<_> = viewer.frames.iter().map(FrameDelay::parts).collect();
    assert_eq!(parts, [Some(cdn), Some(cdn), None, Some(peer), Some(peer), Some(peer)]);
    for (frame, parts) in viewer.frames.iter().zip(parts) {
        let sum = parts.map(|parts| match parts {
            Parts::Cdn { queue, uplink, dwell, downlink } => queue + uplink + dwell + downlink,
            Parts::Peer { queue, transfer, relay } => queue + transfer + relay,
        });
        assert_eq!(sum, frame.delay_ns());
    }
    // Three tags of 715 bytes after a header of 13, and one of them again.
    assert_eq!(viewer.peer_sent, Some(Sent { bytes: 13 + 4 * 715, again: 715 }));
    let cdn_sent = viewer.cdn_sent.unwrap();
    assert_eq!((Some(cdn_sent.bytes), cdn_sent.again), (viewer.cdn_bytes, 0));
    let births = &trace.births[0];
    assert_eq!(births.to_peers, viewer.peer_sent, "the broadcaster is the only peer");
    let frames: u64 = births.births.as_ref().unwrap().frames.iter().map(|frame| u64::from(frame.size)).sum();
    assert!(
        births.to_cdn.is_some_and(|sent| sent.bytes > frames / 2 && sent.again == 0),
        "{:?} {frames}",
        births.to_cdn
    );
}

#[test]
fn behind_netem_a_packet_is_seen_a_delay_late() {
    let trace = read(&files_with_senders(LinkKind::Netem, Duration::ZERO));
    let parts = trace.viewers[0].frames[0].parts();
    let expected = Parts::Cdn { queue: -80 * MS, uplink: 402 * MS, dwell: -95 * MS, downlink: 573 * MS };
    assert_eq!(
        parts,
        Some(expected),
        "these captures were made without netem, so the parts are off by the delay of 100 ms"
    );
    // Nobody says what made the links, but the emulator has left its report.
    let mut files = files_with_senders(LinkKind::Auto, Duration::ZERO);
    assert_eq!(read(&files).viewers[0].frames[0].parts(), Some(expected));
    // The manifest does, and the report may be gone.
    let told = read_trial(folder(&files).path(), Some(LinkKind::Emulated)).unwrap();
    assert_ne!(told.viewers[0].frames[0].parts(), Some(expected));
    files.insert("emulator.json", b"{}".to_vec());
    assert_ne!(read(&files).viewers[0].frames[0].parts(), Some(expected));
}

#[test]
fn what_cannot_be_known_of_the_way_is_not_guessed() {
    let trace = read(&files_with_senders(LinkKind::Netem, Duration::from_millis(10)));
    assert!(trace.viewers[0].frames.iter().all(|frame| frame.parts().is_none()));
    assert_eq!(trace.viewers[0].missing(), 1);

    let mut files = files_with_senders(LinkKind::Emulated, Duration::ZERO);
    files.remove("pcap/hs-eth0.pcap");
    let trace = read(&files);
    assert_eq!(trace.problems.len(), 1, "{:?}", trace.problems);
    let viewer = &trace.viewers[0];
    assert_eq!((viewer.frames[0].parts(), viewer.cdn_sent), (None, None));
    assert!(viewer.frames[3].parts().is_some(), "the way from the peer does not need it");
}

/// What hb gives to hv1 and that to hv2 leaves, captured at all three. A frame leaves hb 4 ms after its birth, is
/// whole at hv1 after 110 ms, leaves there after 115 and is at hv2 after 220.
fn files_of_a_relay() -> BTreeMap<&'static str, Vec<u8>> {
    files_of_a_relay_that_sends_after(115)
}

/// The same, but each frame leaves hv1 so many milliseconds after its birth.
fn files_of_a_relay_that_sends_after(late: i64) -> BTreeMap<&'static str, Vec<u8>> {
    let plan = with_two_viewers(Scheme::Relay);
    let connection = |from: &str, to: &str, late: i64| {
        let (mut client, mut server) = (Sender::new(to, from, 1), Sender::new(from, to, 2));
        let mut packets = vec![client.syn(START), server.syn(START)];
        packets.extend(client.send(peer::emit_request(&"live/hb".parse().unwrap()).as_bytes(), 100, START, 1));
        packets.extend(server.send(&flv::header(false, true), 100, START, 1));
        for (n, (timestamp, payload)) in pictures().iter().enumerate() {
            packets.extend(server.send(&flv_video(*timestamp, payload), 1448, birth_ns(n as i64) + late * MS, 1));
        }
        packets
    };
    let (first, second) = (("10.0.0.1:2000", "10.0.0.3:40001"), ("10.0.0.3:2000", "10.0.0.4:40002"));
    let mut at_hv1 = [connection(first.0, first.1, 110), connection(second.0, second.1, late)].concat();
    at_hv1.sort_by_key(|packet| packet.0);
    BTreeMap::from([
        ("trial.json", serde_json::to_vec(&plan).unwrap()),
        ("births/hb.csv", files().remove("births/hb.csv").unwrap()),
        ("pcap/hb-eth0.pcap", pcap(&connection(first.0, first.1, 4))),
        ("pcap/hv1-eth0.pcap", pcap(&at_hv1)),
        ("pcap/hv2-eth0.pcap", pcap(&connection(second.0, second.1, 220))),
    ])
}

/// The broadcaster and its two viewers are captured.
fn with_two_viewers(scheme: Scheme) -> Trial {
    let mut plan = trial();
    plan.point = Point::new(scheme, 1);
    let mut host = plan.network.hosts[2].clone();
    let mut link = plan.network.links[2].clone();
    host.name = "hv2".into();
    let interface = &mut host.interfaces[0];
    (interface.name, interface.address, interface.link) = ("hv2-eth0".into(), [10, 0, 0, 4].into(), 3);
    link.a = End { node: "hv2".into(), interface: "hv2-eth0".into() };
    plan.network.hosts.push(host);
    plan.network.links.push(link);
    plan.streams[0].viewers.push("hv2".into());
    plan.captures = ["hb", "hv1", "hv2"]
        .map(|host| CapturePoint { host: host.into(), interface: format!("{host}-eth0") })
        .to_vec();
    plan
}

#[test]
fn who_passed_a_frame_on_and_how_long_it_stayed_there() {
    let trace = read(&files_of_a_relay());
    let [first, second] = trace.viewers.as_slice() else { panic!() };
    let relays = |frame: &FrameDelay| frame.way.relays().unwrap().collect::<Vec<_>>();
    for frame in &first.frames {
        assert_eq!(frame.parts(), Some(Parts::Peer { queue: 4 * MS, transfer: 106 * MS, relay: 0 }));
        assert_eq!(relays(frame), [0; 0]);
    }
    for frame in &second.frames {
        assert_eq!(frame.parts(), Some(Parts::Peer { queue: 4 * MS, transfer: 211 * MS, relay: 5 * MS }));
        assert_eq!(relays(frame), [2], "hv1");
    }
    let all = 13 + 6 * 715;
    assert_eq!((first.peer_bytes, first.viewer_bytes), (Some(all), Some(0)));
    assert_eq!((second.peer_bytes, second.viewer_bytes), (Some(all), Some(all)));
    assert_eq!(second.peer_sent, Some(Sent { bytes: all, again: 0 }));

    // It leaves hv1 80 ms before all of it is there.
    let trace = read(&files_of_a_relay_that_sends_after(30));
    for frame in &trace.viewers[1].frames {
        assert_eq!(frame.parts(), Some(Parts::Peer { queue: 4 * MS, transfer: 216 * MS, relay: 0 }));
        assert_eq!(relays(frame), [2], "hv1");
    }

    let mut files = files_of_a_relay();
    files.remove("pcap/hv1-eth0.pcap");
    let trace = read(&files);
    let second = &trace.viewers[1];
    assert_eq!((second.missing(), second.viewer_bytes, second.peer_sent), (0, Some(all), None));
    assert!(second.frames.iter().all(|frame| frame.parts().is_none() && frame.way.relays().is_none()));
}

/// What hb sends to a group: each frame leaves it 4 ms after its birth, and is at hv1 after 110 ms and at hv2 after
/// 120. Of the third frame, which is of two datagrams, hv2 lacks the second.
fn files_of_a_group() -> BTreeMap<&'static str, Vec<u8>> {
    let plan = with_two_viewers(Scheme::Multicast);
    let sent = |late: i64, lost: Option<usize>| {
        let mut emitter = Emitter::new(&"live/hb".parse().unwrap(), 1);
        let mut packets = Vec::new();
        for (n, (timestamp, payload)) in pictures().iter().enumerate() {
            let mut payload = payload.clone();
            payload.resize(if n == 2 { 2000 } else { payload.len() }, 0x5a);
            let mut time = birth_ns(n as i64) + late * MS;
            let send = |bytes: &[u8]| {
                packets.push(datagram("10.0.0.1:50000", "239.192.1.2:2001", bytes, time));
                time += 1;
            };
            emitter.tag(TagKind::Video, *timestamp, &payload, send).unwrap();
        }
        lost.map(|lost| packets.remove(lost));
        pcap(&packets)
    };
    let mut births = String::from_utf8(files().remove("births/hb.csv").unwrap()).unwrap();
    let mut third = pictures()[2].1.clone();
    let before = FrameId::of(&third);
    third.resize(2000, 0x5a);
    births = births.replace(&before.to_string(), &FrameId::of(&third).to_string());
    BTreeMap::from([
        ("trial.json", serde_json::to_vec(&plan).unwrap()),
        ("births/hb.csv", births.into_bytes()),
        ("pcap/hb-eth0.pcap", sent(4, None)),
        ("pcap/hv1-eth0.pcap", sent(110, None)),
        ("pcap/hv2-eth0.pcap", sent(120, Some(3))),
    ])
}

#[test]
fn what_switches_copied_came_from_the_broadcaster_over_one_hop() {
    let trace = read(&files_of_a_group());
    assert!(trace.damage.is_empty(), "{:?}", trace.damage);
    let told = "pcap/hv2-eth0.pcap: 10.0.0.1:50000 to 239.192.1.2:2001: 1 datagrams were lost on the way, and with them 1 tags";
    // The players' dumps are not there.
    assert_eq!(trace.problems.iter().filter(|problem| !problem.starts_with("dump/")).collect::<Vec<_>>(), [told]);
    let [first, second] = trace.viewers.as_slice() else { panic!() };
    for (n, frame) in first.frames.iter().enumerate() {
        // The last of its datagrams is a nanosecond behind the first.
        let transfer = 106 * MS + i64::from(n == 2);
        assert_eq!(frame.parts(), Some(Parts::Peer { queue: 4 * MS, transfer, relay: 0 }));
        let arrival = frame.arrival.unwrap();
        assert_eq!((arrival.carrier, arrival.to.to_string()), (Carrier::Group, "10.0.0.3:2001".into()));
        assert_eq!((frame.way.relays().unwrap().count(), frame.copies), (0, 1));
    }
    let missing: Vec<u64> = second.frames.iter().filter(|f| f.arrival.is_none()).map(|f| f.index).collect();
    assert_eq!((missing, first.missing()), (vec![2], 0));
    let bytes = (5 * (700 + 32) + 2000 + 2 * 32) as u64;
    assert_eq!((first.group_bytes, second.group_bytes), (Some(bytes), Some(bytes - 560 - 32)));
    assert_eq!((first.peer_bytes, first.viewer_bytes, first.cdn_bytes), (Some(0), Some(0), Some(0)));
    assert_eq!(first.peer_sent, Some(Sent::default()));
}

#[test]
fn a_group_of_another_stream_is_none_of_this_ones() {
    let mut files = files_of_a_group();
    let mut emitter = Emitter::new(&"live/other".parse().unwrap(), 1);
    let mut packets = Vec::new();
    let send = |bytes: &[u8]| packets.push(datagram("10.0.0.1:50000", "239.192.1.2:2001", bytes, birth_ns(0)));
    emitter.tag(TagKind::Video, 0, &pictures()[0].1, send).unwrap();
    files.insert("pcap/hv1-eth0.pcap", pcap(&packets));
    let trace = read(&files);
    // A viewer of only one stream is not assumed to be meant.
    assert_eq!((trace.viewers[0].missing(), trace.viewers[0].group_bytes), (6, Some(0)));
}
