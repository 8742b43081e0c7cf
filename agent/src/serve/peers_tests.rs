#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::net::SocketAddr;

use livectl_wire::flv::{Content, Reader};
use livectl_wire::frame::FrameId;
use livectl_wire::peer::{Answer, Since, emit_request};

use super::super::queue::IDLE;
use super::*;

struct Bench {
    peers: Arc<Peers>,
    address: SocketAddr,
    service: tokio::task::JoinHandle<()>,
}

async fn bench() -> Bench {
    bench_with(Limits { span: Duration::from_secs(30), admit_all: false, lag: None }).await
}

async fn bench_with(limits: Limits) -> Bench {
    let peers = Arc::new(Peers::new("live/hb".parse().unwrap(), limits));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tokio::spawn(serve(Arc::clone(&peers), listener, Duration::from_secs(5)));
    Bench { peers, address, service }
}

fn payload(timestamp: u32, keyframe: bool, size: usize) -> Vec<u8> {
    let mut payload = vec![timestamp as u8; size];
    payload[0] = if keyframe { 0x12 } else { 0x22 };
    payload
}

fn send(peers: &Peers, timestamp: u32, keyframe: bool, size: usize) {
    send_born(peers, timestamp, keyframe, size, i64::from(timestamp) * 1_000_000);
}

fn send_born(peers: &Peers, timestamp: u32, keyframe: bool, size: usize, birth_ns: i64) {
    let payload = payload(timestamp, keyframe, size);
    let mut bytes = Vec::new();
    flv::tag(TagKind::Video, timestamp, &payload, &mut bytes).unwrap();
    let (kind, content) = (TagKind::Video, Content::of(TagKind::Video, &payload));
    let id = FrameId::of(&payload);
    peers.send(Entry { kind, content, timestamp, id, birth_ns, bytes: bytes.into() });
}

async fn ask(address: SocketAddr, stream: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(emit_request(&stream.parse().unwrap()).as_bytes()).await.unwrap();
    connection
}

async fn ask_since(address: SocketAddr, since: Since) -> TcpStream {
    let request = Request { stream: "live/hb".parse().unwrap(), since, live: false };
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.emit().as_bytes()).await.unwrap();
    connection
}

async fn rest(mut connection: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), connection.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

fn timestamps(bytes: &[u8]) -> Vec<u32> {
    let Some(Answer::Stream { gap: Some(_), consumed }) = Answer::parse(bytes).unwrap() else { panic!("refused") };
    let mut found = Vec::new();
    let mut reader = Reader::new(1 << 20);
    let read = reader.push(&bytes[consumed..], |tag| {
        if tag.payload != IDLE {
            found.push(tag.timestamp);
        }
    });
    read.unwrap();
    assert_eq!(reader.tail(), None);
    found
}

async fn joined(peers: &Peers, count: usize) {
    let mut served = peers.served.subscribe();
    tokio::time::timeout(Duration::from_secs(5), served.wait_for(|served| served.len() == count))
        .await
        .unwrap()
        .unwrap();
}

/// Bytes that wait for the peer that joined last.
fn waiting(peers: &Peers) -> u64 {
    peers.live().queues.last().map_or(0, |queue| queue.progress.waiting.load(Ordering::Relaxed))
}

#[tokio::test]
async fn held_until_introduced_then_everything_from_the_last_keyframe_to_the_end() {
    let Bench { peers, address, service } = bench().await;
    let early = ask(address, "live/hb").await;
    for (timestamp, keyframe) in [(0, true), (33, false), (66, true), (100, false)] {
        send(&peers, timestamp, keyframe, 1000);
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), early.readable()).await.is_err(),
        "nothing before the introduction"
    );
    peers.introduce(Ipv4Addr::LOCALHOST);
    joined(&peers, 1).await;
    send(&peers, 133, false, 1000);
    let late = ask(address, "live/hb").await;
    joined(&peers, 2).await;
    send(&peers, 166, true, 1000);
    peers.end(200);
    assert_eq!(timestamps(&rest(early).await), [66, 100, 133, 166, 200]);
    assert_eq!(timestamps(&rest(late).await), [66, 100, 133, 166, 200]);
    let refused = rest(ask(address, "live/hb").await).await;
    assert_eq!(refused, b"livectl/1 error the stream has ended\n");
    service.abort();
}

