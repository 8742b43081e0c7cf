//! Frames from the encoder to the player, with real programs on loopback. Needs ffmpeg, mplayer, rtmpdump, nginx and
//! its RTMP module.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod stage;

use std::time::{Duration, Instant};

use livectl_wire::agent_event::{Event, Leaving, Path};
use livectl_wire::birth::BirthKind;
use livectl_wire::heartbeat::PeerRole;
use stage::introducer::Introducer;
use stage::relay::Relay;
use stage::{Clip, FLV1, H264, Stage};

fn playing(viewer: &mut stage::Agent) {
    viewer.until("play accepted", |e| matches!(e, Event::PlayAccepted { .. }));
}

fn is_handover(event: &Event, path: Path) -> bool {
    matches!(event, Event::Handover { to, .. } if *to == path)
}

#[test]
fn through_the_cdn_every_frame_once_and_in_order_for_two_players() {
    for (clip, player) in [(FLV1, Stage::mplayer as fn(&Stage, &str, _) -> _), (H264, Stage::rtmpdump)] {
        let stage = Stage::new();
        let mut broadcaster = stage.broadcaster(&["--once"]);
        let mut viewer = stage.viewer(&["--once"]);
        let mut player = player(&stage, "player", viewer.listen);
        playing(&mut viewer);
        let mut program = stage.program("program", broadcaster.listen, "hb", clip);
        program.succeeds();
        broadcaster.ends();
        player.exit();
        viewer.ends();
        let births = stage.births();
        assert_eq!(births.iter().filter(|b| b.kind == BirthKind::Video).count(), 150);
        assert_eq!(births.iter().filter(|b| b.keyframe).count(), 5);
        assert_eq!(births.iter().any(|b| b.kind == BirthKind::Audio), clip.sound);
        stage.dump("player").is_everything_of(&births);
        let published = broadcaster.find("publish", |e| match e {
            Event::PublishAccepted { publish_ms } => Some(*publish_ms),
            _ => None,
        });
        assert!(published > 0.0 && published < 2000.0, "{published}");
        assert!(broadcaster.has(|e| matches!(e, Event::UploadEnded { .. })));
        assert!(broadcaster.has(|e| matches!(e, Event::StreamEnded { frames: 150 })));
        assert!(viewer.has(|e| matches!(e, Event::FirstKeyframe { path: Path::Cdn, timestamp_ms: 0..50, .. })));
        assert!(viewer.has(|e| matches!(e, Event::StreamEnded { frames: 150 })));
        assert!(!viewer.has(|e| matches!(e, Event::Handover { .. } | Event::CdnLeft { .. })));
    }
}

/// Who was handed what and when is a birth's own picture, and later than the birth.
#[test]
fn how_a_player_stands_is_told_where_it_is_asked_for() {
    for path in [Path::Cdn, Path::Peer] {
        let stage = Stage::new();
        let mut broadcaster = stage.broadcaster(&["--once", "--admit-all"]);
        let peer = broadcaster.peers.unwrap();
        let named = peer.to_string();
        let by: Vec<&str> = if path == Path::Peer { vec!["--peer", &named] } else { Vec::new() };
        let mut viewer = stage.viewer(&[&["--once", "--now", "0.2"], by.as_slice()].concat());
        let mut silent = stage.agent(
            "silent",
            &["viewer", "--stream", "live/hb", "--cdn", &stage.cdn.to_string(), "--listen", "127.0.0.3:0"],
        );
        let mut players = [stage.rtmpdump("player", viewer.listen), stage.rtmpdump("other", silent.listen)];
        viewer.until("nothing yet", |e| matches!(e, Event::Now { latest: None, frames: 0 }));
        let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
        let (latest, frames) = viewer.next("a picture by that way", |e| match e {
            Event::Now { latest: Some(latest), frames } if latest.path == path => Some((latest.clone(), *frames)),
            _ => None,
        });
        program.succeeds();
        for player in &mut players {
            player.exit();
        }
        viewer.ends();
        broadcaster.ends();
        assert_eq!(latest.peer, (path == Path::Peer).then_some(peer));
        let births = stage.births();
        let born = births.iter().find(|birth| birth.id.to_string() == latest.id).expect("a picture that was born");
        let late =
            Duration::from_nanos((latest.handed_ns - born.birth_ns).try_into().expect("it is handed on later"));
        assert!(late < Duration::from_secs(30), "{late:?}");
        assert!(born.kind == BirthKind::Video && (1..=150).contains(&frames), "{born:?} {frames}");
        silent.until("the end of the stream", |e| matches!(e, Event::StreamEnded { .. }));
        assert!(!silent.has(|e| matches!(e, Event::Now { .. })));
    }
}

