#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::text::{audience_text, screens_text, summary_text};
use super::*;
use crate::plan::delivery::Via;
use crate::plan::{
    Cdn, Codec, Datapath, Departure, Host, LinkKind, Network, PingTrain, Player, Point, Role, Scheme, Stream,
    Timeline, Trial, Video, VideoSource,
};
use crate::store::{Owner, RunDir, TrialDir, TrialRecord, TrialState};
use crate::trace::{Told, ping};

/// Born at 40 ms steps from 1000 ms on; a keyframe every tenth.
pub(crate) fn frame(trial: &str, viewer: &str, index: u32, delay_ms: Option<f64>, via: Via) -> FrameRow {
    let birth_ns = 1_795_389_420_000_000_000 + 1_000_000_000 + i64::from(index) * 40_000_000;
    #[allow(clippy::cast_possible_truncation)]
    let arrival_ns = delay_ms.map(|ms| birth_ns + (ms * 1e6).round() as i64);
    FrameRow {
        trial: trial.into(),
        point: Point::new(if trial.starts_with("direct") { Scheme::Direct } else { Scheme::Bypass }, 1),
        stream: "hb".into(),
        viewer: viewer.into(),
        index: index.into(),
        timestamp_ms: index * 40,
        size_bytes: 10_000 + index,
        keyframe: index.is_multiple_of(10),
        id: format!("{index:032x}"),
        birth_ns,
        arrival_ns,
        via: arrival_ns.map(|_| via),
        copies: u32::from(arrival_ns.is_some()),
        delay_ms,
        floor_ms: Some(230.0),
        excess_ms: delay_ms.map(|d| d - 230.0),
        time_s: 1.0 + f64::from(index) * 0.04,
        late: false,
        server: arrival_ns.map(|_| if via == Via::Cdn { "hs" } else { "hb" }.into()),
        sent_ns: arrival_ns.map(|_| birth_ns + 5_000_000),
        cdn_arrival_ns: arrival_ns.filter(|_| via == Via::Cdn).map(|_| birth_ns + 105_000_000),
        cdn_departure_ns: arrival_ns.filter(|_| via == Via::Cdn).map(|_| birth_ns + 106_000_000),
        queue_ms: delay_ms.map(|_| 5.0),
        uplink_ms: delay_ms.filter(|_| via == Via::Cdn).map(|_| 100.0),
        dwell_ms: delay_ms.filter(|_| via == Via::Cdn).map(|_| 1.0),
        downlink_ms: delay_ms.filter(|_| via == Via::Cdn).map(|d| d - 106.0),
        transfer_ms: delay_ms.filter(|_| via == Via::Peer).map(|d| d - 5.0),
        stream_floor_ms: Some(205.0),
        stream_excess_ms: delay_ms.map(|d| d - 205.0),
        relay_ms: delay_ms.filter(|_| via == Via::Peer).map(|_| 0.0),
        hops: arrival_ns.map(|_| u32::from(via == Via::Cdn)),
        relays: arrival_ns.filter(|_| via == Via::Cdn).map(|_| "hs".into()),
        spell: Some(1),
        segment: None,
        chunking_ms: None,
        polling_ms: None,
    }
}

pub(crate) fn record(id: &str) -> TrialRecord {
    TrialRecord {
        id: id.into(),
        point: Point::new(if id.starts_with("direct") { Scheme::Direct } else { Scheme::Bypass }, 1),
        state: TrialState::Done,
        unfit: Vec::new(),
        cause: None,
        node: None,
        captures: crate::store::Captures::Kept,
        doubts: Vec::new(),
        damage: Vec::new(),
        started: None,
        ended: None,
        zero_ns: Some(1_795_389_420_000_000_000),
        phases: Vec::new(),
        commands: Vec::new(),
        fitness: serde_json::Value::Null,
        files: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn trial(id: &str, viewers: &[&str]) -> Trial {
    let host = |name: &str, role| Host { name: name.into(), role, interfaces: Vec::new(), player: Player::default() };
    let mut hosts = vec![host("hb", Role::Broadcaster), host("hs", Role::Cdn)];
    hosts.extend(viewers.iter().map(|v| host(v, Role::Viewer)));
    Trial {
        id: id.into(),
        point: Point::new(if id.starts_with("direct") { Scheme::Direct } else { Scheme::Bypass }, 1),
        seed: 1,
        network: Network { switches: Vec::new(), hosts, links: Vec::new() },
        video: Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 320, height: 240 },
            fps: 30,
            frames: 600,
            codec: Codec::Flv1,
            bitrate: 2_500_000,
            keyframe_interval: 30,
            audio: false,
            clock: false,
        },
        streams: vec![Stream {
            name: "hb".into(),
            broadcaster: "hb".into(),
            viewers: viewers.iter().map(|v| (*v).into()).collect(),
            program: Default::default(),
        }],
        timeline: Timeline {
            broadcast_at: Duration::from_secs(15),
            view_at: Duration::from_secs(15),
            view_every: Duration::ZERO,
            end: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        },
        link_changes: Vec::new(),
        audience: Default::default(),
        agents: Default::default(),
        pings: Vec::new(),
        captures: Vec::new(),
        film: Vec::new(),
        links: LinkKind::Emulated,
        datapath: Datapath::User,
        congestion_control: "cubic".into(),
        crowd: None,
        initial_window: 10,
        cdn: Cdn::default(),
    }
}