#[tokio::test]
async fn after_the_end_who_came_before_it_is_given_what_is_kept_and_nobody_else() {
    let Bench { peers, address, service } = bench().await;
    let now_ns = now_ns();
    for (n, keyframe) in [true, false, true, false].into_iter().enumerate() {
        let n = n as u32;
        send_born(&peers, n * 100, keyframe, 1000, now_ns + i64::from(n) * 100_000_000 - 10_000_000_000);
    }
    peers.end(400);
    let unknown = rest(ask_since(address, Since::Waiting(60_000)).await).await;
    assert_eq!(unknown, b"livectl/1 error the stream has ended\n", "the network has not named it");
    peers.introduce(Ipv4Addr::LOCALHOST);
    let waiting = ask_since(address, Since::Waiting(60_000)).await;
    assert_eq!(timestamps(&rest(waiting).await), [0, 100, 200, 300, 400], "it waits for a minute");
    let waiting = ask_since(address, Since::Waiting(9_750)).await;
    assert_eq!(timestamps(&rest(waiting).await), [200, 300, 400], "from the keyframe before it came");
    let id = FrameId::of(&payload(200, true, 1000));
    let after = ask_since(address, Since::After { timestamp: 200, id }).await;
    assert_eq!(timestamps(&rest(after).await), [300, 400]);
    for since in [Since::Keyframe, Since::Waiting(5_000)] {
        let refused = rest(ask_since(address, since).await).await;
        assert_eq!(refused, b"livectl/1 error the stream has ended\n", "it came when nothing was broadcast");
    }
    joined(&peers, 0).await;
    service.abort();
}

#[tokio::test]
async fn who_was_introduced_is_expected_for_a_while() {
    let Bench { peers, address, service } = bench().await;
    assert_eq!(peers.expected(Instant::now()), 0);
    let mut expectations = peers.expectations();
    peers.introduce(Ipv4Addr::LOCALHOST);
    assert!(expectations.has_changed().unwrap());
    expectations.mark_unchanged();
    assert_eq!(peers.expected(Instant::now()), 1);
    assert_eq!(peers.expected(Instant::now() + EXPECTED_WITHIN), 0, "it is not coming");
    let _connection = ask(address, "live/hb").await;
    tokio::time::timeout(Duration::from_secs(5), expectations.changed()).await.unwrap().unwrap();
    assert_eq!((peers.expected(Instant::now()), peers.served()), (0, 1));
    service.abort();
}

#[tokio::test]
async fn who_is_there_before_it_is_introduced_is_not_expected() {
    let Bench { peers, address, service } =
        bench_with(Limits { span: Duration::from_secs(30), admit_all: true, lag: None }).await;
    let connection = ask(address, "live/hb").await;
    let mut served = peers.served.subscribe();
    tokio::time::timeout(Duration::from_secs(5), served.wait_for(|served| !served.is_empty()))
        .await
        .unwrap()
        .unwrap();
    peers.introduce(Ipv4Addr::LOCALHOST);
    assert_eq!((peers.expected(Instant::now()), peers.served()), (0, 1), "the upload need not make way for it");
    drop(connection);
    tokio::time::timeout(Duration::from_secs(5), peers.all_left()).await.unwrap();
    service.abort();
}

#[tokio::test]
async fn refusals_say_why() {
    let Bench { address, service, .. } = bench().await;
    let refused = rest(ask(address, "live/other").await).await;
    assert_eq!(refused, b"livectl/1 error it asked for live/other, which is not broadcast here\n");
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let refused = String::from_utf8(rest(connection).await).unwrap();
    assert!(refused.starts_with("livectl/1 error not a request: byte 0 differs"), "{refused}");
    service.abort();
}

#[tokio::test]
async fn a_peer_that_never_reads_is_dropped_and_holds_up_nobody() {
    let Bench { peers, address, service } = bench().await;
    peers.introduce(Ipv4Addr::LOCALHOST);
    let _stuck = ask(address, "live/hb").await;
    joined(&peers, 1).await;
    let good = ask(address, "live/hb").await;
    joined(&peers, 2).await;
    let reading = tokio::spawn(rest(good));
    for timestamp in 0..120 {
        send(&peers, timestamp, timestamp == 0, 1 << 20);
        // The good one keeps up, however slow the machine is.
        while waiting(&peers) > 8 << 20 {
            tokio::task::yield_now().await;
        }
    }
    joined(&peers, 1).await;
    peers.end(120);
    assert_eq!(timestamps(&reading.await.unwrap()), (0..=120).collect::<Vec<_>>());
    service.abort();
}