#[test]
fn frames_are_born_when_their_time_has_come() {
    let stage = Stage::new();
    let broadcaster = stage.broadcaster(&[]);
    stage.program("program", broadcaster.listen, "hb", FLV1).succeeds();
    let births = stage.births();
    let pictures = births.iter().filter(|b| b.kind == BirthKind::Video);
    let moments: Vec<i64> = pictures.map(|b| b.birth_ns - i64::from(b.timestamp_ms) * 1_000_000).collect();
    let earliest = moments.iter().min().unwrap();
    let mut late: Vec<i64> = moments.iter().map(|moment| (moment - earliest) / 1000).collect();
    late.sort_unstable();
    let (p50, p95) = (late[late.len() / 2], late[late.len() * 95 / 100]);
    println!("births late by {p50} us (p50), {p95} us (p95)");
    assert!(p50 < 5_000 && p95 < 40_000, "p50 {p50} us, p95 {p95} us");
}

/// The CDN is three seconds behind, and the viewer is introduced in the middle: it has what the CDN gave, then what
/// the peer kept, then what it gives.
#[test]
fn introduced_in_the_middle_nothing_is_missing_and_nobody_waits_for_the_cdn() {
    for clip in [FLV1, H264] {
        let stage = Stage::new();
        let slow = Relay::new(stage.cdn, Duration::from_secs(3));
        let network = Introducer::new();
        let notify = network.address.to_string();
        let clip = Clip { frames: 270, ..clip };
        let mut broadcaster = stage.broadcaster(&["--once", "--notify", &notify]);
        let mut viewer = stage.viewer_of(slow.address, &["--once", "--notify", &notify]);
        network.has(2);
        let mut player = stage.mplayer("player", viewer.listen);
        playing(&mut viewer);
        let mut program = stage.program("program", broadcaster.listen, "hb", clip);
        viewer.until("the first keyframe", |e| matches!(e, Event::FirstKeyframe { path: Path::Cdn, .. }));
        assert!(network.hastened());
        network.introduce(PeerRole::Child, "127.0.0.1:2000".parse().unwrap());
        network.introduce(PeerRole::Parent, broadcaster.peers.unwrap());
        viewer.until("the handover", |e| is_handover(e, Path::Peer));
        let caught_up = Instant::now();
        program.succeeds();
        broadcaster.ends();
        player.succeeds();
        viewer.ends();
        // Nobody waits three seconds at the end for what the CDN has.
        assert!(caught_up.elapsed() < Duration::from_secs(8));
        stage.dump("player").is_everything_of(&stage.births());
        assert!(viewer.has(|e| matches!(e, Event::CdnLeft { how: Leaving::Paused })));
        assert!(!viewer.has(|e| matches!(e, Event::Jump { .. } | Event::PeerLost { .. })));
        assert!(broadcaster.has(|e| matches!(e, Event::PeerJoined { skipped: Some(0), lost: Some(0), .. })));
        assert!(broadcaster.has(|e| matches!(e, Event::PeerLeft { why: None, .. })));
    }
}

