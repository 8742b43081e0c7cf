//! What it gains to pass pictures on before they are whole, where uplinks are slow: a tree of real agents, three
//! deep, on links of 2 Mbit/s, from which number of bytes on and not at all, side by side.
//!
//! `cargo test --release -p live-agent --test uplinks -- --ignored --nocapture` (root, iproute2, ethtool).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod stage;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use livectl_wire::agent_event::Event;
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader};
use livectl_wire::peer::{Answer, emit_request};

use stage::parent::{END_OF_STREAM, Parent, Tag};
use stage::{Agent, Stage};

/// Where the three serve that have children; each sends so much.
const HOSTS: [&str; 3] = ["127.0.2.1", "127.0.2.2", "127.0.2.3"];
const UPLINK: &str = "2mbit";
const SETTINGS: [&str; 5] = ["off", "8k", "4k", "2k", "1434"];
static SETTING_UP: Mutex<()> = Mutex::new(());
const ROUNDS: usize = 4;
const FRAMES: u32 = 480;
const INTERVAL: Duration = Duration::from_micros(33_333);

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

/// A network of this thread's own, and of all that it starts, where each host's packets wait for its own uplink. It
/// is gone with them.
fn network() {
    // SAFETY: a system call.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
    run("ip link set lo up mtu 1500");
    // Packets of a link, not of a loopback.
    run("ethtool -K lo tso off gso off gro off");
    run("ip link set lo gso_max_segs 1");
    run("tc qdisc add dev lo root handle 1: htb");
    for (n, host) in (1..).zip(HOSTS) {
        run(&format!(
            "tc class add dev lo parent 1: classid 1:{n} htb rate {UPLINK} burst 1600 cburst 1600 quantum 1514"
        ));
        run(&format!("tc qdisc add dev lo parent 1:{n} pfifo limit 1000"));
        run(&format!("tc filter add dev lo parent 1: protocol ip u32 match ip src {host}/32 flowid 1:{n}"));
    }
}

/// This thread does not wait for other programs.
fn prefer_this_thread() {
    let parameters = libc::sched_param { sched_priority: 3 };
    // SAFETY: `parameters` lives until the call returns.
    assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) }, 0);
}

/// A child that notes when each picture is whole, until the stream ends.
fn leaf(parent: SocketAddrV4) -> JoinHandle<BTreeMap<u32, Instant>> {
    let mut connection = TcpStream::connect(parent).unwrap();
    connection.write_all(emit_request(&"live/hb".parse().unwrap()).as_bytes()).unwrap();
    std::thread::spawn(move || {
        prefer_this_thread();
        let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        let consumed = loop {
            if let Some(Answer::Stream { consumed, .. }) = Answer::parse(&received).unwrap() {
                break consumed;
            }
            let count = connection.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..count]);
        };
        let (mut reader, mut whole) = (Reader::new(MAX_PAYLOAD), BTreeMap::new());
        let mut bytes = received.split_off(consumed);
        let mut ended = false;
        loop {
            let now = Instant::now();
            let read = reader.push(&bytes, |tag| {
                ended |= tag.payload == END_OF_STREAM;
                if matches!(tag.content(), Content::Picture { .. }) {
                    assert!(whole.insert(tag.timestamp, now).is_none(), "{} came twice", tag.timestamp);
                }
            });
            read.unwrap();
            if ended {
                return whole;
            }
            match connection.read(&mut buffer).unwrap() {
                0 => panic!("left before the end"),
                count => bytes = buffer[..count].to_vec(),
            }
        }
    })
}

/// What the largest pictures have, in bytes: of two seconds one is a keyframe, and two more are larger than the
/// others, which are of one to three packets.
#[derive(Clone, Copy)]
struct Sizes {
    keyframe: usize,
    large: usize,
    middle: usize,
    /// Of the others, the least.
    least: usize,
}

/// 450 kbit/s each.
const STREAMS: [Sizes; 3] = [
    Sizes { keyframe: 30_000, large: 12_000, middle: 6_000, least: 500 },
    Sizes { keyframe: 12_000, large: 6_000, middle: 4_500, least: 850 },
    Sizes { keyframe: 6_000, large: 4_500, middle: 3_500, least: 950 },
];

impl Sizes {
    fn of(self, n: u32) -> usize {
        match n % 60 {
            0 => self.keyframe,
            20 => self.large,
            40 => self.middle,
            rest => self.least + (rest as usize * 7919) % 1500 + if rest % 7 == 0 { 1500 } else { 0 },
        }
    }
}