#[tokio::test]
async fn one_that_lags_is_dropped_and_its_sibling_is_not() {
    let lag = Some(Duration::from_millis(200));
    let bench = bench_with(Limits { span: Duration::from_secs(30), admit_all: true, lag }).await;
    let mut lazy = ask(bench.address, "live/hb").await;
    joined(&bench.peers, 1).await;
    let eager = tokio::spawn(rest(ask(bench.address, "live/hb").await));
    joined(&bench.peers, 2).await;
    send(&bench.peers, 0, true, 1000);
    // It has caught up, and takes nothing any more.
    lazy.read_exact(&mut [0; 1000]).await.unwrap();
    let mut served = bench.peers.served.subscribe();
    let gone = served.wait_for(|served| served.len() == 1);
    let fill = async {
        for timestamp in 1u32.. {
            // More than the kernel's buffers take in a second.
            send(&bench.peers, timestamp, false, 400_000);
            tokio::time::sleep(Duration::from_millis(33)).await;
        }
    };
    let dropped = async {
        tokio::select! {
            gone = gone => gone.is_ok(),
            () = fill => false,
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(4), dropped).await.unwrap());
    bench.peers.end(100_000);
    let found = timestamps(&eager.await.unwrap());
    assert!(found.len() > 3 && found.windows(2).all(|pair| pair[0] < pair[1]));
    drop(lazy);
    bench.service.abort();
}

#[tokio::test]
async fn one_that_stands_by_is_served_when_it_asks_and_abandoned_ones_are_told() {
    let bench = bench().await;
    bench.peers.introduce(Ipv4Addr::LOCALHOST);
    let mut standby = TcpStream::connect(bench.address).await.unwrap();
    for timestamp in 0..3 {
        send(&bench.peers, timestamp * 33, timestamp == 0, 100);
    }
    assert_eq!(bench.peers.expected(Instant::now()), 1);
    let nothing = tokio::time::timeout(STANDS_BY_AFTER + Duration::from_millis(300), standby.read(&mut [0; 1])).await;
    assert!(nothing.is_err(), "it is silent as long as it is not asked");
    assert_eq!(bench.peers.expected(Instant::now()), 0, "and not expected any more");
    standby.write_all(emit_request(&"live/hb".parse().unwrap()).as_bytes()).await.unwrap();
    joined(&bench.peers, 1).await;
    // For more than a tenth of a second there is nothing, which it says, and says again.
    let mut bytes = Vec::new();
    while bytes.windows(IDLE.len()).filter(|part| *part == IDLE).count() < 2 {
        assert!(
            tokio::time::timeout(Duration::from_secs(5), standby.read_buf(&mut bytes)).await.unwrap().unwrap() > 0
        );
    }
    bench.peers.abandon();
    bytes.extend(rest(standby).await);
    let Some(Answer::Stream { consumed, .. }) = Answer::parse(&bytes).unwrap() else { panic!("refused") };
    let mut payloads = Vec::new();
    Reader::new(1 << 20).push(&bytes[consumed..], |tag| payloads.push(tag.payload.to_vec())).unwrap();
    assert_eq!(payloads.iter().filter(|payload| payload.len() == 100).count(), 3);
    assert!(!payloads.iter().any(|payload| payload == END_OF_STREAM));
    bench.service.abort();
}

/// Of a large picture, these bytes of its payload.
fn send_part(peers: &Peers, timestamp: u32, range: std::ops::Range<usize>) {
    let payload = payload(timestamp, true, LARGE);
    let (kind, size, at) = (TagKind::Video, payload.len(), range.start);
    peers.send_part(&Part { kind, timestamp, size, at, bytes: &payload[range] }, true);
}

/// Bytes of the pictures that come in parts.
const LARGE: usize = 10_000;

/// A peer, and all that it has been given.
struct Child(TcpStream, Vec<u8>);

impl Child {
    /// One that has caught up with the only tag so far.
    async fn of(bench: &Bench) -> Self {
        let mut child = Self(ask(bench.address, "live/hb").await, Vec::new());
        joined(&bench.peers, 1).await;
        send(&bench.peers, 0, true, 1000);
        child.until(|tags, _| tags == 1).await;
        let idle = || bench.peers.live().queues.iter().all(Queue::is_idle);
        while !idle() {
            tokio::task::yield_now().await;
        }
        child
    }

