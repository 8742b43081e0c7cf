//! The real programs on a small real network: three hosts (network namespaces) around a bridge, links shaped by tbf.
//! Needs root and the packages that livectl needs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "actor/accepted.rs"]
mod accepted;
#[path = "actor/livectl.rs"]
mod livectl;
#[path = "actor/network.rs"]
mod network;
#[path = "actor/stage.rs"]
mod stage;

use std::time::Duration;

use livectl_lib::actor::agent::event::{Event, Path};
use livectl_lib::capture;
use livectl_lib::plan::{CapturePoint, Codec};
use network::Network;
use stage::{Stage, union};

extern crate livectl as livectl_lib;

const MBIT: u64 = 1_000_000;

/// Not a test: what the actors run as `livectl`. See [`livectl`].
#[test]
fn as_livectl() {
    livectl::run_if_asked();
}

#[tokio::test]
async fn through_the_cdn_every_frame_arrives_and_no_birth_waits_for_it() {
    // The viewer is there before the CDN, and the broadcaster's way to the CDN is narrower than its stream.
    let network = Network::new(&[("hb", 4 * MBIT), ("hs", 2 * MBIT), ("hv", 4 * MBIT)]);
    let mut stage = Stage::new(&network, 120, Codec::Flv1, false);
    stage.start_viewer().await;
    stage
        .viewer
        .until("player_ended", |e| matches!(e, Event::PlayerEnded { why, .. } if why == "nothing_published"))
        .await;
    stage.start_cdn().await;
    stage.viewer_has_joined().await;
    stage.start_broadcaster().await;
    stage.viewer.until("its end", |e| matches!(e, Event::Ended { .. })).await;
    assert!(stage.viewer_exit().await.status.success());
    let encoder = stage.encoder_exit().await;
    assert!(encoder.status.success(), "{encoder}");
    assert_eq!(stage.encoder_alarm(), None);
    assert!(stage.broadcaster_exit().await.status.success());

    let births = stage.births();
    assert_eq!(births.len(), 120);
    assert!(births[0].keyframe && births[30].keyframe && !births[31].keyframe);
    stage::assert_prompt(&births);
    let attempts: Vec<u32> = stage.viewer.attempts(Path::Cdn);
    assert!(attempts.len() >= 2, "the first had no CDN to play from: {attempts:?}");
    let dump = stage.dump_cdn(*attempts.last().unwrap());
    assert_eq!(dump.missing_but_a_cut_tail(&births), Vec::<u64>::new());
    assert!(!stage.viewer.has(|e| matches!(e, Event::Handover { .. } | Event::PeerConnected { .. })));
    stage.stop().await;
}

/// nginx has taken over sockets that were made for it, and what it accepts from them is as the recipe says.
#[tokio::test]
async fn the_cdns_connections_have_nodelay_unless_it_is_switched_off() {
    let network = Network::new(&[("hb", 50 * MBIT), ("hs", 50 * MBIT), ("hv", 50 * MBIT)]);
    for nodelay in [true, false] {
        let mut stage = Stage::new(&network, 60, Codec::Flv1, false);
        stage.set_nodelay(nodelay);
        stage.start_cdn().await;
        stage.start_viewer().await;
        stage.viewer_has_joined().await;
        stage.start_broadcaster().await;
        stage.broadcaster_has_joined().await;
        let nginx = network.processes("hs", "nginx");
        assert_eq!(nginx.len(), 2, "a master and a worker");
        let connections: Vec<_> = nginx.iter().flat_map(|pid| accepted::connections(*pid, 1935)).collect();
        assert_eq!(connections.len(), 2, "{connections:?}");
        assert!(connections.iter().all(|connection| connection.nodelay == nodelay), "{connections:?}");
        assert!(stage.log("hs", "nginx").contains("using inherited sockets from"));

        stage.viewer.until("its end", |e| matches!(e, Event::Ended { .. })).await;
        assert!(stage.broadcaster_exit().await.status.success());
        assert_eq!(stage.dump_cdn(1).missing_but_a_cut_tail(&stage.births()), Vec::<u64>::new());
        stage.stop().await;
        assert_eq!(network.processes("hs", ""), Vec::<u32>::new(), "neither master nor worker is left");
    }
}

/// A master replaces a worker that dies. The streams are gone all the same, so the trial must hear of it.
#[tokio::test]
async fn the_death_of_nginxs_worker_is_told() {
    let network = Network::new(&[("hb", 50 * MBIT), ("hs", 50 * MBIT), ("hv", 50 * MBIT)]);
    let mut stage = Stage::new(&network, 60, Codec::Flv1, false);
    stage.start_cdn().await;
    assert_eq!(stage.cdn_alarm(), None);
    let nginx = network.processes("hs", "nginx");
    // The master started first, and the worker is its child.
    let worker = nginx.into_iter().find(|pid| accepted::is_child_of(*pid, stage.cdn_pid())).unwrap();
    accepted::kill(worker);
    let alarm = stage.cdn_alarmed().await;
    assert!(alarm.contains(&format!("worker process {worker} exited on signal 9")), "{alarm}");
    stage.stop().await;
    assert_eq!(network.processes("hs", ""), Vec::<u32>::new());
}

/// A port that is taken is told, with the address.
#[tokio::test]
async fn a_port_of_the_cdn_that_is_taken_is_told() {
    let network = Network::new(&[("hb", 50 * MBIT), ("hs", 50 * MBIT), ("hv", 50 * MBIT)]);
    let mut first = Stage::new(&network, 60, Codec::Flv1, false);
    first.start_cdn().await;
    let error = Stage::new(&network, 60, Codec::Flv1, false).cdn_refused().await;
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("cannot listen on 10.0.0.2:1935: Address already in use"), "{error}");
    first.stop().await;
}