#[test]
fn who_joins_late_begins_with_the_keyframe_before_and_one_that_wants_to_be_live_skips() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--once", "--admit-all"]);
    let peer = broadcaster.peers.unwrap().to_string();
    let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
    stage::wait_for("two seconds of the stream", || stage.path("births.csv").exists() && stage.births().len() > 70);
    let mut viewer = stage.viewer(&["--once", "--peer", &peer]);
    let mut player = stage.rtmpdump("player", viewer.listen);
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    program.succeeds();
    player.exit();
    viewer.ends();
    broadcaster.ends();
    let (births, dump) = (stage.births(), stage.dump("player"));
    dump.is_all_of(&births);
    let first = births.iter().find(|b| Some(b.id) == dump.elements.first().map(|e| e.2)).unwrap();
    assert!(first.keyframe && first.timestamp_ms > 0, "{first:?}");
    let ms = viewer.find("the first keyframe", |e| match e {
        Event::FirstKeyframe { path: Path::Peer, ms, .. } => Some(*ms),
        _ => None,
    });
    assert!(ms < 900.0, "not after a group of pictures, as from the CDN: {ms}");
}

/// The CDN is so far away that it consents when the stream is over, and has nothing to give any more.
#[test]
fn who_came_in_time_and_was_introduced_after_the_end_still_has_what_the_peer_keeps() {
    let stage = Stage::new();
    let slow = Relay::new(stage.cdn, Duration::from_secs(2));
    let network = Introducer::new();
    let notify = network.address.to_string();
    let mut broadcaster = stage.broadcaster(&["--notify", &notify]);
    let mut viewer = stage.viewer_of(slow.address, &["--once", "--notify", &notify]);
    network.has(2);
    let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
    stage::wait_for("two seconds of the stream", || stage.path("births.csv").exists() && stage.births().len() > 70);
    let mut player = stage.rtmpdump("player", viewer.listen);
    program.succeeds();
    broadcaster.until("the end of the stream", |e| matches!(e, Event::StreamEnded { .. }));
    assert!(!viewer.has(|e| matches!(e, Event::PlayAccepted { .. })));
    network.introduce(PeerRole::Child, "127.0.0.1:2000".parse().unwrap());
    network.introduce(PeerRole::Parent, broadcaster.peers.unwrap());
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    player.exit();
    viewer.ends();
    let (births, dump) = (stage.births(), stage.dump("player"));
    dump.is_all_of(&births);
    let first = births.iter().find(|b| Some(b.id) == dump.elements.first().map(|e| e.2)).unwrap();
    assert!(first.keyframe && (1000..3000).contains(&first.timestamp_ms), "{first:?}");
}

/// It was asked for what the player waited for, and is so far away that the CDN has given three seconds of the stream
/// when that comes.
#[test]
fn a_peer_that_comes_with_what_is_long_past_is_asked_for_what_follows() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--once", "--admit-all"]);
    let way = Relay::new(broadcaster.peers.unwrap(), Duration::from_secs(3));
    let mut program = stage.program("program", broadcaster.listen, "hb", Clip { frames: 360, ..FLV1 });
    stage::wait_for("two seconds of the stream", || stage.path("births.csv").exists() && stage.births().len() > 70);
    let mut viewer = stage.viewer(&["--once", "--peer", &way.address.to_string()]);
    let mut player = stage.rtmpdump("player", viewer.listen);
    viewer.until("the first keyframe", |e| matches!(e, Event::FirstKeyframe { path: Path::Cdn, .. }));
    program.succeeds();
    player.exit();
    viewer.ends();
    drop(way);
    broadcaster.ends();
    stage.dump("player").is_all_of(&stage.births());
    let joined = |e: &Event| matches!(e, Event::PeerJoined { .. });
    assert_eq!(broadcaster.count(joined), 2, "asked again");
    assert!(!viewer.has(|e| matches!(e, Event::Jump { .. } | Event::PeerLost { .. })));
}

