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
        Self::in_app("live/?token=1")
    }

    fn in_app(app: &str) -> Self {
        let mut said = Self { watch: Watch::new(), writers: [Writer::new(), Writer::new()], seq: [0; 2] };
        let mut handshake = vec![3];
        handshake.resize(3073, 0);
        assert_eq!(said.bytes(ToServer, &handshake), Finding::Open);
        assert_eq!(said.bytes(ToClient, &handshake), Finding::Open);
        let connect = Command::Connect { transaction: 1.0, app: app.into(), tc_url: None };
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
        self.command(ToServer, stream, &Command::Play { transaction: 0.0, name: name.into() })
    }

    fn publish(&mut self, stream: u32, name: &str) -> Finding {
        self.command(ToServer, stream, &Command::Publish { transaction: 0.0, name: name.into(), mode: None })
    }

    fn refusal(&mut self, stream: u32, code: &str) -> Finding {
        let status = Status { level: "error".to_owned(), code: code.to_owned(), description: String::new() };
        self.command(ToClient, stream, &Command::OnStatus(status))
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
    assert_eq!(said.play(1, "a"), Finding::Open);
    assert_eq!(said.status(1, "NetStream.Play.Reset"), Finding::Open);
    assert_eq!(said.refusal(1, "NetStream.Play.StreamNotFound"), Finding::Open);
    assert_eq!(said.play(1, "b?key=2"), Finding::Open);
    assert_eq!(said.status(1, "NetStream.Play.Start"), role(Part::Viewer, "live/b"));
}