pub(crate) fn ping_row(trial: &str, from: &str, to: &str, seq: u32, rtt_ms: Option<f64>) -> PingRow {
    PingRow {
        trial: trial.into(),
        point: Point::new(if trial.starts_with("direct") { Scheme::Direct } else { Scheme::Bypass }, 1),
        from: from.into(),
        to: to.into(),
        seq,
        sent_ns: rtt_ms.map(|_| 1_795_389_420_000_000_000 + i64::from(seq) * 1_000_000_000),
        time_s: f64::from(seq),
        rtt_ms,
        duplicate: false,
    }
}

fn facts(viewer: &str, born: u32) -> ViewerFacts {
    ViewerFacts { stream: "hb".into(), viewer: viewer.into(), born, captured: true, ..ViewerFacts::default() }
}

#[test]
fn quantiles_are_those_of_definition_7() {
    // numpy.quantile([1, 2, 4, 8, 16], p), whose default is this definition.
    let values = [1.0, 2.0, 4.0, 8.0, 16.0];
    for (p, expected) in [(0.0, 1.0), (0.25, 2.0), (0.5, 4.0), (0.6, 5.6), (0.95, 14.4), (0.99, 15.68), (1.0, 16.0)] {
        let got = quantile(&values, p).unwrap();
        assert!((got - expected).abs() < 1e-12, "{p}: {got}");
    }
    // R's quantile(c(10, 20), 0.9), type 7.
    assert_eq!(quantile(&[10.0, 20.0], 0.9), Some(19.0));
    assert_eq!(quantile(&[7.0], 0.95), Some(7.0));
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn frames_survive_the_round_trip_with_nulls_as_nulls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.parquet");
    let mut rows: Vec<_> =
        (0..1000).map(|i| frame("direct-1", "hv1", i, Some(f64::from(i) / 3.0), Via::Cdn)).collect();
    rows.push(frame("bypass-1", "hv2", 0, None, Via::Peer));
    rows.push(FrameRow {
        floor_ms: None,
        excess_ms: None,
        late: true,
        ..frame("bypass-1", "7", 1, Some(0.0), Via::Peer)
    });
    write_frames(&path, &rows).unwrap();
    assert_eq!(read_frames(&path).unwrap(), rows);
    write_frames(&path, &[]).unwrap();
    assert_eq!(read_frames(&path).unwrap(), []);
}

#[test]
fn pings_survive_the_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pings.parquet");
    let mut rows: Vec<_> = (1..60).map(|seq| ping_row("direct-1", "hb", "hs", seq, Some(812.345_678))).collect();
    rows[5] = ping_row("direct-1", "hb", "hs", 6, None);
    rows[7].duplicate = true;
    write_pings(&path, &rows).unwrap();
    assert_eq!(read_pings(&path).unwrap(), rows);
}

#[test]
fn summaries_survive_the_round_trip_whatever_the_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.csv");
    let mut sound = record("direct-1");
    let frames: Vec<_> = (0..10).map(|i| frame("direct-1", "007", i, Some(300.0 + f64::from(i)), Via::Cdn)).collect();
    let mut rows = summarise(&sound, &[facts("007", 10)], &frames);
    sound.unfit = vec!["a \"quoted\", reason".into(), "and\nmore; ünd mehr".into()];
    rows.extend(summarise(&sound, &[facts("true", 0)], &[]));
    write_summary(&path, &rows).unwrap();
    assert_eq!(read_summary(&path).unwrap(), rows);
    let text = fs::read_to_string(&path).unwrap();
    let header = text.lines().next().unwrap();
    assert!(header.starts_with("trial,scheme,repetition,stream,viewer,frames,missing,"), "{header}");
    // One line alone, all of whose numbers are missing.
    write_summary(&path, &rows[1..]).unwrap();
    assert_eq!(read_summary(&path).unwrap(), rows[1..]);
}