#[test]
fn a_peer_that_breaks_is_asked_for_what_follows_and_nothing_is_missing() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--once", "--admit-all"]);
    let way = Relay::new(broadcaster.peers.unwrap(), Duration::ZERO);
    let mut viewer = stage.viewer(&["--once", "--peer", &way.address.to_string()]);
    let mut player = stage.mplayer("player", viewer.listen);
    playing(&mut viewer);
    let mut program = stage.program("program", broadcaster.listen, "hb", H264);
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        way.cut();
        viewer.next("the peer again", |e| matches!(e, Event::PeerConnected { .. }).then_some(()));
    }
    program.succeeds();
    broadcaster.ends();
    player.succeeds();
    viewer.ends();
    assert!(viewer.count(|e| matches!(e, Event::PeerLost { .. })) >= 3);
    stage.dump("player").is_everything_of(&stage.births());
    assert!(!viewer.has(|e| matches!(e, Event::Jump { .. })));
}

/// The CDN is two seconds behind, so that it still has what the peer did not give any more.
#[test]
fn a_peer_that_is_gone_for_good_is_followed_by_the_cdn() {
    let stage = Stage::new();
    let slow = Relay::new(stage.cdn, Duration::from_secs(2));
    let mut broadcaster = stage.broadcaster(&["--admit-all", "--once"]);
    let way = Relay::new(broadcaster.peers.unwrap(), Duration::ZERO);
    let peer = way.address.to_string();
    let mut viewer = stage.viewer_of(slow.address, &["--once", "--peer", &peer]);
    let mut player = stage.rtmpdump("player", viewer.listen);
    playing(&mut viewer);
    let mut program = stage.program("program", broadcaster.listen, "hb", Clip { frames: 240, ..H264 });
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    // So that the CDN has become silent.
    std::thread::sleep(Duration::from_millis(3000));
    way.refuse(true);
    way.cut();
    viewer.until("the CDN", |e| matches!(e, Event::CdnResumed { from: Leaving::Paused }));
    viewer.until("the handover back", |e| is_handover(e, Path::Cdn));
    program.succeeds();
    broadcaster.ends();
    player.exit();
    viewer.ends();
    // What was born between the pause and the CDN's next keyframe nobody has: up to a group of pictures, and a jump
    // tells it.
    let missing = stage.dump("player").missing_of(&stage.births());
    let jumps = viewer.count(|e| matches!(e, Event::Jump { path: Path::Cdn, .. }));
    println!("{missing} elements missing, {jumps} jumps");
    assert!(missing == 0 || jumps == 1, "{missing} {jumps}");
    assert!(missing < 240, "{missing}");
}

