//! Viewers that pass the stream on, with real programs on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod stage;

use std::time::Duration;

use livectl_wire::agent_event::{Event, Path};
use livectl_wire::heartbeat::{News, PeerRole};

use stage::introducer::Introducer;
use stage::relay::Relay;
use stage::{Agent, Clip, FLV1, H264, Running, Stage};

fn playing(viewer: &mut Agent) {
    viewer.until("consent to the play", |e| matches!(e, Event::PlayAccepted { .. }));
}

fn is_handover(event: &Event, path: Path) -> bool {
    matches!(event, Event::Handover { to, .. } if *to == path)
}

/// A broadcaster, a viewer that it serves, and one that may be told by a network of its own from whom it has the
/// stream. Both players play.
struct Family {
    broadcaster: Agent,
    first: Agent,
    first_player: Running,
    network: Introducer,
    second: Agent,
    second_player: Running,
}

impl Family {
    fn of(stage: &Stage) -> Self {
        let broadcaster = stage.broadcaster(&["--admit-all"]);
        let peer = broadcaster.peers.unwrap().to_string();
        let mut first = stage.viewer(&["--peer", &peer, "--serve", "127.0.0.3:0", "--admit-all"]);
        let network = Introducer::new();
        let notify = network.address.to_string();
        let mut second =
            stage.viewer(&["--once", "--notify", &notify, "--peer-silence", "0.3", "--end-padding", "2048"]);
        network.has(1);
        let first_player = stage.mplayer("first", first.listen);
        let second_player = stage.mplayer("second", second.listen);
        playing(&mut first);
        playing(&mut second);
        Self { broadcaster, first, first_player, network, second, second_player }
    }

    /// The second has the stream from the first, and the broadcaster stands by.
    fn introduced(stage: &Stage) -> Self {
        let family = Self::of(stage);
        family.network.introduce(PeerRole::Parent, family.first.peers.unwrap());
        family.network.introduce(PeerRole::Standby, family.broadcaster.peers.unwrap());
        family
    }

    /// Begins a stream of so many frames, and lets the second have it for a while.
    fn stream(&mut self, stage: &Stage, clip: Clip) -> Running {
        let program = stage.program("program", self.broadcaster.listen, "hb", clip);
        self.second.until("the handover", |e| is_handover(e, Path::Peer));
        std::thread::sleep(Duration::from_secs(2));
        program
    }

    /// Waits until the second has lost the first, and says why.
    fn loss(&mut self) -> String {
        let first = self.first.peers.unwrap();
        self.second.find("its loss", |e| match e {
            Event::PeerLost { peer, why } if *peer == first => Some(why.clone()),
            _ => None,
        })
    }

    /// Waits until the broadcaster serves the second.
    fn falls_back(&mut self) {
        let broadcaster = self.broadcaster.peers.unwrap();
        let serves = |e: &Event| matches!(e, Event::PeerConnected { peer, .. } if *peer == broadcaster).then_some(());
        self.second.next("the broadcaster", serves);
    }

    /// The second has everything from the first frame on.
    fn completes(mut self, stage: &Stage, mut program: Running) {
        program.succeeds();
        self.second_player.succeeds();
        self.second.ends();
        stage.dump("second").is_everything_of(&stage.births());
        assert!(!self.second.has(|e| matches!(e, Event::Jump { .. })));
    }
}

#[test]
fn every_frame_comes_to_the_end_of_a_chain_once() {
    for clip in [FLV1, H264] {
        let stage = Stage::new();
        let mut broadcaster = stage.broadcaster(&["--once", "--admit-all"]);
        let mut parent = broadcaster.peers.unwrap();
        let (mut viewers, mut players) = (Vec::new(), Vec::new());
        for name in ["first", "second", "third"] {
            let peer = parent.to_string();
            let viewer = stage.viewer(&["--once", "--peer", &peer, "--serve", "127.0.0.3:0", "--admit-all"]);
            parent = viewer.peers.unwrap();
            players.push(stage.mplayer(name, viewer.listen));
            viewers.push(viewer);
        }
        viewers.iter_mut().for_each(playing);
        let mut program = stage.program("program", broadcaster.listen, "hb", clip);
        program.succeeds();
        broadcaster.ends();
        players.iter_mut().for_each(Running::succeeds);
        for (viewer, name) in viewers.iter_mut().zip(["first", "second", "third"]) {
            viewer.ends();
            let begun = viewer.find("its first keyframe", |e| match e {
                Event::FirstKeyframe { path, .. } => Some(*path),
                _ => None,
            });
            assert_eq!(begun, Path::Peer, "the CDN was silenced before the stream began: {name}");
            assert!(viewer.has(|e| is_handover(e, Path::Peer)), "{name}");
            assert!(!viewer.has(|e| matches!(e, Event::Jump { .. } | Event::PeerLost { .. })), "{name}");
            stage.dump(name).is_everything_of(&stage.births());
        }
        for parent in &viewers[..2] {
            assert!(parent.has(|e| matches!(e, Event::PeerLeft { why: None, .. })), "its child has everything");
        }
    }
}