#[test]
fn tables_cut_off_or_damaged_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.parquet");
    let rows: Vec<_> = (0..50).map(|i| frame("direct-1", "hv1", i, Some(300.0), Via::Cdn)).collect();
    write_frames(&path, &rows).unwrap();
    let whole = fs::read(&path).unwrap();
    for end in (0..whole.len()).step_by(37) {
        fs::write(&path, &whole[..end]).unwrap();
        let told = read_frames(&path).unwrap_err();
        assert!(matches!(told, TableError::Damaged { .. }), "cut at {end}: {told:?}");
        assert!(told.to_string().contains("frames.parquet"), "{told}");
    }
    // A flipped bit may go unnoticed; it must not take the program down.
    for at in (0..whole.len()).step_by(11) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let _ = read_frames(&path);
    }
    assert!(matches!(read_frames(&folder.path().join("none")), Err(TableError::Read { .. })));

    // A text has no end of its own but that of its last line.
    let path = folder.path().join("playout.csv");
    let facts =
        ViewerFacts { stream: "hb".into(), viewer: "hv1".into(), born: 1, captured: true, ..ViewerFacts::default() };
    let one =
        playouts(&record("direct-1"), &[facts], &[frame("direct-1", "hv1", 0, Some(300.0), Via::Cdn)]).remove(0);
    let row = |viewer: &str| PlayoutRow { viewer: viewer.into(), ..one.clone() };
    write_playouts(&path, &[row("hv1"), row("hv2")]).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    for (text, says) in [
        (&whole[..whole.len() - 1], "it ends in the middle of line 3"),
        (&whole[..9], "it ends in the middle of line 1"),
        ("", "it is empty"),
        (&whole.replacen("hv2", "hv2,hv3", 1), "its lines have different numbers of fields"),
    ] {
        fs::write(&path, text).unwrap();
        let told = read_playouts(&path).unwrap_err().to_string();
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn a_missing_or_null_column_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pings.parquet");
    write_pings(&path, &[ping_row("direct-1", "hb", "hs", 1, Some(1.0))]).unwrap();
    let told = read_frames(&path).unwrap_err();
    assert!(matches!(&told, TableError::Column { column, .. } if column == "stream"), "{told:?}");
    let csv = folder.path().join("summary.csv");
    fs::write(&csv, "trial,scheme,repetition\nx,teleport,1\n").unwrap();
    let told = read_summary(&csv).unwrap_err().to_string();
    assert!(told.contains("teleport"), "{told}");
}

#[test]
fn the_run_keeps_earlier_trials_when_a_later_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::create(folder.path(), "p2p", "2026-11-22T23:17:00Z".parse().unwrap(), Owner::Process).unwrap();
    let ids = ["direct-1", "bypass-1"];
    for (done, id) in ids.iter().enumerate() {
        run.trial(id).create(Owner::Process).unwrap();
        let frames = [frame(id, "hv1", 0, Some(300.0), Via::Cdn)];
        let pings = [ping_row(id, "hb", "hs", 1, Some(800.0))];
        write_trial(&run.trial(id), &frames, &pings, &summarise(&record(id), &[facts("hv1", 1)], &frames), &[], &[])
            .unwrap();
        let summary = gather(&run, ids).unwrap().summary;
        assert_eq!(summary.iter().map(|r| r.trial.as_str()).collect::<Vec<_>>(), ids[..=done]);
        assert_eq!(read_frames(&run.frames()).unwrap().len(), done + 1);
        assert_eq!(read_pings(&run.pings()).unwrap().len(), done + 1);
    }
    let before = fs::read(run.frames()).unwrap();
    fs::write(run.trial("bypass-1").frames(), "rubbish").unwrap();
    assert!(gather(&run, ids).unwrap_err().to_string().contains("bypass-1/frames.parquet"));
    assert_eq!(fs::read(run.frames()).unwrap(), before);
}

#[test]
fn rows_of_trials_whose_folders_are_gone_stay_in_the_runs_tables() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunDir::create(folder.path(), "p2p", "2026-11-22T23:17:00Z".parse().unwrap(), Owner::Process).unwrap();
    let ids = ["direct-1", "bypass-1"];
    for id in ids {
        run.trial(id).create(Owner::Process).unwrap();
        let frames = [frame(id, "hv1", 0, Some(300.0), Via::Cdn)];
        let pings = [ping_row(id, "hb", "hs", 1, Some(800.0))];
        write_trial(&run.trial(id), &frames, &pings, &summarise(&record(id), &[facts("hv1", 1)], &frames), &[], &[])
            .unwrap();
    }
    let before = gather(&run, ids).unwrap();
    assert_eq!((before.frames.len(), before.pings.len(), before.summary.len()), (2, 2, 2));
    fs::remove_dir_all(run.trial("direct-1").path()).unwrap();
    assert_eq!(gather(&run, ids).unwrap(), before);
    fs::remove_dir_all(run.trial("bypass-1").path()).unwrap();
    assert_eq!(gather(&run, ids).unwrap(), before);
    assert_eq!(read_frames(&run.frames()).unwrap(), before.frames);
}

