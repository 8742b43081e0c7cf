//! Real and made-up RTMP connections.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::frame::Frame;
use crate::testing::{self, Host};
use livectl_wire::command::Status;
use livectl_wire::rtmp::{Header, Writer};

use Direction::{ToClient, ToServer};

const CHUNK_128: &[u8] = include_bytes!("../../../../../tests/captures/rtmp-128-flv1.pcap");
const CHUNK_4096: &[u8] = include_bytes!("../../../../../tests/captures/rtmp-4096-h264-aac.pcap");

/// A segment that owns its payload.
#[derive(Debug, Clone)]
struct Piece {
    direction: Direction,
    seq: u32,
    syn: bool,
    fin: bool,
    payload: Vec<u8>,
}

impl Piece {
    fn push(&self, watch: &mut Watch) -> Finding {
        let Piece { direction, seq, syn, fin, ref payload } = *self;
        watch.push(direction, &Segment { seq, syn, fin, payload, time: 0 })
    }
}

fn pieces(frames: &[Vec<u8>]) -> Vec<Piece> {
    let piece = |bytes: &Vec<u8>| {
        let frame = Frame::parse(bytes).unwrap();
        let tcp = frame.tcp().unwrap();
        let direction = if tcp.dst.port() == 1935 { ToServer } else { ToClient };
        Piece { direction, seq: tcp.seq, syn: tcp.syn, fin: tcp.fin, payload: frame.payload(&tcp).to_vec() }
    };
    frames.iter().map(piece).collect()
}

/// Publisher and player of each capture.
fn captured() -> Vec<(Part, StreamKey, Vec<Piece>)> {
    let mut all = Vec::new();
    for pcap in [CHUNK_128, CHUNK_4096] {
        for frames in testing::captured_connections(pcap) {
            let text = String::from_utf8_lossy(&frames.concat()).into_owned();
            let role = if text.contains("FCPublish") { Part::Broadcaster } else { Part::Viewer };
            let name = if pcap == CHUNK_128 { "live/a" } else { "live/b" };
            all.push((role, name.parse().unwrap(), pieces(&frames)));
        }
    }
    all
}

/// What is found, and after how many pieces.
fn find<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> (Finding, usize) {
    let mut watch = Watch::new();
    let mut count = 0;
    for piece in pieces {
        count += 1;
        let finding = piece.push(&mut watch);
        if finding != Finding::Open {
            return (finding, count);
        }
    }
    (Finding::Open, count)
}

#[test]
fn real_publishers_and_players() {
    let captured = captured();
    assert_eq!(captured.len(), 4);
    assert_eq!(captured.iter().filter(|(role, ..)| *role == Part::Viewer).count(), 2);
    for (role, stream, pieces) in &captured {
        let (finding, count) = find(pieces);
        assert_eq!(finding, Finding::Role(*role, stream.clone()));
        assert!(count < 50, "{role:?} {stream} is known after {count} packets");
        // A publisher is known before it sends its first video; of what a player gets, at most what is in flight.
        if *role == Part::Broadcaster {
            let sent: usize =
                pieces[..count].iter().filter(|p| p.direction == ToServer).map(|p| p.payload.len()).sum();
            assert!(sent < 4096, "{sent} bytes");
        }
    }
}

#[test]
fn a_byte_at_a_time() {
    for (role, stream, pieces) in captured() {
        let bytes = pieces.iter().flat_map(|piece| {
            let count = piece.payload.len().max(1);
            (0..count).map(|at| Piece {
                seq: piece.seq.wrapping_add(at as u32),
                syn: piece.syn,
                fin: false,
                payload: piece.payload.get(at..at + 1).unwrap_or_default().to_vec(),
                direction: piece.direction,
            })
        });
        let bytes: Vec<Piece> = bytes.collect();
        assert_eq!(find(&bytes).0, Finding::Role(role, stream));
    }
}

#[test]
fn met_midway_it_is_given_up_within_bounds() {
    for (_, _, pieces) in captured() {
        for skipped in [5, 20, 60] {
            let (finding, _) = find(&pieces[skipped..]);
            assert!(!matches!(finding, Finding::Role(..)), "{skipped}");
        }
    }
    let mut watch = Watch::new();
    let mut bytes = 0;
    for number in 0u32.. {
        let piece = Piece {
            direction: ToServer,
            seq: number.wrapping_mul(1000),
            syn: false,
            fin: false,
            payload: vec![3; 1000],
        };
        bytes += 1000;
        if piece.push(&mut watch) != Finding::Open {
            break;
        }
    }
    assert!(bytes < 2 * MOST);
}

