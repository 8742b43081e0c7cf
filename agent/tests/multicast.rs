//! A stream that is sent to a group, with real programs on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod stage;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use livectl_wire::agent_event::{Event, Leaving, Path};
use livectl_wire::datagram;
use livectl_wire::flv::TagKind;
use livectl_wire::heartbeat::{News, PeerRole};

use stage::introducer::Introducer;
use stage::{Agent, Clip, FLV1, H264, Running, Stage};

/// A group that no other test uses.
fn group() -> SocketAddrV4 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id() << 8 | NEXT.fetch_add(1, Ordering::SeqCst) & 0xff;
    SocketAddrV4::new(Ipv4Addr::from(0xefc0_0000 | own & 0x1f_ffff), datagram::PORT)
}

fn is_handover(event: &Event, path: Path) -> bool {
    matches!(event, Event::Handover { to, .. } if *to == path)
}

fn playing(viewer: &mut Agent) {
    viewer.until("consent to the play", |e| matches!(e, Event::PlayAccepted { .. }));
}

/// What is told of a group at its end: tags, lost tags, datagrams, lost datagrams.
fn left(agent: &mut Agent, of: SocketAddrV4) -> (u64, Option<u64>, u64, u64) {
    agent.find("the end of the group", |e| match e {
        Event::GroupLeft { group, tags, lost_tags, datagrams, lost } if *group == of => {
            Some((*tags, *lost_tags, *datagrams, *lost))
        }
        _ => None,
    })
}

/// A broadcaster and its network, and a viewer that plays, with a network of its own.
struct Cast {
    near: Introducer,
    broadcaster: Agent,
    far: Introducer,
    viewer: Agent,
    player: Running,
}

impl Cast {
    fn new(stage: &Stage) -> Self {
        let (near, far) = (Introducer::new(), Introducer::new());
        let broadcaster = stage.broadcaster(&["--once", "--notify", &near.address.to_string()]);
        let notify = far.address.to_string();
        let mut viewer =
            stage.viewer(&["--once", "--notify", &notify, "--peer-silence", "0.5", "--end-padding", "2048"]);
        near.has(1);
        far.has(1);
        let player = stage.mplayer("player", viewer.listen);
        playing(&mut viewer);
        Self { near, broadcaster, far, viewer, player }
    }

    fn begins(&mut self, stage: &Stage, clip: Clip) -> Running {
        let program = stage.program("program", self.broadcaster.listen, "hb", clip);
        self.broadcaster.until("the first frame", |e| matches!(e, Event::BirthFirst { .. }));
        program
    }

    fn ends(&mut self, program: &mut Running) {
        program.succeeds();
        self.broadcaster.ends();
        self.player.succeeds();
        self.viewer.ends();
    }
}

/// Passes on what is sent to a group, to another group, as long as it is told to; `fate` says how often each datagram
/// is.
struct Passing {
    passes: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
}