#[test]
fn a_parent_that_dies_is_replaced_by_the_one_that_stands_by() {
    let stage = Stage::new();
    let mut family = Family::introduced(&stage);
    let program = family.stream(&stage, Clip { frames: 210, ..H264 });
    family.first.process.kill();
    family.loss();
    family.falls_back();
    assert!(!family.second.has(|e| matches!(e, Event::CdnResumed { .. })), "the CDN has not been needed");
    let lost = News::Lost { peer: family.first.peers.unwrap(), stream: "live/hb".parse().unwrap() };
    stage::wait_for("word of it", || family.network.heard().contains(&lost));
    family.completes(&stage, program);
}

#[test]
fn without_one_that_stands_by_whom_the_network_names_in_a_moment_is_waited_for() {
    let stage = Stage::new();
    let mut family = Family::of(&stage);
    family.network.introduce(PeerRole::Parent, family.first.peers.unwrap());
    let program = family.stream(&stage, Clip { frames: 240, ..FLV1 });
    family.first.process.kill();
    family.loss();
    // The CDN goes on with its next keyframe meanwhile, and what lies before that only a peer has.
    family.second.until("the CDN goes on", |e| matches!(e, Event::CdnResumed { .. }));
    std::thread::sleep(Duration::from_millis(1200));
    family.network.introduce(PeerRole::Parent, family.broadcaster.peers.unwrap());
    family.falls_back();
    family.completes(&stage, program);
}

#[test]
fn a_parent_that_is_silent_is_replaced_too_and_one_that_has_nothing_itself_is_waited_for() {
    let stage = Stage::new();
    let mut family = Family::introduced(&stage);
    std::thread::sleep(Duration::from_millis(2500));
    let program = family.stream(&stage, Clip { frames: 270, ..FLV1 });
    // As long as the stream had not begun nobody had anything, which is no reason to leave.
    assert!(!family.second.has(|e| matches!(e, Event::PeerLost { .. })), "{:#?}", family.second.seen);
    // Longer than the silence that is allowed, but the parent says that it is there.
    program.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(700));
    program.signal(libc::SIGCONT);
    std::thread::sleep(Duration::from_secs(1));
    family.first.process.signal(libc::SIGSTOP);
    let why = family.loss();
    assert!(why.starts_with("it sent nothing for 0."), "{why}");
    family.falls_back();
    assert_eq!(family.second.count(|e| matches!(e, Event::PeerLost { .. })), 1, "not while the program stood still");
    family.first.process.kill();
    family.completes(&stage, program);
}

#[test]
fn a_parent_whose_uplink_falls_is_left_by_its_child_for_the_one_that_stands_by() {
    let stage = Stage::new();
    let broadcaster = stage.broadcaster(&["--admit-all"]);
    let peer = broadcaster.peers.unwrap().to_string();
    // It would wait much longer for who cannot keep up.
    let lag = ["--peer-lag", "60000"];
    let serves = ["--peer", &peer, "--serve", "127.0.0.3:0", "--admit-all"];
    let mut first = stage.viewer(&[&serves[..], &lag].concat());
    let way = Relay::new(first.peers.unwrap(), Duration::ZERO);
    let network = Introducer::new();
    let notify = network.address.to_string();
    let end = ["--end-padding", "2048"];
    let mut second = stage.viewer(&[&["--once", "--notify", &notify, "--peer-lag", "500"][..], &end].concat());
    network.has(1);
    let mut first_player = stage.mplayer("first", first.listen);
    let mut second_player = stage.mplayer("second", second.listen);
    playing(&mut first);
    playing(&mut second);
    network.introduce(PeerRole::Parent, way.address);
    network.introduce(PeerRole::Standby, broadcaster.peers.unwrap());
    let mut program = stage.program("program", broadcaster.listen, "hb", Clip { frames: 300, ..FLV1 });
    second.until("the handover", |e| is_handover(e, Path::Peer));
    std::thread::sleep(Duration::from_secs(3));
    assert!(!second.has(|e| matches!(e, Event::PeerLost { .. })), "{:#?}", second.seen);
    way.slow_down(4000);
    let why = second.find("that it is left", |e| match e {
        Event::PeerLost { peer, why } if *peer == way.address => Some(why.clone()),
        _ => None,
    });
    assert!(why.starts_with("its data comes "), "{why}");
    let broadcaster = broadcaster.peers.unwrap();
    second.until("the broadcaster", |e| matches!(e, Event::PeerConnected { peer, .. } if *peer == broadcaster));
    let lost = News::Lost { peer: way.address, stream: "live/hb".parse().unwrap() };
    stage::wait_for("word of it", || network.heard().contains(&lost));
    program.succeeds();
    first_player.succeeds();
    second_player.succeeds();
    second.ends();
    stage.dump("second").is_everything_of(&stage.births());
    assert!(!second.has(|e| matches!(e, Event::Jump { .. })));
}