fn command(writer: &mut Writer, stream_id: u32, command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    writer
        .write(
            Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id, timestamp: 0 },
            &command.emit(),
            &mut out,
        )
        .unwrap();
    out
}

/// A connection after handshake and connect, in which anything can be said.
struct Said {
    watch: Watch,
    writers: [Writer; 2],
    seq: [u32; 2],
}

impl Said {
    fn new() -> Self {
        let mut said = Self { watch: Watch::new(), writers: [Writer::new(), Writer::new()], seq: [0; 2] };
        let mut handshake = vec![3];
        handshake.resize(3073, 0);
        assert_eq!(said.bytes(ToServer, &handshake), Finding::Open);
        assert_eq!(said.bytes(ToClient, &handshake), Finding::Open);
        let connect = Command::Connect { transaction: 1.0, app: "live/?token=1".to_owned(), tc_url: None };
        assert_eq!(said.command(ToServer, 0, &connect), Finding::Open);
        said
    }

    fn bytes(&mut self, direction: Direction, payload: &[u8]) -> Finding {
        let side = usize::from(direction == ToClient);
        let seq = self.seq[side];
        self.seq[side] += payload.len() as u32;
        self.watch.push(direction, &Segment { seq, syn: false, fin: false, payload, time: 0 })
    }

    fn command(&mut self, direction: Direction, stream: u32, what: &Command) -> Finding {
        let bytes = command(&mut self.writers[usize::from(direction == ToClient)], stream, what);
        self.bytes(direction, &bytes)
    }

    fn play(&mut self, stream: u32, name: &str) -> Finding {
        self.command(ToServer, stream, &Command::Play { transaction: 0.0, name: name.to_owned() })
    }

    fn publish(&mut self, stream: u32, name: &str) -> Finding {
        self.command(ToServer, stream, &Command::Publish { transaction: 0.0, name: name.to_owned(), mode: None })
    }

    fn status(&mut self, stream: u32, code: &str) -> Finding {
        let status = Status { level: "status".to_owned(), code: code.to_owned(), description: String::new() };
        self.command(ToClient, stream, &Command::OnStatus(status))
    }
}

fn role(role: Part, stream: &str) -> Finding {
    Finding::Role(role, stream.parse().unwrap())
}

#[test]
fn asking_is_not_having() {
    let mut said = Said::new();
    assert_eq!(said.status(1, "NetStream.Play.Start"), Finding::Open, "nobody asked");
    assert_eq!(said.play(1, "a"), Finding::Open);
    assert_eq!(said.status(1, "NetStream.Play.Reset"), Finding::Open);
    assert_eq!(said.status(1, "NetStream.Play.StreamNotFound"), Finding::Open);
    assert_eq!(said.status(1, "NetStream.Publish.Start"), Finding::Open, "nobody asked for that");
    assert_eq!(said.play(1, "b?key=2"), Finding::Open);
    assert_eq!(said.status(1, "NetStream.Play.Start"), role(Part::Viewer, "live/b"));
}

#[test]
fn each_message_stream_has_its_own_request() {
    let mut said = Said::new();
    said.play(1, "a");
    said.publish(2, "b");
    assert_eq!(said.status(2, "NetStream.Publish.Start"), role(Part::Broadcaster, "live/b"));
    let mut said = Said::new();
    said.play(1, "a");
    assert_eq!(said.status(0, "NetStream.Play.Start"), role(Part::Viewer, "live/a"), "on the control stream");
    let mut said = Said::new();
    said.play(1, "a");
    said.command(ToServer, 0, &Command::CloseStream { stream: Some(1.0) });
    assert_eq!(said.status(1, "NetStream.Play.Start"), Finding::Open, "it was closed");
}

#[test]
fn an_answer_elsewhere_belongs_to_the_one_that_waits_for_it() {
    let mut said = Said::new();
    said.publish(0, "hb");
    assert_eq!(said.status(1, "NetStream.Publish.Start"), role(Part::Broadcaster, "live/hb"), "asked on 0");
    let mut said = Said::new();
    said.play(1, "a");
    said.play(2, "b");
    assert_eq!(said.status(3, "NetStream.Play.Start"), Finding::Open, "either might be it");
    assert_eq!(said.status(2, "NetStream.Play.Start"), role(Part::Viewer, "live/b"));
}