impl Passing {
    fn new(from: SocketAddrV4, to: SocketAddrV4, fate: impl Fn(u32) -> u32 + Send + 'static) -> Self {
        let passing = Self { passes: Arc::new(AtomicBool::new(true)), ends: Arc::default() };
        let near = UdpSocket::bind(from).unwrap();
        near.join_multicast_v4(from.ip(), &Ipv4Addr::LOCALHOST).unwrap();
        near.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (passes, ends) = (Arc::clone(&passing.passes), Arc::clone(&passing.ends));
        std::thread::spawn(move || {
            let far = UdpSocket::bind("127.0.0.1:0").unwrap();
            far.connect(to).unwrap();
            let mut bytes = [0; 2000];
            let mut number = 0;
            while !ends.load(Ordering::SeqCst) {
                let Ok(len) = near.recv(&mut bytes) else { continue };
                if passes.load(Ordering::SeqCst) {
                    // The end is told, whatever happens to the rest.
                    let times = if bytes[24] == 0 { 1 } else { fate(number) };
                    (0..times).for_each(|_| drop(far.send(&bytes[..len])));
                    number += 1;
                }
            }
        });
        passing
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

#[test]
fn every_frame_comes_to_each_member_once_and_is_sent_once() {
    for clip in [FLV1, H264] {
        let stage = Stage::new();
        let (near, far) = (Introducer::new(), Introducer::new());
        let (notify, group) = (far.address.to_string(), group());
        let mut broadcaster = stage.broadcaster(&["--once", "--notify", &near.address.to_string()]);
        let names = ["first", "second", "third"];
        let mut viewers: Vec<Agent> =
            names.iter().map(|_| stage.viewer(&["--once", "--notify", &notify, "--end-padding", "2048"])).collect();
        far.has(3);
        near.has(1);
        let mut players: Vec<Running> =
            names.iter().zip(&viewers).map(|(name, viewer)| stage.mplayer(name, viewer.listen)).collect();
        viewers.iter_mut().for_each(playing);
        let mut program = stage.program("program", broadcaster.listen, "hb", clip);
        broadcaster.until("the first frame", |e| matches!(e, Event::BirthFirst { .. }));
        far.introduce(PeerRole::Group, group);
        for viewer in &mut viewers {
            viewer.until("that it has joined", |e| matches!(e, Event::GroupJoined { .. }));
        }
        // It begins with what was born before it was told.
        near.introduce(PeerRole::Group, group);
        for viewer in &mut viewers {
            viewer.until("the handover", |e| is_handover(e, Path::Peer));
        }
        program.succeeds();
        broadcaster.ends();
        players.iter_mut().for_each(Running::succeeds);
        let (sent, _, datagrams, refused) = left(&mut broadcaster, group);
        assert_eq!(refused, 0);
        for (viewer, name) in viewers.iter_mut().zip(names) {
            viewer.ends();
            // A sound that comes before the first picture is kept for nobody.
            let dump = stage.dump(name);
            dump.is_all_of(&stage.births());
            let pictures = dump.elements.iter().filter(|(kind, ..)| *kind == TagKind::Video).count();
            assert_eq!(pictures, 150, "{name}");
            let (tags, lost_tags, came, lost) = left(viewer, group);
            assert_eq!((lost_tags, lost), (Some(0), 0), "{name}");
            assert!((100..=sent).contains(&tags) && came <= datagrams, "{tags} of {sent}, {came} of {datagrams}");
            assert!(viewer.has(|e| matches!(e, Event::CdnLeft { how: Leaving::Paused })));
            assert!(
                !viewer.has(|e| matches!(e, Event::Jump { .. } | Event::PeerLost { .. } | Event::TagsLost { .. }))
            );
        }
    }
}

#[test]
fn a_group_that_is_there_before_the_stream_gives_it_from_its_first_frame_on() {
    let stage = Stage::new();
    let mut cast = Cast::new(&stage);
    let group = group();
    cast.near.introduce(PeerRole::Group, group);
    let mut program = stage.program("program", cast.broadcaster.listen, "hb", H264);
    cast.far.introduce(PeerRole::Group, group);
    cast.ends(&mut program);
    stage.dump("player").is_everything_of(&stage.births());
    assert!(cast.viewer.has(|e| is_handover(e, Path::Peer)));
    assert_eq!(left(&mut cast.viewer, group).3, 0);
    let begun = cast.broadcaster.seen.iter().position(|line| matches!(line.event, Event::GroupJoined { .. }));
    let born = cast.broadcaster.seen.iter().position(|line| matches!(line.event, Event::BirthFirst { .. }));
    assert!(begun < born, "the group is there when the first frame is born");
}

#[test]
fn who_joins_late_begins_without_waiting_for_the_cdn_and_misses_nothing_after_that() {
    let stage = Stage::new();
    let mut cast = Cast::new(&stage);
    let (group, mut late) = (group(), stage.viewer(&["--once", "--notify", &cast.far.address.to_string()]));
    cast.far.has(2);
    let mut program = cast.begins(&stage, Clip { frames: 240, ..FLV1 });
    cast.near.introduce(PeerRole::Group, group);
    cast.far.introduce(PeerRole::Group, group);
    cast.viewer.until("the handover", |e| is_handover(e, Path::Peer));
    let mut player = stage.rtmpdump("late", late.listen);
    playing(&mut late);
    cast.far.introduce(PeerRole::Group, group);
    late.until("the handover", |e| is_handover(e, Path::Peer));
    cast.ends(&mut program);
    player.exit();
    late.ends();
    stage.dump("player").is_everything_of(&stage.births());
    let dump = stage.dump("late");
    dump.is_all_of(&stage.births());
    assert_eq!(left(&mut late, group).1, Some(0), "what came before it joined is not lost to it");
}

#[test]
fn what_is_lost_is_told_and_the_rest_goes_on() {
    for clip in [FLV1, H264] {
        let stage = Stage::new();
        let mut cast = Cast::new(&stage);
        let (sent, lossy) = (group(), group());
        // Some are lost, some come twice.
        let _passing = Passing::new(sent, lossy, |number| match number % 37 {
            20 => 0,
            30 => 2,
            _ => 1,
        });
        let mut program = cast.begins(&stage, clip);
        cast.near.introduce(PeerRole::Group, sent);
        cast.far.introduce(PeerRole::Group, lossy);
        cast.viewer.until("the handover", |e| is_handover(e, Path::Peer));
        cast.ends(&mut program);
        let (_, lost_tags, came, lost) = left(&mut cast.viewer, lossy);
        let told: u64 = cast
            .viewer
            .seen
            .iter()
            .map(|line| match line.event {
                Event::TagsLost { tags } => u64::from(tags),
                _ => 0,
            })
            .sum();
        assert!(lost > 3 && lost_tags >= Some(1) && came > 100, "{lost_tags:?} tags, {lost} of {came} datagrams");
        assert_eq!(Some(told), lost_tags);
        // Each loss costs what was lost and nothing else. What was lost before the CDN was left came from there.
        let missing = stage.dump("player").absent_of(&stage.births()) as u64;
        assert!((1..=told).contains(&missing), "{missing} of {told}");
        assert!(!cast.viewer.has(|e| matches!(e, Event::PeerLost { .. })));
    }
}

#[test]
fn a_group_that_falls_silent_is_left_for_the_cdn_and_taken_again_when_it_is_named_again() {
    let stage = Stage::new();
    let mut cast = Cast::new(&stage);
    let (sent, passed) = (group(), group());
    let passing = Passing::new(sent, passed, |_| 1);
    let mut program = cast.begins(&stage, Clip { frames: 360, ..FLV1 });
    cast.near.introduce(PeerRole::Group, sent);
    cast.far.introduce(PeerRole::Group, passed);
    cast.viewer.until("the handover", |e| is_handover(e, Path::Peer));
    passing.passes.store(false, Ordering::SeqCst);
    let why = cast.viewer.find("its loss", |e| match e {
        Event::PeerLost { peer, why } if *peer == passed => Some(why.clone()),
        _ => None,
    });
    assert!(why.starts_with("it sent nothing for 0."), "{why}");
    let lost = News::Lost { peer: passed, stream: "live/hb".parse().unwrap() };
    stage::wait_for("word of it", || cast.far.heard().contains(&lost));
    cast.viewer.until("the CDN goes on", |e| is_handover(e, Path::Cdn));
    passing.passes.store(true, Ordering::SeqCst);
    cast.far.introduce(PeerRole::Group, passed);
    cast.viewer.next("the group again", |e| is_handover(e, Path::Peer).then_some(()));
    cast.ends(&mut program);
    // A CDN that goes on begins with a keyframe.
    let missing = stage.dump("player").absent_of(&stage.births());
    assert!(missing <= 60, "{missing}");
}

#[test]
fn a_broadcaster_that_nobody_listens_to_stops_and_goes_on_when_it_is_told() {
    let stage = Stage::new();
    let mut cast = Cast::new(&stage);
    let group = group();
    let mut program = cast.begins(&stage, Clip { frames: 210, ..FLV1 });
    cast.near.introduce(PeerRole::Group, group);
    cast.near.introduce(PeerRole::Cdn, stage.cdn);
    let (.., refused) = left(&mut cast.broadcaster, group);
    assert_eq!(refused, 0);
    // The stream has not ended with that.
    cast.near.introduce(PeerRole::Group, group);
    cast.broadcaster.next("that it goes on", |e| matches!(e, Event::GroupJoined { .. }).then_some(()));
    cast.far.introduce(PeerRole::Group, group);
    cast.viewer.until("the handover", |e| is_handover(e, Path::Peer));
    cast.ends(&mut program);
    stage.dump("player").is_everything_of(&stage.births());
}

#[test]
fn a_group_of_which_nothing_ever_comes_costs_nothing() {
    let stage = Stage::new();
    let mut cast = Cast::new(&stage);
    cast.far.introduce(PeerRole::Group, group());
    let mut program = stage.program("program", cast.broadcaster.listen, "hb", FLV1);
    cast.viewer.until("its loss", |e| matches!(e, Event::PeerLost { .. }));
    cast.ends(&mut program);
    let missing = stage.dump("player").absent_of(&stage.births());
    assert_eq!(missing, 0, "of what came after its first");
}