#[test]
fn reattachments_survive_the_round_trip_and_older_runs_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        RunDir::create(folder.path(), "churn", "2026-11-22T23:17:00Z".parse().unwrap(), Owner::Process).unwrap();
    let row = |how, to: Option<&str>, ms| ReattachmentRow {
        trial: "direct-1".into(),
        point: Point::new(Scheme::Direct, 1),
        stream: "hb".into(),
        viewer: "hv3".into(),
        from: "hv1".into(),
        to: to.map(str::to_owned),
        how,
        at_s: 12.25,
        ms,
    };
    let rows = [row(Departure::Leave, Some("hv2"), Some(103.5)), row(Departure::Crash, None, None)];
    for id in ["direct-1", "bypass-1"] {
        run.trial(id).create(Owner::Process).unwrap();
    }
    write_reattachments(&run.trial("direct-1").reattachments(), &rows).unwrap();
    assert_eq!(read_reattachments(&run.trial("direct-1").reattachments()).unwrap(), rows);
    assert_eq!(gather(&run, ["direct-1", "bypass-1"]).unwrap().reattachments, rows);
    assert_eq!(read_reattachments(&run.reattachments()).unwrap(), rows);
    assert_eq!(Tables::of_trials(&run, ["bypass-1"]).unwrap().reattachments, []);
    let other =
        RunDir::create(folder.path(), "p2p", "2026-11-22T23:17:00Z".parse().unwrap(), Owner::Process).unwrap();
    Tables::default().write(&other).unwrap();
    assert!(!other.reattachments().exists(), "nobody went");
}

#[test]
fn a_viewer_in_numbers() {
    // 21 frames: the first ten by the CDN, the rest by a peer; one missing, one twice.
    let mut frames: Vec<_> = (0..21)
        .map(|i| {
            let (delay, via) = if i < 10 { (1000.0, Via::Cdn) } else { (240.0 + f64::from(i), Via::Peer) };
            frame("bypass-1", "hv1", i, (i != 15).then_some(delay), via)
        })
        .collect();
    frames[9].copies = 2;
    let viewer = ViewerFacts {
        told: Told { player_started_ns: Some(frames[0].birth_ns - 5_000_000_000), ..Told::default() },
        cdn_bytes: Some(300),
        peer_bytes: Some(900),
        ..facts("hv1", 21)
    };
    let row = &summarise(&record("bypass-1"), std::slice::from_ref(&viewer), &frames)[0];
    assert_eq!((row.frames, row.missing, row.duplicate, row.late), (21, Some(1), Some(1), Some(0)));
    // The player was there before the stream: it waits for the first frame's way only. Frame 10, a keyframe too, was
    // born 400 ms after frame 0 and came after 250 ms: before frame 0.
    assert_eq!(row.startup_delay_ms, Some(650.0));
    assert_eq!(row.peer_offload, Some(0.75));
    // 10 delays of 1000 and 10 of 250 … 260 without 255: the median lies between 260 and 1000.
    assert_eq!(row.delay_p50_ms, Some(630.0));
    assert_eq!((row.delay_p95_ms, row.delay_max_ms), (Some(1000.0), Some(1000.0)));
    assert_eq!((row.floor_p50_ms, row.excess_max_ms), (Some(230.0), Some(770.0)));
    assert!(row.fit && !row.partial && row.note.is_empty());
    let told = Told { player_started_ns: Some(frames[0].birth_ns + 600_000_000), ..Told::default() };
    let late_start = ViewerFacts { told, ..viewer };
    assert_eq!(summarise(&record("bypass-1"), &[late_start], &frames)[0].startup_delay_ms, Some(50.0));
}

#[test]
fn a_viewer_who_saw_nothing_has_nulls_and_not_zeros() {
    let frames: Vec<_> = (0..3).map(|i| frame("direct-1", "hv1", i, None, Via::Cdn)).collect();
    let row = &summarise(&record("direct-1"), &[facts("hv1", 3)], &frames)[0];
    assert_eq!((row.frames, row.missing), (3, Some(3)));
    assert_eq!((row.delay_p50_ms, row.delay_max_ms, row.startup_delay_ms), (None, None, None));
    assert_eq!(
        (row.floor_p50_ms, row.excess_p50_ms, row.handover_gap_ms, row.peer_offload),
        (None, None, None, None)
    );
}

#[test]
fn the_handover_gap_is_the_pause_when_the_source_changes() {
    // Frame 4 arrives at 160 + 300, frame 5 from the peer at 200 + 350.
    let frames: Vec<_> = (0..10)
        .map(|i| match i {
            0..5 => frame("bypass-1", "hv1", i, Some(300.0), Via::Cdn),
            _ => frame("bypass-1", "hv1", i, Some(350.0), Via::Peer),
        })
        .collect();
    assert_eq!(summarise(&record("bypass-1"), &[facts("hv1", 10)], &frames)[0].handover_gap_ms, Some(90.0));
}

#[test]
fn late_is_later_than_a_player_with_a_buffer_shows_it() {
    let mut frames: Vec<_> = (0..5).map(|i| frame("direct-1", "hv1", i, Some(300.0), Via::Cdn)).collect();
    frames[2] = frame("direct-1", "hv1", 2, Some(300.0 + LATE_BUFFER_MS), Via::Cdn);
    frames[3] = frame("direct-1", "hv1", 3, Some(300.001 + LATE_BUFFER_MS), Via::Cdn);
    frames[4] = frame("direct-1", "hv1", 4, None, Via::Cdn);
    // Another viewer's player has its own clock.
    frames.push(frame("direct-1", "hv2", 0, Some(2000.0), Via::Cdn));
    mark_late(&mut frames);
    assert_eq!(frames.iter().map(|r| r.late).collect::<Vec<_>>(), [false, false, false, true, false, false]);
    assert_eq!(summarise(&record("direct-1"), &[facts("hv1", 5)], &frames)[0].late, Some(1));
}