#[test]
fn what_cannot_be_told_to_agents_is_nothing() {
    let mut said = Said::new();
    said.play(1, "mp4:film/one.mp4");
    assert!(matches!(said.status(1, "NetStream.Play.Start"), Finding::Nothing(why) if why.contains("mp4:film")));
    assert!(said.watch.is_rtmp());
}

#[test]
fn what_is_not_rtmp_is_nothing() {
    let mut watch = Watch::new();
    let payload = b"GET / HTTP/1.1\r\n\r\n";
    let finding = watch.push(ToServer, &Segment { seq: 0, syn: false, fin: false, payload, time: 0 });
    assert!(matches!(finding, Finding::Nothing(_)));
    assert!(!watch.is_rtmp());
    let mut said = Said::new();
    let mut bytes = Vec::new();
    let video = Header { chunk_stream: 4, kind: kind::VIDEO, stream_id: 1, timestamp: 0 };
    Writer::new().write(video, &[0x17; 300], &mut bytes).unwrap();
    assert!(matches!(said.bytes(ToServer, &bytes), Finding::Nothing(_)));
}

#[test]
fn a_gap_that_is_never_filled_costs_little_and_ends() {
    let mut watch = Watch::new();
    let payload = [3; 1448];
    let mut seq = 0u32;
    for number in 0.. {
        assert!(number < 200);
        if number == 1 {
            seq += 1448; // lost for good
        }
        let finding = watch.push(ToServer, &Segment { seq, syn: false, fin: false, payload: &payload, time: 0 });
        seq += 1448;
        if finding != Finding::Open {
            break;
        }
    }
}

#[test]
fn over_when_both_have_said_so() {
    let (_, _, pieces) = captured().swap_remove(0);
    let mut watch = Watch::new();
    for piece in &pieces {
        assert!(!watch.is_over());
        if !piece.fin {
            piece.push(&mut watch);
        } else {
            break;
        }
    }
    let mut watch = Watch::new();
    for direction in [ToServer, ToClient] {
        watch.push(direction, &Segment { seq: 5, syn: true, fin: false, payload: &[], time: 0 });
    }
    watch.push(ToServer, &Segment { seq: 6, syn: false, fin: true, payload: &[], time: 0 });
    assert!(!watch.is_over());
    watch.push(ToClient, &Segment { seq: 6, syn: false, fin: true, payload: &[], time: 0 });
    assert!(watch.is_over());
}

#[test]
fn a_made_up_talk_is_understood_too() {
    for (talk, expected) in [
        (testing::play("hb"), role(Part::Viewer, "live/hb")),
        (testing::publish("hb"), role(Part::Broadcaster, "live/hb")),
    ] {
        let mut watch = Watch::new();
        let mut seq = [0u32; 2];
        let mut found = Finding::Open;
        for (host, bytes) in talk {
            assert_eq!(found, Finding::Open, "only the last says it");
            let direction = if host == Host::Client { ToServer } else { ToClient };
            let at = seq[host as usize];
            seq[host as usize] += bytes.len() as u32;
            found = watch.push(direction, &Segment { seq: at, syn: false, fin: false, payload: &bytes, time: 0 });
        }
        assert_eq!(found, expected);
    }
}

proptest! {
    /// Loss, retransmission and reordering change when it is known, not what.
    #[test]
    fn disorder(which in 0usize..4, swaps in proptest::collection::vec((3usize..70, 1usize..6), 0..30), twice in proptest::collection::vec(3usize..70, 0..20)) {
        let (role, stream, mut pieces) = captured().swap_remove(which);
        for at in twice {
            if let Some(piece) = pieces.get(at).cloned() {
                pieces.insert((at + 2).min(pieces.len()), piece);
            }
        }
        for (at, by) in swaps {
            // Only within a direction: the server does not answer what it has not got.
            if at + by < pieces.len() && pieces[at..=at + by].iter().all(|p| p.direction == pieces[at].direction) {
                pieces.swap(at, at + by);
            }
        }
        prop_assert_eq!(find(&pieces).0, Finding::Role(role, stream));
    }

    #[test]
    fn any_bytes(parts in proptest::collection::vec((any::<bool>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..40), handshaken: bool) {
        let mut said = if handshaken { Said::new() } else {
            Said { watch: Watch::new(), writers: [Writer::new(), Writer::new()], seq: [0; 2] }
        };
        for (up, jump, payload) in parts {
            let direction = if up { ToServer } else { ToClient };
            said.seq[usize::from(!up)] += u32::from(jump % 50);
            let _ = said.bytes(direction, &payload);
        }
    }
}