    /// Reads until that is so of the number of whole tags, and of the bytes that are there of the next one's payload.
    async fn until(&mut self, is: impl Fn(usize, usize) -> bool) {
        let Self(connection, received) = self;
        let come = async {
            loop {
                if let Some(Answer::Stream { consumed, .. }) = Answer::parse(received).unwrap() {
                    let (mut reader, mut tags) = (Reader::new(1 << 20), 0);
                    reader.push(&received[consumed..], |tag| tags += usize::from(tag.payload != IDLE)).unwrap();
                    if is(tags, reader.begun().map_or(0, |begun| begun.payload.len())) {
                        return;
                    }
                }
                assert!(connection.read_buf(received).await.unwrap() > 0);
            }
        };
        tokio::time::timeout(Duration::from_secs(5), come).await.unwrap();
    }

    /// Everything, to the end of the connection.
    async fn all(self) -> Vec<u8> {
        let Self(connection, mut received) = self;
        received.extend(rest(connection).await);
        received
    }
}

#[tokio::test]
async fn a_tag_in_parts_comes_to_those_that_had_all_before_it_and_whole_to_all_others() {
    let bench = bench_with(Limits { admit_all: true, ..Limits::default() }).await;
    let mut early = Child::of(&bench).await;
    send_part(&bench.peers, 33, 0..5000);
    early.until(|tags, begun| tags == 1 && (4936..5000).contains(&begun)).await;
    let late = ask(bench.address, "live/hb").await;
    joined(&bench.peers, 2).await;
    send_part(&bench.peers, 33, 5000..9000);
    // What somebody else gives of it once more.
    send_part(&bench.peers, 33, 0..9000);
    early.until(|tags, begun| tags == 1 && (8936..9000).contains(&begun)).await;
    // Nothing can be said within a tag; a few bytes of it say that this agent is there.
    early.until(|tags, begun| tags == 1 && begun > 8938).await;
    assert_eq!(bench.peers.live().queues.iter().map(Queue::is_within).collect::<Vec<_>>(), [true, false]);
    send(&bench.peers, 33, true, LARGE);
    send(&bench.peers, 66, false, 1000);
    bench.peers.end(100);
    assert_eq!(timestamps(&early.all().await), [0, 33, 66, 100]);
    assert_eq!(timestamps(&rest(late).await), [0, 33, 66, 100]);
    bench.service.abort();
}

#[tokio::test]
async fn who_has_the_beginning_of_a_tag_that_does_not_go_on_is_let_go() {
    for how in ["another tag", "the end", "nothing more"] {
        let bench = bench_with(Limits { admit_all: true, ..Limits::default() }).await;
        let mut child = Child::of(&bench).await;
        send_part(&bench.peers, 33, 0..5000);
        child.until(|_, begun| begun > 0).await;
        match how {
            "another tag" => send(&bench.peers, 33, true, 9000),
            "the end" => bench.peers.end(100),
            _ => bench.peers.abandon(),
        }
        let received = child.all().await;
        let Some(Answer::Stream { consumed, .. }) = Answer::parse(&received).unwrap() else { panic!("refused") };
        let (mut reader, mut found) = (Reader::new(1 << 20), Vec::new());
        reader.push(&received[consumed..], |tag| found.push(tag.timestamp)).unwrap();
        assert_eq!(found, [0], "{how}");
        assert!(reader.begun().is_some_and(|begun| begun.payload.len() < LARGE), "{how}");
        bench.service.abort();
    }
}

#[tokio::test]
async fn one_for_which_something_waits_is_given_the_next_tag_when_it_is_whole() {
    let bench = bench_with(Limits { admit_all: true, ..Limits::default() }).await;
    let child = Child::of(&bench).await;
    send(&bench.peers, 33, false, 1000);
    send_part(&bench.peers, 66, 0..5000);
    assert!(!bench.peers.live().queues.iter().any(Queue::is_within), "its task has not had a turn");
    send_part(&bench.peers, 66, 5000..9000);
    send(&bench.peers, 66, true, LARGE);
    bench.peers.end(100);
    assert_eq!(timestamps(&child.all().await), [0, 33, 66, 100]);
    bench.service.abort();
}