fn train(count: u32) -> PingTrain {
    PingTrain {
        from: "hb".into(),
        to: "hs".into(),
        address: Ipv4Addr::new(10, 0, 0, 2),
        start: Duration::from_secs(2),
        interval: Duration::from_millis(500),
        count,
    }
}

#[test]
fn pings_get_their_moment_from_the_stamp_or_the_plan() {
    let log = ping::parse(
        "[1795389423.500000] 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=500 ms\n\
         64 bytes from 10.0.0.2: icmp_seq=3 ttl=64 time=0.5 ms\n",
    );
    let rows = ping_rows(&trial("direct-1", &["hv1"]), &train(60), Some(1_795_389_420_000_000_000), &log);
    let seen: Vec<_> = rows.iter().map(|r| (r.seq, r.time_s, r.rtt_ms)).collect();
    assert_eq!(seen, [(1, 3.0, Some(500.0)), (2, 3.5, None), (3, 4.0, Some(0.5))]);
    // A ping stopped for 30 s: those lost stand between their neighbours.
    let answers = [(1, 0), (2, 1), (5, 34)].map(|(seq, at)| {
        format!("[{}.5] 64 bytes from 10.0.0.2: icmp_seq={seq} ttl=64 time=500 ms\n", 1_795_389_420 + at)
    });
    let log = ping::parse(&answers.concat());
    let rows = ping_rows(&trial("direct-1", &["hv1"]), &train(60), Some(1_795_389_420_000_000_000), &log);
    assert_eq!(rows.iter().map(|r| r.time_s).collect::<Vec<_>>(), [0.0, 1.0, 12.0, 23.0, 34.0]);
    let plain = ping::parse("64 bytes from 10.0.0.2: icmp_seq=3 ttl=64 time=500 ms\n");
    let rows = ping_rows(&trial("direct-1", &["hv1"]), &train(60), None, &plain);
    assert_eq!(rows.iter().map(|r| (r.seq, r.time_s)).collect::<Vec<_>>(), [(3, 3.0)]);
}

#[test]
fn unanswered_pings_have_rows_but_not_without_end() {
    let lost = "--- 10.0.0.2 ping statistics ---\n5 packets transmitted, 0 received, 100% packet loss, time 4000ms\n";
    let rows = ping_rows(&trial("direct-1", &["hv1"]), &train(60), None, &ping::parse(lost));
    assert_eq!(rows.iter().map(|r| r.rtt_ms).collect::<Vec<_>>(), [None; 5]);
    let absurd = lost.replace("5 packets", "4000000000 packets");
    assert_eq!(ping_rows(&trial("direct-1", &["hv1"]), &train(60), None, &ping::parse(&absurd)).len(), 60);
}

#[test]
fn direct_adds_two_halves_and_bypass_has_one() {
    let series = |id: &str| {
        let mut pings = Vec::new();
        for seq in 1..=3 {
            pings.push(ping_row(id, "hb", "hs", seq, Some(800.0)));
            pings.push(ping_row(id, "hs", "hv1", seq, Some(820.0)));
            pings.push(ping_row(id, "hb", "hv1", seq, Some(400.0)));
        }
        ping_delays(&trial(id, &["hv1"]), &pings)
    };
    let direct = series("direct-1");
    assert_eq!(
        direct.iter().map(|d| (d.time_s, d.delay_ms)).collect::<Vec<_>>(),
        [(1.0, Some(810.0)), (2.0, Some(810.0)), (3.0, Some(810.0))]
    );
    let bypass = series("bypass-1");
    assert!(bypass.iter().all(|d| d.delay_ms == Some(200.0) && d.viewer == "hv1" && d.via == Via::Peer));
    assert_eq!(bypass.len(), 3);
}

#[test]
fn a_viewer_without_pings_from_its_broadcaster_is_measured_by_way_of_the_cdn() {
    let pings = [ping_row("bypass-1", "hb", "hs", 1, Some(10.0)), ping_row("bypass-1", "hs", "hv2", 1, Some(20.0))];
    let delays = ping_delays(&trial("bypass-1", &["hv1", "hv2"]), &pings);
    let seen: Vec<_> = delays.iter().map(|d| (d.viewer.as_str(), d.delay_ms, d.via)).collect();
    assert_eq!(seen, [("hv2", Some(15.0), Via::Cdn)]);
}