#[tokio::test]
async fn a_viewer_that_is_introduced_changes_over_without_missing_a_frame() {
    let network = Network::new(&[("hb", 4 * MBIT), ("hs", 2 * MBIT), ("hv", 4 * MBIT)]);
    let mut stage = Stage::new(&network, 210, Codec::H264, true);
    let capture = stage.capture(&CapturePoint { host: "hb".into(), interface: "hb-eth0".into() }).await;
    stage.start_cdn_with_introductions().await;
    stage.start_viewer().await;
    stage.viewer_has_joined().await;
    stage.start_broadcaster().await;
    stage.viewer.until("its end", |e| matches!(e, Event::Ended { .. })).await;
    assert!(stage.viewer_exit().await.status.success());
    assert!(stage.broadcaster_exit().await.status.success());
    capture.stop().await;
    let counts = capture::Counts::parse(&stage.log("hb", "tcpdump")).unwrap();
    assert_eq!(counts.missing(), 0);

    let births = stage.births();
    assert_eq!(births.len(), 210);
    stage::assert_prompt(&births);
    let (cdn, peer) = (stage.dump_cdn(1), stage.dump_peer(1));
    assert_eq!(union(&[&cdn, &peer], &births), Vec::<u64>::new(), "missing frames");
    assert!(cdn.frames() < 210, "the CDN's player was stopped on the way: {}", cdn.frames());
    assert_eq!(peer.last(), Some(births.last().unwrap().id), "to the end from the peer");
    assert_eq!(peer.repeated(), 0);
    let handover =
        stage.viewer.find(|e| if let Event::Handover { id, .. } = e { Some(id.clone()) } else { None }).unwrap();
    for dump in [&cdn, &peer] {
        assert!(dump.has(&handover), "both players have the frame of the handover");
    }
    assert!(!stage.viewer.has(|e| matches!(e, Event::PeerLost { .. })));
    let peers = stage.broadcaster.find(|e| match e {
        Event::PeerLeft { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(peers, Some(None), "the peer has everything");

    // Peers first: while the peer was served, the upload to the CDN kept to what it was given.
    let paced = stage.broadcaster.paced();
    assert!(!paced.is_empty(), "the upload was paced");
    let pcap = std::fs::read(stage.pcap("hb-eth0")).unwrap();
    let sent: f64 = paced.iter().map(|(from, to, _)| stage::wire_bits_to_port(&pcap, 1935, *from, *to)).sum();
    let allowed: f64 = paced.iter().map(|(from, to, limit)| (to - from) as f64 / 1e9 * *limit as f64).sum();
    // On a path without delay TCP paces bursts of 64 KiB (tcp_tso_autosize): each interval may have cut one in.
    let bursts = paced.len() as f64 * 65536.0 * 8.0;
    println!("{sent:.0} bit to the CDN while {allowed:.0} were allowed, in {} intervals", paced.len());
    assert!(sent < allowed * 1.1 + bursts, "{sent:.0} bit to the CDN while {allowed:.0} were allowed");
    stage.stop().await;
}

#[tokio::test]
async fn a_peer_that_is_lost_is_told_and_the_cdn_takes_over_again() {
    let network = Network::new(&[("hb", 100 * MBIT), ("hs", 100 * MBIT), ("hv", 100 * MBIT)]);
    let mut stage = Stage::new(&network, 240, Codec::Flv1, false);
    // The limit that the upload has when the agent is killed stays. Of this uplink it is never less than the stream needs.
    stage.plan_bandwidth(100 * MBIT);
    stage.start_cdn_with_introductions().await;
    stage.start_viewer().await;
    stage.viewer_has_joined().await;
    stage.start_broadcaster().await;
    stage.viewer.until("handover", |e| matches!(e, Event::Handover { .. })).await;
    stage.viewer.until("its end", |e| matches!(e, Event::PlayerEnded { path: Path::Cdn, .. })).await;
    stage.kill_broadcaster_agent().await;
    stage.viewer.until("loss", |e| matches!(e, Event::PeerLost { .. })).await;
    stage.viewer.until("its end", |e| matches!(e, Event::Ended { .. })).await;
    assert!(stage.viewer_exit().await.status.success());
    assert!(
        stage.encoder_alarm().is_some_and(|line| line.contains("Slave muxer #0 failed")),
        "{:?}",
        stage.encoder_alarm()
    );
    assert_eq!(stage.viewer.attempts(Path::Cdn), [1, 2]);
    let (first, peer, second) = (stage.dump_cdn(1), stage.dump_peer(1), stage.dump_cdn(2));
    assert!(first.frames() > 0 && peer.frames() > 0 && second.frames() > 0);
    stage.stop().await;
}

#[tokio::test]
async fn a_viewer_that_is_told_to_stop_leaves_no_player() {
    let network = Network::new(&[("hb", 50 * MBIT), ("hs", 50 * MBIT), ("hv", 50 * MBIT)]);
    let mut stage = Stage::new(&network, 3000, Codec::Flv1, false);
    stage.start_cdn_with_introductions().await;
    stage.start_viewer().await;
    stage.viewer_has_joined().await;
    stage.start_broadcaster().await;
    stage.viewer.until("the peer's player", |e| matches!(e, Event::FirstKeyframe { path: Path::Peer, .. })).await;
    let begun = std::time::Instant::now();
    let exit = stage.stop_viewer().await;
    assert!(exit.status.success() && exit.asked, "{exit}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(network.processes("hv", "mplayer"), Vec::<u32>::new());
    let peer = stage.dump_peer(1);
    assert!(peer.frames() > 0);
    stage.stop().await;
    for host in ["hb", "hs", "hv"] {
        assert_eq!(network.processes(host, ""), Vec::<u32>::new(), "{host}: nothing is left");
    }
}