#[test]
fn a_peer_that_goes_silent_is_noticed() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--admit-all", "--once", "--drain", "3"]);
    let way = Relay::new(broadcaster.peers.unwrap(), Duration::ZERO);
    let mut viewer = stage.viewer(&["--once", "--peer", &way.address.to_string(), "--peer-silence", "0.5"]);
    let mut player = stage.mplayer("player", viewer.listen);
    playing(&mut viewer);
    let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    way.stall(true);
    let stalled = Instant::now();
    let why = viewer.find("the loss", |e| match e {
        Event::PeerLost { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert!(why.starts_with("it sent nothing for 0."), "{why}");
    viewer.until("the CDN", |e| is_handover(e, Path::Cdn));
    println!("frames flow {:?} after the silence began", stalled.elapsed());
    assert!(stalled.elapsed() < Duration::from_millis(3500), "{:?}", stalled.elapsed());
    way.stall(false);
    program.succeeds();
    player.succeeds();
    viewer.ends();
    broadcaster.ends();
    stage.dump("player").missing_of(&stage.births());
}

#[test]
fn the_cdn_that_dies_while_a_peer_serves_is_not_noticed_and_asked_anew_when_the_peer_dies_too() {
    let stage = Stage::new();
    let cdn = Relay::new(stage.cdn, Duration::ZERO);
    let mut broadcaster = stage.broadcaster(&["--admit-all", "--once"]);
    let way = Relay::new(broadcaster.peers.unwrap(), Duration::ZERO);
    let mut viewer = stage.viewer_of(cdn.address, &["--once", "--peer", &way.address.to_string()]);
    let mut player = stage.rtmpdump("player", viewer.listen);
    playing(&mut viewer);
    let mut program = stage.program("program", broadcaster.listen, "hb", Clip { frames: 210, ..H264 });
    viewer.until("the CDN left", |e| matches!(e, Event::CdnLeft { .. }));
    // Before the first frame the agent would go to the CDN again at once.
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    cdn.cut();
    viewer.until("the CDN lost", |e| matches!(e, Event::CdnLost { .. }));
    std::thread::sleep(Duration::from_millis(1000));
    way.refuse(true);
    way.cut();
    viewer.until("a session anew", |e| matches!(e, Event::CdnResumed { from: Leaving::Closed }));
    viewer.until("the handover back", |e| is_handover(e, Path::Cdn));
    program.succeeds();
    broadcaster.ends();
    player.exit();
    viewer.ends();
    let missing = stage.dump("player").missing_of(&stage.births());
    assert!(missing < 110, "at most a group of pictures with its sound, and a retry: {missing}");
    assert!(viewer.has(|e| matches!(e, Event::StreamEnded { .. })));
}

#[test]
fn the_broadcasters_agent_that_is_killed_ends_the_stream_for_its_viewers() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--admit-all"]);
    let peer = broadcaster.peers.unwrap().to_string();
    let mut viewer = stage.viewer(&["--once", "--peer", &peer]);
    let mut player = stage.mplayer("player", viewer.listen);
    playing(&mut viewer);
    let _program = stage.program("program", broadcaster.listen, "hb", FLV1);
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    std::thread::sleep(Duration::from_millis(1000));
    broadcaster.process.kill();
    let killed = Instant::now();
    player.succeeds();
    viewer.ends();
    println!("the player ended {:?} after", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(12));
    assert_eq!(stage.dump("player").missing_of(&stage.births()), 0, "all that was born before");
}

#[test]
fn a_player_that_leaves_and_another_that_comes() {
    let stage = Stage::new();
    let mut broadcaster = stage.broadcaster(&["--admit-all", "--once"]);
    let mut viewer = stage.viewer(&["--once", "--peer", &broadcaster.peers.unwrap().to_string()]);
    let mut first = stage.mplayer("first", viewer.listen);
    playing(&mut viewer);
    let mut program = stage.program("program", broadcaster.listen, "hb", FLV1);
    viewer.until("the handover", |e| is_handover(e, Path::Peer));
    first.kill();
    viewer.until("its end", |e| matches!(e, Event::PlayerLeft { .. }));
    broadcaster.until("its end", |e| matches!(e, Event::PeerLeft { why: Some(_), .. }));
    let mut second = stage.mplayer("second", viewer.listen);
    viewer.next("the handover", |e| is_handover(e, Path::Peer).then_some(()));
    program.succeeds();
    second.succeeds();
    viewer.ends();
    broadcaster.ends();
    stage.dump("second").is_all_of(&stage.births());
    assert_eq!(viewer.count(|e| matches!(e, Event::PlayerLeft { .. })), 2);
}

#[test]
fn sound_alone() {
    let stage = Stage::new();
    let clip = Clip { frames: 120, codec: "", pictures: false, sound: true };
    let mut broadcaster = stage.broadcaster(&["--admit-all", "--once"]);
    let mut viewer = stage.viewer(&["--once", "--peer", &broadcaster.peers.unwrap().to_string()]);
    let mut player = stage.rtmpdump("player", viewer.listen);
    playing(&mut viewer);
    let mut program = stage.program("program", broadcaster.listen, "hb", clip);
    program.succeeds();
    broadcaster.ends();
    player.exit();
    viewer.ends();
    let births = stage.births();
    assert!(births.iter().all(|b| b.kind != BirthKind::Video));
    stage.dump("player").is_all_of(&births);
}