#[test]
fn pairs_are_of_the_same_moment_and_losses_make_holes() {
    let at = |time_s, rtt_ms| PingRow { time_s, ..ping_row("direct-1", "a", "b", 1, rtt_ms) };
    let first = [at(1.0, Some(100.0)), at(2.0, Some(100.0)), at(3.0, None), at(4.0, Some(100.0))];
    let second = [at(1.3, Some(10.0)), at(1.9, Some(20.0)), at(3.0, Some(30.0)), at(4.6, Some(40.0))];
    assert_eq!(half_sum(&first, &second), [(1.0, Some(55.0)), (2.0, Some(60.0)), (3.0, None)]);
    let again = PingRow { duplicate: true, ..at(1.0, Some(900.0)) };
    assert_eq!(half(&[at(1.0, Some(100.0)), again]), [(1.0, Some(50.0))]);
}

#[test]
fn the_text_table_fits_the_terminal() {
    let mut unfit = record("bypass-1");
    unfit.unfit = vec!["CPU pressure 31 % (limit 10 %)".into()];
    let direct: Vec<_> =
        (0..600).map(|i| frame("direct-1", "hv1", i, Some(1000.0 + f64::from(i) * 17.0), Via::Cdn)).collect();
    let bypass: Vec<_> = (0..600).map(|i| frame("bypass-1", "hv1", i, (i > 3).then_some(241.2), Via::Peer)).collect();
    let viewer = ViewerFacts {
        cdn_bytes: Some(100_000),
        peer_bytes: Some(6_000_000),
        told: Told { player_started_ns: Some(0), ..Told::default() },
        ..facts("hv1", 600)
    };
    let mut rows = summarise(&record("direct-1"), &[facts("hv1", 600)], &direct);
    rows.extend(summarise(&unfit, &[viewer], &bypass));
    for (width, name) in [(120, "wide"), (80, "narrow")] {
        let text = summary_text(&rows, width);
        assert!(text.lines().all(|l| l.chars().count() <= width), "{text}");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn of_many_viewers_the_best_the_median_and_the_worst_are_shown() {
    let viewers: Vec<String> = (1..=9).map(|n| format!("hv{n}")).collect();
    let frames: Vec<_> = viewers
        .iter()
        .zip(1..)
        .flat_map(|(viewer, n)| {
            (0..10).map(move |i| frame("relay-1", viewer, i, (i > 0).then_some(100.0 * f64::from(n)), Via::Peer))
        })
        .collect();
    let facts: Vec<_> = viewers
        .iter()
        .map(|viewer| ViewerFacts {
            cdn_bytes: Some(100),
            peer_bytes: Some(if viewer == "hv1" { 900 } else { 300 }),
            viewer_bytes: Some(if viewer == "hv1" { 0 } else { 300 }),
            ..facts(viewer, 10)
        })
        .collect();
    let mut rows = summarise(&record("relay-1"), &facts, &frames);
    let text = summary_text(&rows, 120);
    let line: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
    // 3300 of 4200 bytes from peers, 2400 from viewers.
    let expected = [
        "relay-1", "hb", "9", "10", "9", "100.0", "500.0", "900.0", "100.0", "500.0", "900.0", "230.0", "78.6",
        "57.1",
    ];
    assert_eq!(line, expected, "{text}");
    assert!(summary_text(&rows, 80).lines().take(3).all(|line| line.chars().count() <= 80));
    let names: Vec<&str> = viewers.iter().map(String::as_str).collect();
    let audience = |rows: &[SummaryRow], viewers: &[&str]| {
        audiences(&record("relay-1"), &trial("relay-1", viewers), &[], rows, &frames)
    };
    let text = audience_text(&audience(&rows, &names), 120).unwrap();
    let line: Vec<&str> = text.lines().nth(3).unwrap().split_whitespace().collect();
    assert_eq!(line, ["relay-1", "hb", "9", "57.1", "-", "78.6", "-", "-", "-", "0", "-", "-", "-", "-"], "{text}");
    rows.pop();
    assert!(summary_text(&rows, 120).contains("hv8"), "few enough for a line each");
    assert_eq!(audience_text(&audience(&rows, &names[..8]), 120), None);
}

#[test]
fn how_deep_frames_came_and_who_carried_them() {
    let mut frames: Vec<_> = (0..4).map(|i| frame("relay-1", "hv1", i, Some(300.0), Via::Peer)).collect();
    for (frame, hops) in frames.iter_mut().zip([Some(1), Some(2), Some(4), None]) {
        frame.hops = hops;
        frame.transfer_ms = Some(275.0);
        frame.relay_ms = Some(20.0);
    }
    let viewer =
        ViewerFacts { cdn_bytes: Some(100), peer_bytes: Some(300), viewer_bytes: Some(200), ..facts("hv1", 4) };
    let row = summarise(&record("relay-1"), &[viewer], &frames).remove(0);
    assert_eq!((row.depth_p50, row.depth_max), (Some(2.0), Some(4)));
    assert_eq!((row.peer_offload, row.viewer_offload), (Some(0.75), Some(0.5)));
    assert_eq!((row.queue_mean_ms, row.transfer_mean_ms, row.relay_mean_ms), (Some(5.0), Some(275.0), Some(20.0)));
}

#[test]
fn without_births_nothing_is_called_missing_and_the_trial_partial() {
    let folder = tempfile::tempdir().unwrap();
    let dir = uncaptured(folder.path());
    fs::remove_file(dir.births("hb")).unwrap();
    let rubbish = "64 bytes from 10.0.0.2: icmp_seq=2 rubbish\n";
    let ping = fs::read_to_string(dir.ping("hb", "hs")).unwrap() + rubbish;
    fs::write(dir.ping("hb", "hs"), ping).unwrap();
    // What was damaged before counts no more.
    let before = TrialRecord { damage: vec!["gone by now".into()], ..record("direct-1") };
    let analysis = analyse(&dir, &before, None).unwrap();
    let row = &analysis.summary[0];
    assert_eq!((row.missing, row.duplicate, row.late, row.partial), (None, None, None, true));
    let ping = "ping/hb-hs.txt: 1 lines cannot be read; the first is \"64 bytes from 10.0.0.2: icmp_seq=2 rubbish\"";
    assert_eq!(*row.note, format!("PARTIAL: births/hb.csv: No such file or directory (os error 2); {ping}"));
    assert_eq!(analysis.damage, ["births/hb.csv: No such file or directory (os error 2)", ping]);
}

#[test]
fn what_was_planned_and_cannot_be_read_makes_a_trial_partial() {
    let folder = tempfile::tempdir().unwrap();
    let dir = uncaptured(folder.path());
    let damage = || analyse(&dir, &record("direct-1"), None).unwrap().damage;
    assert_eq!(damage(), [] as [String; 0]);
    fs::write(dir.ports(), "[{").unwrap();
    assert!(damage()[0].starts_with("ports.json: "), "{:?}", damage());
    fs::write(dir.events(), "{\"event\":\"phase\",\"time_ns\":1}\r\n{\"event\":\"pha\u{0}\n").unwrap();
    assert!(damage()[0].starts_with("events.jsonl: 1 lines cannot be read"), "{:?}", damage());
    fs::remove_file(dir.events()).unwrap();
    fs::remove_file(dir.ping("hb", "hs")).unwrap();
    let damage = damage();
    assert!(damage[0].starts_with("events.jsonl: ") && damage[1].starts_with("ping/hb-hs.txt: "), "{damage:?}");
}

/// A trial's folder with everything but the captures.
fn uncaptured(folder: &std::path::Path) -> TrialDir {
    use livectl_wire::birth::{HEADER, Register};
    use livectl_wire::flv::TagKind;
    let dir = TrialDir::at(&folder.join("direct-1"));
    dir.create(Owner::Process).unwrap();
    let mut plan = Trial { pings: vec![train(3)], ..trial("direct-1", &["hv1"]) };
    plan.video.frames = 4;
    fs::write(dir.plan(), serde_json::to_vec(&plan).unwrap()).unwrap();
    let mut register = Register::default();
    let births: String = (0_u8..4)
        .map(|n| {
            format!(
                "{}\n",
                register.birth(
                    TagKind::Video,
                    40 * u32::from(n),
                    &[0x22, n],
                    1_795_389_440_000_000_000 + i64::from(n)
                )
            )
        })
        .collect();
    fs::write(dir.births("hb"), format!("{HEADER}\n{births}")).unwrap();
    fs::write(dir.ping("hb", "hs"), "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=405 ms\n").unwrap();
    fs::write(dir.events(), "").unwrap();
    dir
}

#[test]
fn without_a_capture_nothing_is_called_missing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = uncaptured(folder.path());
    let analysis = analyse(&dir, &record("direct-1"), None).unwrap();
    assert_eq!(analysis.frames, []);
    let row = &analysis.summary[0];
    assert_eq!((row.frames, row.missing, row.duplicate, row.late), (4, None, None, None));
    assert_eq!(analysis.pings.iter().map(|r| (r.seq, r.rtt_ms)).collect::<Vec<_>>(), [(1, Some(405.0))]);
    assert_eq!((analysis.damage.as_slice(), row.partial), (&[][..], false), "the plan captures nothing there");
    let told = analysis.problems.join("\n");
    assert!(told.contains("nothing was captured"), "{told}");
    analysis.write(&dir).unwrap();
    assert_eq!(read_summary(&dir.summary()).unwrap(), analysis.summary);
    fs::remove_file(dir.plan()).unwrap();
    assert!(matches!(analyse(&dir, &record("direct-1"), None), Err(TableError::Trace(_))));
}

#[test]
fn the_parts_of_the_mean_delay_add_up_to_it() {
    let mut frames: Vec<_> =
        (0..10).map(|i| frame("bypass-1", "hv1", i, Some(400.0), if i < 5 { Via::Cdn } else { Via::Peer })).collect();
    let viewer = ViewerFacts {
        cdn_bytes: Some(100),
        peer_bytes: Some(100),
        cdn_sent: Some(crate::trace::Sent { bytes: 150, again: 50 }),
        peer_sent: Some(crate::trace::Sent { bytes: 100, again: 0 }),
        ..facts("hv1", 10)
    };
    let row = summarise(&record("bypass-1"), std::slice::from_ref(&viewer), &frames).remove(0);
    assert_eq!((row.delay_mean_ms, row.queue_mean_ms, row.uplink_mean_ms), (Some(400.0), Some(5.0), Some(50.0)));
    assert_eq!(
        (row.dwell_mean_ms, row.downlink_mean_ms, row.transfer_mean_ms),
        (Some(0.5), Some(147.0), Some(197.5))
    );
    assert_eq!((row.server_egress_bytes, row.retransmission_rate), (Some(150), Some(0.2)));
    // One frame's way is not known: then no mean of the parts would be true.
    (frames[3].queue_ms, frames[3].uplink_ms) = (None, None);
    let unknown = ViewerFacts { peer_sent: None, ..viewer };
    let row = summarise(&record("bypass-1"), &[unknown], &frames).remove(0);
    assert_eq!((row.delay_mean_ms, row.queue_mean_ms, row.transfer_mean_ms), (Some(400.0), None, None));
    assert_eq!(row.retransmission_rate, None, "peers sent something, and nobody captured it");
}

#[test]
fn jitter_is_that_of_rfc_3550() {
    let even: Vec<_> = (0..50).map(|i| frame("direct-1", "hv1", i, Some(200.0), Via::Cdn)).collect();
    assert_eq!(jitter_ms(even.iter()), Some(0.0));
    assert_eq!(jitter_ms(even[..1].iter()), None);
    // Transit times 200, 216, 200: |D| = 16 twice; J = 1, then 1 + 15/16.
    let uneven: Vec<_> = [200.0, 216.0, 200.0]
        .into_iter()
        .zip(0..)
        .map(|(d, i)| frame("direct-1", "hv1", i, Some(d), Via::Cdn))
        .collect();
    assert_eq!(jitter_ms(uneven.iter()), Some((1.0 + 1.0 + 15.0 / 16.0) / 2.0));
}

#[test]
fn playouts_and_estimates_survive_the_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let frames: Vec<_> = (0..30).map(|i| frame("direct-1", "7", i, Some(300.0), Via::Cdn)).collect();
    let viewers = [facts("7", 30), facts("hv2", 30)];
    let rows = playouts(&record("direct-1"), &viewers, &frames);
    assert_eq!(rows.len(), 2 * BUFFERS_S.len());
    assert!(rows[4..].iter().all(|r| r.stalls.is_none() && r.continuity.is_none()), "hv2 saw nothing");
    let path = folder.path().join("playout.csv");
    write_playouts(&path, &rows).unwrap();
    assert_eq!(read_playouts(&path).unwrap(), rows);

    let summary = summarise(&record("direct-1"), &viewers, &frames);
    let rows = estimates(&units(&summary, &frames, &rows));
    let path = folder.path().join("estimates.csv");
    write_estimates(&path, &rows).unwrap();
    assert_eq!(read_estimates(&path).unwrap(), rows);
    assert!(rows.iter().any(|r| r.metric == "stalled_buffer_0.5s_ms" && r.viewer == "7"), "{rows:#?}");
}