/// What one of the two says, in their words.
#[derive(Debug, Clone, Copy)]
enum Say {
    Play(u32, &'static str),
    Publish(u32, &'static str),
    Close(u32),
    Delete(f64),
    Create(f64),
    Created(f64, f64),
    Yes(u32, Part),
    No(u32, &'static str),
    Failed(f64),
}

impl Said {
    fn say(&mut self, say: Say) -> Finding {
        let start = |part| if part == Part::Viewer { "NetStream.Play.Start" } else { "NetStream.Publish.Start" };
        let status = Status { level: String::new(), code: "NetStream.Failed".into(), description: String::new() };
        match say {
            Say::Play(on, name) => self.play(on, name),
            Say::Publish(on, name) => self.publish(on, name),
            Say::Close(on) => self.command(ToServer, on, &Command::CloseStream { stream: None }),
            Say::Delete(id) => self.command(ToServer, 0, &Command::CloseStream { stream: Some(id) }),
            Say::Create(transaction) => self.command(ToServer, 0, &Command::CreateStream { transaction }),
            Say::Created(transaction, id) => {
                self.command(ToClient, 0, &Command::Result { transaction, value: Some(id.into()) })
            }
            Say::Yes(on, part) => self.status(on, start(part)),
            Say::No(on, code) => self.refusal(on, code),
            Say::Failed(transaction) => self.command(ToClient, 0, &Command::Error { transaction, status }),
        }
    }
}

/// What is found in the end; before, nothing is.
fn found(talk: &[Say]) -> Finding {
    let mut said = Said::new();
    let mut found = Finding::Open;
    for say in talk {
        assert_eq!(found, Finding::Open, "before {say:?} of {talk:?}");
        found = said.say(*say);
    }
    found
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    use Part::{Broadcaster, Viewer};
    use Say::*;
    let bad_name = No(1, "NetStream.Publish.BadName");
    let table: &[(&[Say], Finding)] = &[
        // As nginx-rtmp answers: always on stream 1.
        (&[Publish(1, "a"), Publish(1, "b"), Yes(1, Broadcaster)], role(Broadcaster, "live/a")),
        (&[Play(1, "a"), Play(1, "b"), Yes(1, Viewer)], role(Viewer, "live/a")),
        (&[Play(2, "b"), Play(1, "a"), Yes(1, Viewer)], role(Viewer, "live/b")),
        (&[Publish(2, "b"), Publish(1, "a"), Yes(1, Broadcaster)], role(Broadcaster, "live/b")),
        (&[Play(1, "a"), Publish(1, "b"), Yes(1, Viewer)], role(Viewer, "live/a")),
        (&[Publish(1, "a"), Play(1, "b"), Yes(1, Broadcaster)], role(Broadcaster, "live/a")),
        (&[Play(1, "a"), Publish(2, "b"), Yes(1, Broadcaster)], role(Broadcaster, "live/b")),
        // Asked on the control stream, or answered there.
        (&[Publish(0, "hb"), Yes(1, Broadcaster)], role(Broadcaster, "live/hb")),
        (&[Play(1, "a"), Yes(0, Viewer)], role(Viewer, "live/a")),
        // Refused.
        (&[Publish(1, "hb"), bad_name, Publish(2, "other"), Yes(1, Broadcaster)], role(Broadcaster, "live/other")),
        (&[Publish(1, "hb"), Publish(2, "other"), bad_name, Yes(1, Broadcaster)], role(Broadcaster, "live/other")),
        (&[Publish(1, "hb"), Play(2, "hb"), bad_name, Yes(1, Viewer)], role(Viewer, "live/hb")),
        (&[Play(1, "a"), No(1, "NetStream.Failed"), Play(1, "b"), Yes(1, Viewer)], role(Viewer, "live/b")),
        (&[Play(1, "a"), Failed(9.0), Yes(1, Viewer)], role(Viewer, "live/a")),
        // Closed: its answer comes all the same, and is nothing.
        (&[Publish(1, "a"), Delete(1.0), Yes(1, Broadcaster)], Finding::Open),
        (&[Publish(1, "a"), Delete(9.0), Yes(1, Broadcaster)], Finding::Open),
        (&[Publish(1, "a"), Close(3), Yes(1, Broadcaster)], Finding::Open),
        (
            &[Publish(1, "a"), Close(1), Publish(1, "b"), Yes(1, Broadcaster), Yes(1, Broadcaster)],
            role(Broadcaster, "live/b"),
        ),
        (&[Play(1, "a"), Close(1), Publish(1, "b"), Yes(1, Broadcaster)], role(Broadcaster, "live/b")),
        // A server that numbers its streams answers on the one that it was asked on, in any order.
        (&[Play(2, "a"), Play(3, "b"), Yes(3, Viewer)], role(Viewer, "live/b")),
        (
            &[
                Create(2.0),
                Create(3.0),
                Created(2.0, 1.0),
                Created(3.0, 2.0),
                Play(2, "a"),
                Play(1, "b"),
                Yes(1, Viewer),
            ],
            role(Viewer, "live/b"),
        ),
        (
            &[
                Create(2.0),
                Created(2.0, 2.0),
                Play(1, "a"),
                Play(2, "b"),
                Delete(2.0),
                Yes(2, Viewer),
                Yes(1, Viewer),
            ],
            role(Viewer, "live/a"),
        ),
        (&[Created(7.0, 2.0), Play(2, "b"), Play(1, "a"), Yes(1, Viewer)], role(Viewer, "live/b")),
    ];
    for (talk, expected) in table {
        assert_eq!(found(talk), *expected, "{talk:?}");
    }
}

#[test]
fn an_answer_that_belongs_to_no_request_ends_it() {
    use Part::{Broadcaster, Viewer};
    use Say::*;
    let table: &[(&[Say], &str)] = &[
        (&[Yes(1, Viewer)], "answers no request"),
        (&[Play(1, "a"), Yes(1, Broadcaster)], "answers no request"),
        (&[Play(1, "a"), No(1, "NetStream.Play.Failed"), Yes(1, Viewer)], "answers no request"),
        (&[Play(1, "a"), Play(2, "b"), Yes(3, Viewer)], "answers no request"),
        (&[Play(1, "a"), Publish(2, "b"), No(1, "NetStream.Failed")], "which request"),
    ];
    for (talk, expected) in table {
        let Finding::Nothing(why) = found(talk) else { panic!("{talk:?}") };
        assert!(why.contains(expected), "{why}");
    }
    let many = [Play(1, "a")].repeat(REQUESTS + 1);
    assert!(matches!(found(&many), Finding::Nothing(why) if why.contains("16 requests")));
    let refused = [Publish(1, "a"), No(1, "NetStream.Publish.BadName")].repeat(40);
    assert_eq!(found(&[&refused[..], &[Play(1, "b"), Yes(1, Viewer)]].concat()), role(Viewer, "live/b"));
}

/// A request as bytes: the answer to it belongs to it, although it cannot be read.
#[test]
fn a_request_that_is_not_understood_is_answered_in_its_turn() {
    let mut said = Said::new();
    let unread = [&b"\x02\x00\x07publish"[..], &[0; 9], &[5, 5]].concat();
    let mut bytes = Vec::new();
    let header = Header { chunk_stream: 3, kind: kind::COMMAND_AMF0, stream_id: 1, timestamp: 0 };
    said.writers[0].write(header, &unread, &mut bytes).unwrap();
    assert_eq!(said.bytes(ToServer, &bytes), Finding::Open);
    assert_eq!(said.publish(1, "b"), Finding::Open);
    let Finding::Nothing(why) = said.status(1, "NetStream.Publish.Start") else { panic!() };
    assert!(why.contains("`publish` without its stream name"), "{why}");
}

#[test]
fn what_cannot_be_told_to_agents_is_nothing() {
    for (app, name, expected) in [
        ("live", &b"mp4:film/one.mp4"[..], "live/mp4:film/one.mp4"),
        ("live?key=SECRET", b"a:b?key=SECRET", "\"live/a:b\" cannot"),
        ("live", b"/hb", "byte 0x2f at offset 5"),
        ("live", b"h\xe9", "byte 0xe9 at offset 6"),
        ("", b"hb", "no `connect` with an app"),
    ] {
        let mut said = Said::in_app(app);
        said.command(ToServer, 1, &Command::Play { transaction: 0.0, name: name.to_vec() });
        let Finding::Nothing(why) = said.status(1, "NetStream.Play.Start") else { panic!("{app}") };
        assert!(why.contains(expected) && !why.contains("SECRET"), "{why}");
        assert!(said.watch.is_rtmp());
    }
}

#[test]
fn long_messages_and_many_chunk_streams_do_not_matter() {
    let mut said = Said::new();
    let mut bytes = Vec::new();
    for chunk_stream in 4..33 {
        let header = Header { chunk_stream, kind: kind::DATA_AMF0, stream_id: 1, timestamp: 0 };
        said.writers[0].write(header, &[0; 5000], &mut bytes).unwrap();
    }
    let header = |kind| Header { chunk_stream: 3, kind, stream_id: 1, timestamp: 0 };
    said.writers[0].write(header(kind::COMMAND_AMF0), &[2; 9000], &mut bytes).unwrap();
    let connect = Command::Connect { transaction: 1.0, app: "live".into(), tc_url: Some(vec![b'x'; 20_000]) };
    said.writers[0].write(header(kind::COMMAND_AMF0), &connect.emit(), &mut bytes).unwrap();
    assert_eq!(said.bytes(ToServer, &bytes), Finding::Open);
    said.play(1, "hb");
    assert_eq!(said.status(1, "NetStream.Play.Start"), role(Part::Viewer, "live/hb"));
}

#[test]
fn media_before_the_answer() {
    let video = Header { chunk_stream: 4, kind: kind::VIDEO, stream_id: 1, timestamp: 0 };
    let mut bytes = Vec::new();
    Writer::new().write(video, &[0x17; 300], &mut bytes).unwrap();
    let mut said = Said::new();
    said.publish(1, "hb");
    assert_eq!(said.bytes(ToServer, &bytes), Finding::Open, "the client is early");
    assert_eq!(said.status(1, "NetStream.Publish.Start"), role(Part::Broadcaster, "live/hb"));
    let mut said = Said::new();
    assert!(matches!(said.bytes(ToClient, &bytes), Finding::Nothing(_)));
    let mut said = Said::new();
    let count = (0..2000).take_while(|_| said.bytes(ToServer, &bytes) == Finding::Open).count();
    assert!((700..900).contains(&count), "{count}");
}

/// It failed before a message could be read: who else may it be than a client of a server?
#[test]
fn what_begins_as_rtmp_is_rtmp() {
    for (first, expected) in [(3, true), (6, true), (b'G', false), (b'P', false), (0x16, false)] {
        let mut watch = Watch::new();
        assert!(watch.is_rtmp() && !watch.has_begun());
        let mut payload = vec![first];
        payload.resize(3073, 0);
        payload.extend([2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0]); // a chunk size of 0
        let finding = watch.push(ToServer, &Segment { seq: 0, syn: false, fin: false, payload: &payload, time: 0 });
        assert!(matches!(finding, Finding::Nothing(_)));
        assert_eq!((watch.is_rtmp(), watch.has_begun()), (expected, true), "{first}");
    }
}

#[test]
fn bytes_that_passed_unseen_are_noticed() {
    let syn = |seq| Segment { seq, syn: true, fin: false, payload: &[], time: 0 };
    let data = |seq, fin| Segment { seq, syn: false, fin, payload: &[3; 100], time: 0 };
    let mut watch = Watch::new();
    assert!(!watch.has_missed(ToClient, 500), "nothing was seen");
    watch.push(ToServer, &syn(u32::MAX - 50));
    watch.push(ToClient, &syn(999));
    let at = |bytes: u32| (u32::MAX - 49).wrapping_add(bytes);
    watch.push(ToServer, &data(at(0), false));
    for (ack, expected) in [(at(0), false), (at(100), false), (at(101), false), (at(102), true), (at(1 << 30), false)]
    {
        assert_eq!(watch.has_missed(ToClient, ack), expected);
    }
    assert!(!watch.has_missed(ToServer, 1000) && watch.has_missed(ToServer, 1100));
    assert!(!watch.has_gap());
    watch.push(ToServer, &data(at(200), true));
    watch.push(ToClient, &Segment { fin: true, ..data(1000, true) });
    assert!(watch.has_missed(ToClient, at(300)) && watch.has_gap());
    assert!(watch.has_end() && !watch.is_over());
}

#[test]
fn what_is_not_rtmp_is_nothing() {
    let mut watch = Watch::new();
    let payload = b"GET / HTTP/1.1\r\n\r\n";
    let finding = watch.push(ToServer, &Segment { seq: 0, syn: false, fin: false, payload, time: 0 });
    assert!(matches!(finding, Finding::Nothing(_)));
    assert!(!watch.is_rtmp());
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