/// How long each picture takes until it is whole at each depth, in milliseconds, by its size; and what part of a
/// processor each viewer's agent takes.
fn delays(sizes: Sizes, setting: &str) -> ([Vec<(usize, f64)>; 3], f64) {
    // A program that another thread starts at the wrong moment would keep a port that is to be free.
    let setting_up = SETTING_UP.lock().unwrap();
    network();
    let stage = Stage::new();
    let parent = Parent::at(HOSTS[0], 0);
    let (mut viewers, mut players, mut leaves) =
        (Vec::<Agent>::new(), Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    let mut above = parent.address;
    for (depth, host) in (1..).zip(HOSTS[1..].iter()) {
        leaves[depth - 1].push(leaf(above));
        let (peer, serve) = (above.to_string(), format!("{host}:0"));
        let args =
            ["--peer", &peer, "--serve", &serve, "--admit-all", "--peer-lag", "5000", "--cut-through", setting];
        let mut viewer = stage.viewer(&args);
        players.push(stage.mplayer(&format!("player-{depth}"), viewer.listen));
        viewer.until("its parent", |e| matches!(e, Event::PeerConnected { .. }));
        viewer.until("the CDN is silenced", |e| matches!(e, Event::CdnLeft { .. }));
        above = viewer.peers.unwrap();
        viewers.push(viewer);
    }
    leaves[1].push(leaf(viewers[0].peers.unwrap()));
    (0..3).for_each(|_| leaves[2].push(leaf(above)));
    for (viewer, children) in viewers.iter_mut().zip([3, 3]) {
        for _ in 0..children {
            viewer.next("a child", |e| matches!(e, Event::PeerJoined { .. }).then_some(()));
        }
    }
    parent.has(2);
    drop(setting_up);
    prefer_this_thread();
    let begun = Instant::now();
    let mut born = BTreeMap::new();
    for n in 0..FRAMES {
        std::thread::sleep((begun + INTERVAL * n).saturating_duration_since(Instant::now()));
        let tag = Tag::picture(n * 100 / 3, n % 60 == 0, sizes.of(n));
        born.insert(tag.timestamp, (n, Instant::now()));
        parent.give(&tag);
    }
    parent.give(&Tag::end(FRAMES * 100 / 3));
    let found = leaves.map(|leaves| {
        let mut found = Vec::new();
        for leaf in leaves {
            let whole = leaf.join().unwrap();
            assert_eq!(whole.len(), born.len(), "everything came, with {setting}");
            // The first is what everyone begins with.
            found.extend(born.iter().skip(60).map(|(timestamp, (n, at))| {
                (sizes.of(*n), whole[timestamp].saturating_duration_since(*at).as_secs_f64() * 1e3)
            }));
        }
        found
    });
    let seconds: f64 = viewers.iter().map(|viewer| viewer.process.cost().0).sum();
    players.iter_mut().for_each(|player| player.succeeds());
    (found, seconds / viewers.len() as f64 / begun.elapsed().as_secs_f64())
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

#[test]
#[ignore = "takes four minutes, and wants the machine to itself"]
fn side_by_side() {
    STREAMS.into_iter().for_each(compare);
}

fn compare(sizes: Sizes) {
    let mut busy = [0.0; SETTINGS.len()];
    let mut of: BTreeMap<(usize, usize), Vec<(usize, f64)>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        // All at once, so that all suffer alike from whatever else the machine does.
        let trees: Vec<_> =
            SETTINGS.iter().map(|setting| std::thread::spawn(move || delays(sizes, setting))).collect();
        for (n, tree) in trees.into_iter().enumerate() {
            let (found, share) = tree.join().unwrap();
            busy[n] += share / ROUNDS as f64;
            for (depth, found) in found.into_iter().enumerate() {
                of.entry((depth + 1, n)).or_default().extend(found);
            }
        }
    }
    let Sizes { keyframe, large, middle, .. } = sizes;
    println!(
        "depth  from  p50 of {keyframe:7} {large:8} {middle:8} others: p50      p95    all: p50     p95     p99 (ms)"
    );
    for ((depth, setting), found) in &of {
        let sized = |is: &dyn Fn(usize) -> bool, share| {
            quantile(found.iter().filter(|(size, _)| is(*size)).map(|(_, ms)| *ms).collect(), share)
        };
        let small = |size: usize| size < middle;
        println!(
            "{depth:5}  {:5} {:13.1} {:8.1} {:8.1} {:11.1} {:8.1} {:11.1} {:7.1} {:7.1}",
            SETTINGS[*setting],
            sized(&|size| size == keyframe, 0.5),
            sized(&|size| size == large, 0.5),
            sized(&|size| size == middle, 0.5),
            sized(&small, 0.5),
            sized(&small, 0.95),
            sized(&|_| true, 0.5),
            sized(&|_| true, 0.95),
            sized(&|_| true, 0.99),
        );
    }
    for (setting, share) in SETTINGS.iter().zip(busy) {
        println!("{setting}: a viewer's agent takes {:.2} % of a processor", share * 100.0);
    }
    let keyframes = |setting| {
        let found = of[&(3, setting)].iter().filter(|(size, _)| *size == keyframe).map(|(_, ms)| *ms).collect();
        quantile(found, 0.5)
    };
    assert!(keyframes(2) < keyframes(0), "keyframes are sooner at the third host than without it");
}