#[test]
fn tables_from_before_a_column_was_added_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.csv");
    let text = "trial,scheme,repetition,stream,viewer,frames,missing,duplicate,late,startup_delay_ms,delay_p50_ms,delay_p95_ms,\
        delay_p99_ms,delay_max_ms,floor_p50_ms,excess_p50_ms,excess_p95_ms,excess_max_ms,cdn_bytes,peer_bytes,peer_offload,\
        handover_gap_ms,partial,fit,note\ndirect-1,direct,1,hb,hv1,150,0,0,0,474.9,76.3,266.8,400.0,474.9,18.3,56.9,248.9,435.5,9,0,0.0,,false,true,\n";
    fs::write(&path, text).unwrap();
    let row = read_summary(&path).unwrap().remove(0);
    assert_eq!((row.delay_p50_ms, row.jitter_ms, row.server_egress_bytes), (Some(76.3), None, None));
}

#[test]
fn screens_are_told_of_viewers_that_have_one() {
    let frames = vec![frame("direct-1", "hv1", 0, Some(20.0), Via::Cdn)];
    let viewers = [ViewerFacts {
        stream: "hb".into(),
        viewer: "hv1".into(),
        born: 1,
        captured: true,
        ..ViewerFacts::default()
    }];
    let mut rows = summarise(&record("direct-1"), &viewers, &frames);
    assert_eq!(screens_text(&rows, 120), None);
    (rows[0].shown, rows[0].never_shown, rows[0].shown_delay_p50_ms) = (Some(7), Some(2), Some(46.25));
    rows[0].player = Some("ffplay".into());
    let text = screens_text(&rows, 120).unwrap();
    let line = text.lines().find(|line| line.contains("hv1")).unwrap();
    assert!(["direct-1", "ffplay", " 7 ", " 2 ", "46."].iter().all(|piece| line.contains(piece)), "{text}");
    assert!(screens_text(&rows, 60).unwrap().lines().take(3).all(|line| line.chars().count() <= 60), "{text}");
}