#[test]
fn who_is_given_another_parent_and_then_the_cdn_misses_nothing() {
    let stage = Stage::new();
    let mut family = Family::of(&stage);
    family.network.introduce(PeerRole::Parent, family.first.peers.unwrap());
    let program = family.stream(&stage, Clip { frames: 300, ..H264 });
    family.network.introduce(PeerRole::Parent, family.broadcaster.peers.unwrap());
    family.falls_back();
    family.first.until("that it is gone", |e| matches!(e, Event::PeerLeft { .. }));
    std::thread::sleep(Duration::from_secs(2));
    family.network.introduce(PeerRole::Cdn, stage.cdn);
    family.second.until("the CDN", |e| is_handover(e, Path::Cdn));
    assert!(!family.second.has(|e| matches!(e, Event::PeerLost { .. })), "{:#?}", family.second.seen);
    family.completes(&stage, program);
}

#[test]
fn when_a_parents_player_leaves_its_children_go_elsewhere_and_the_network_is_told() {
    let stage = Stage::new();
    let mut family = Family::introduced(&stage);
    let program = family.stream(&stage, Clip { frames: 210, ..H264 });
    family.first_player.kill();
    family.loss();
    let left = |e: &Event| match e {
        Event::PeerLeft { why: Some(why), .. } => Some(why.clone()),
        _ => None,
    };
    let why = family.first.find("that it is gone", left);
    assert_eq!(why, "the stream is no longer available here");
    family.falls_back();
    family.second_player.kill();
    let left = News::Left("live/hb".parse().unwrap());
    stage::wait_for("word of it", || family.network.heard().contains(&left));
    drop(program);
}

#[test]
fn a_peer_that_never_begins_is_left_for_the_cdn() {
    let stage = Stage::new();
    let broadcaster = stage.broadcaster(&[]);
    // Nobody plays there.
    let idle = stage.viewer(&["--serve", "127.0.0.3:0", "--admit-all"]);
    let peer = idle.peers.unwrap().to_string();
    let mut viewer = stage.viewer(&["--once", "--peer", &peer, "--peer-silence", "0.3", "--end-padding", "2048"]);
    let mut player = stage.mplayer("viewer", viewer.listen);
    playing(&mut viewer);
    viewer.until("the CDN is silenced", |e| matches!(e, Event::CdnLeft { .. }));
    let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
    viewer.until("the CDN goes on", |e| matches!(e, Event::CdnResumed { .. }));
    viewer.until("a keyframe", |e| matches!(e, Event::FirstKeyframe { path: Path::Cdn, .. }));
    program.succeeds();
    player.succeeds();
    viewer.ends();
    assert!(viewer.has(|e| matches!(e, Event::StreamEnded { frames: 30.. })));
}

/// The viewer's first keyframe is the CDN's; then comes `meanwhile`, and what its peer gives first is much later.
fn passes_over_what_the_cdn_lacks(viewer: &mut Agent, meanwhile: impl FnOnce()) {
    let first = viewer.find("a keyframe", |e| match e {
        Event::FirstKeyframe { path, timestamp_ms, .. } => Some((*path, *timestamp_ms)),
        _ => None,
    });
    assert_eq!(first.0, Path::Cdn);
    meanwhile();
    viewer.until("what follows is passed over", |e| matches!(e, Event::Jump { .. }));
    let from_peer = viewer.find("the peer", |e| match e {
        Event::FirstFromPeer { timestamp_ms, .. } => Some(*timestamp_ms),
        _ => None,
    });
    assert!(from_peer > first.1 + 2000, "{from_peer} after {}", first.1);
    viewer.until("the CDN is silenced", |e| matches!(e, Event::CdnLeft { .. }));
}

#[test]
fn who_comes_to_a_cdn_that_is_far_behind_does_not_wait_for_it() {
    let stage = Stage::new();
    let upload = Relay::new(stage.cdn, Duration::ZERO);
    let broadcaster = stage.broadcaster_to(upload.address, &["--admit-all"]);
    let program = stage.program("program", broadcaster.listen, "hb", Clip { frames: 900, ..FLV1 });
    let mut early = stage.viewer(&[]);
    let _early_player = stage.mplayer("early", early.listen);
    early.until("the stream is on", |e| matches!(e, Event::FirstKeyframe { .. }));
    // The CDN is eight seconds behind, and stays so: no more passes than is born.
    upload.stall(true);
    std::thread::sleep(Duration::from_secs(8));
    upload.slow_down(110_000);
    upload.stall(false);
    // The peer answers after the CDN has given its first keyframe.
    let far = Relay::new(broadcaster.peers.unwrap(), Duration::from_secs(4));
    let mut late = stage.viewer(&["--peer", &far.address.to_string(), "--end-padding", "2048"]);
    let _late_player = stage.mplayer("late", late.listen);
    passes_over_what_the_cdn_lacks(&mut late, || ());

    // This one hears of its peer only when the CDN has given its first keyframe.
    let network = Introducer::new();
    let mut later = stage.viewer(&["--notify", &network.address.to_string(), "--end-padding", "2048"]);
    network.has(1);
    let _later_player = stage.mplayer("later", later.listen);
    passes_over_what_the_cdn_lacks(&mut later, || {
        network.introduce(PeerRole::Parent, broadcaster.peers.unwrap());
    });
    drop(program);
}
