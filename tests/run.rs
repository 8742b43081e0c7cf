//! The main job for real: livectl boots Mininet, streams through the CDN and from peer to peer, and leaves tables and
//! plots. Needs root and the packages of `install/packages.txt`; without them these tests fail and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use livectl::plan::Departure;
use livectl::plan::delivery::Via;
use livectl::sandbox::running::{RunningTrial, running};
use livectl::store::{Manifest, RunDir, TrialState};
use livectl::table::{read_frames, read_reattachments, read_summary};

/// Trials measure time, and this machine may have two cores: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn livectl(args: &[&str]) -> Command {
    assert!(nix::unistd::geteuid().is_root(), "these tests boot networks: run them as root");
    let mut command = heeding_signals(env!("CARGO_BIN_EXE_livectl"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// A program that gets no ignored signals from whoever started the tests, with nohup or in the background.
fn heeding_signals(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", program]);
    command
}

fn smoke(results: &Path, more: &[&str]) -> Command {
    let mut command = livectl(&["run", "recipes/smoke.yaml", "--results"]);
    command.arg(results).args(more);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn only_run(results: &Path, recipe: &str) -> RunDir {
    let runs: Vec<PathBuf> = std::fs::read_dir(results.join(recipe)).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    RunDir::open(&runs[0]).unwrap()
}

/// Interfaces, bridges and mounts of this machine, and trials that run.
fn host() -> (Vec<String>, String, usize) {
    let mut links: Vec<String> =
        std::fs::read_dir("/sys/class/net").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    links.sort();
    (links, std::fs::read_to_string("/proc/self/mounts").unwrap(), running().unwrap().len())
}

fn assert_host_is_as(before: &(Vec<String>, String, usize)) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while host() != *before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(host(), *before, "a trial left something behind");
}

/// Starts a run and reads its lines until one holds `word`.
fn until(command: &mut Command, word: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = Vec::new();
    for line in lines.by_ref() {
        let found = line.contains(word);
        seen.push(line);
        if found {
            return (child, lines);
        }
    }
    let ended = child.wait();
    panic!("livectl ended ({ended:?}) before it said {word:?}:\n{}", seen.join("\n"));
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

#[test]
fn both_schemes_deliver_every_frame_and_leave_tables_and_plots() {
    let _alone = alone();
    let before = host();
    let results = tempfile::tempdir().unwrap();
    let output = smoke(results.path(), &[]).output().unwrap();
    // 6: everything was done on a machine that was too busy for its delays to be trusted.
    assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
    assert_host_is_as(&before);

    let run = only_run(results.path(), "smoke");
    let manifest = Manifest::load(&run).unwrap();
    for trial in &manifest.trials {
        assert_eq!(trial.state, TrialState::Done, "{}", trial.id);
        assert!(trial.zero_ns.is_some() && !trial.commands.is_empty() && !trial.phases.is_empty());
    }
    let summary = read_summary(&run.summary()).unwrap();
    assert_eq!(
        summary.len(),
        manifest.plan.trials.iter().flat_map(|t| &t.streams).map(|s| s.viewers.len()).sum::<usize>()
    );
    let wanted = manifest.plan.trials[0].video.frames;
    for row in &summary {
        assert_eq!((row.frames, row.missing), (wanted, Some(0)), "{} {}: {}", row.trial, row.viewer, text(&output));
        assert!(row.excess_p50_ms.unwrap() > 0.0, "no transfer is faster than the floor");
    }
    let p50: HashMap<String, f64> =
        summary.iter().map(|r| (r.point.scheme.to_string(), r.delay_p50_ms.unwrap())).collect();
    assert!(p50["bypass"] < p50["direct"], "{p50:?}");
    let bypass = summary.iter().find(|r| r.point.scheme.to_string() == "bypass").unwrap();
    assert!(bypass.peer_bytes.unwrap() > 0);

    let frames = read_frames(&run.frames()).unwrap();
    assert_eq!(frames.len(), summary.len() * wanted as usize);
    for frame in &frames {
        // What is more would have made the trial unfit.
        let doubted = !manifest.trial(&frame.trial).unwrap().doubts.is_empty();
        assert!(doubted || frame.excess_ms.unwrap() > -10.0, "frame {} beat the floor: {frame:?}", frame.index);
        let of_cdn = [frame.uplink_ms, frame.dwell_ms, frame.downlink_ms];
        let parts = [[frame.queue_ms].as_slice(), &of_cdn, &[frame.transfer_ms, frame.relay_ms]].concat();
        let sum: f64 = parts.iter().flatten().sum();
        assert!((sum - frame.delay_ms.unwrap()).abs() < 1e-6, "the parts add up to the delay: {frame:?}");
        // A birth is stamped by a program, which can come later than the packet; the other moments are the kernel's.
        assert!(parts.iter().flatten().skip(1).all(|part| *part > -1.0), "{frame:?}");
    }
    for trial in &manifest.trials {
        payloads_are_the_encoders(&run, &trial.id);
    }
    for name in ["delay-plot.png", "frame-delay-plot.png"] {
        let bytes = std::fs::read(results.path().join(name)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
    }

    // Months later, as somebody else: nothing but the stored files.
    let out = results.path().join("again");
    let output = livectl(&["plot", run.path().to_str().unwrap(), "--format", "svg", "--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(std::fs::read_to_string(out.join("delay-plot.svg")).unwrap().contains("<svg"));
    stored_runs_are_verified_and_analysed_again(&run);
}

fn stored_runs_are_verified_and_analysed_again(run: &RunDir) {
    let path = run.path().to_str().unwrap();
    let verify = || livectl(&["verify", path]).output().unwrap();
    let analyze = |more: &[&str]| livectl(&[&["analyze", path], more].concat()).output().unwrap();
    let output = verify();
    assert!(output.status.success() && text(&output).contains(": as stored: "), "{}", text(&output));
    let before = read_frames(&run.frames()).unwrap();

    // Tables that were lost, or touched, come out as they were.
    let (direct, bypass) = (run.trial("direct-1"), run.trial("bypass-1"));
    std::fs::remove_file(run.frames()).unwrap();
    std::fs::remove_file(direct.frames()).unwrap();
    let summary = std::fs::read_to_string(bypass.summary()).unwrap();
    std::fs::write(bypass.summary(), summary.replacen(",150,", ",149,", 1)).unwrap();
    let output = verify();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    for told in [
        "  frames.parquet: it is gone",
        "  direct-1/frames.parquet: it is gone",
        "  bypass-1/summary.csv: its content has changed",
    ] {
        assert!(text(&output).contains(told), "{told}: {}", text(&output));
    }
    assert!(text(&output).contains("149 stored, 150 computed"), "{}", text(&output));
    let output = analyze(&[]);
    assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
    assert_eq!(read_frames(&run.frames()).unwrap(), before);
    assert!(verify().status.success());

    // Births half a second late would make each delay half a second too small.
    let births = bypass.births("hb");
    let log = std::fs::read_to_string(&births).unwrap();
    let late: Vec<String> = log
        .lines()
        .map(|line| match line.rsplit_once(',').map(|(rest, birth)| (rest, birth.parse::<i64>())) {
            Some((rest, Ok(birth_ns))) => format!("{rest},{}\n", birth_ns + 500_000_000),
            _ => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&births, late.concat()).unwrap();
    let output = analyze(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("births/hb.csv: its content is not what was stored"), "{}", text(&output));
    assert_eq!(read_frames(&run.frames()).unwrap(), before, "the tables stay as they are");
    // Whoever insists is told by the frames themselves.
    let output = analyze(&["--force"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(
        text(&output).contains("hb: frames left the broadcaster before their births were stamped"),
        "{}",
        text(&output)
    );
    assert!(!Manifest::load(run).unwrap().trial("bypass-1").unwrap().doubts.is_empty());
    std::fs::write(&births, log).unwrap();
    analyze(&[]);
    assert_eq!(read_frames(&run.frames()).unwrap(), before);
    assert!(verify().status.success(), "{}", text(&verify()));

    // Without a capture less is known than is stored.
    let capture = direct.pcap("hv1-eth0");
    std::fs::remove_file(&capture).unwrap();
    let output = analyze(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("its tables stay as they are"), "{}", text(&output));
    assert_eq!(read_frames(&run.frames()).unwrap(), before);
    let output = analyze(&["--trial", "direct-1", "--force"]);
    assert!(text(&output).contains("pcap/hv1-eth0.pcap: No such file"), "{}", text(&output));
    assert!(read_frames(&run.frames()).unwrap().iter().all(|frame| frame.trial == "bypass-1"));
    let output = analyze(&["--trial", "direct-9"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

/// Uplinks of four times the stream: the broadcaster serves two beside the CDN, who serve the others.
const RELAY: &str = "
schemes: [relay]
video: { size: 160x90, fps: 30, frames: 150, bitrate: 500 kbit/s, keyframe_every: 30 }
network:
  switches: [s1]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 2 Mbit/s, delay: 2 ms } }
    hs: { role: cdn, link: { to: s1, bandwidth: 4 Mbit/s, delay: 2 ms } }
    hv: { role: viewer, count: 4, link: { to: s1, bandwidth: 2 Mbit/s, delay: 2 ms } }
timeline:
  pings: { from: 0 s, until: 0 s }
  view: { at: 0 s, every: 100 ms }
  broadcast: { at: 3 s }
  end: 10 s
";

/// The run of a recipe, and what livectl said. It leaves nothing behind; on a busy machine its trials may be unfit.
fn played(results: &Path, name: &str, recipe: &str) -> (RunDir, String) {
    let before = host();
    let file = results.join(format!("{name}.yaml"));
    std::fs::write(&file, recipe).unwrap();
    let output = livectl(&["run", file.to_str().unwrap(), "--results"]).arg(results).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
    assert_host_is_as(&before);
    (only_run(results, name), text(&output))
}

#[test]
fn viewers_pass_the_stream_on_to_each_other() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let (run, said) = played(results.path(), "relay", RELAY);
    let summary = read_summary(&run.summary()).unwrap();
    assert_eq!(summary.len(), 4);
    for row in &summary {
        assert_eq!((row.frames, row.missing), (150, Some(0)), "{}: {said}", row.viewer);
        assert!(row.peer_offload.unwrap() > 0.5, "{row:?}");
        // Two copies after another, and two hops.
        assert!(row.relay_bound_ms.unwrap() > 2.0 * 8.0 && row.relay_bound_p95_ms >= row.relay_bound_ms);
    }
    let by_viewers = summary.iter().filter(|row| row.viewer_offload.unwrap() > 0.5).count();
    assert_eq!(by_viewers, 2, "{summary:#?}");
    let passed_on = read_frames(&run.frames()).unwrap();
    let passed_on: Vec<_> =
        passed_on.iter().filter(|frame| frame.hops == Some(1) && frame.via == Some(Via::Peer)).collect();
    assert!(passed_on.len() > 150, "{}", passed_on.len());
    for frame in passed_on {
        let relays = frame.relays.as_deref().unwrap();
        assert!(relays.starts_with("hv") && relays != frame.viewer, "{frame:?}");
        assert_eq!(frame.server.as_deref(), Some(relays));
    }
    payloads_are_the_encoders(&run, "relay-1");
}

/// Of four viewers the broadcaster serves the first two, who serve the others. One of these leaves, the other one
/// crashes and comes again.
const CHURN: &str = "
schemes: [relay]
video: { size: 160x90, fps: 30, frames: 480, bitrate: 500 kbit/s, keyframe_every: 30 }
network:
  switches: [s1]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 2 Mbit/s, delay: 2 ms } }
    hs: { role: cdn, link: { to: s1, bandwidth: 4 Mbit/s, delay: 2 ms } }
    hv: { role: viewer, count: 4, link: { to: s1, bandwidth: 2 Mbit/s, delay: 2 ms } }
timeline:
  pings: { from: 0 s, until: 0 s }
  view: { at: 0 s, every: 100 ms }
  broadcast: { at: 2 s }
  audience: [ { at: 8 s, leave: hv1 }, { at: 11 s, crash: hv2 }, { at: 14 s, join: hv2 } ]
  end: 21 s
";

#[test]
fn viewers_that_leave_and_crash_are_missed_by_nobody_for_long() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let (run, said) = played(results.path(), "churn", CHURN);
    let manifest = Manifest::load(&run).unwrap();
    let record = manifest.trial("relay-1").unwrap();
    assert_eq!((&record.state, record.damage.len()), (&TrialState::Done, 0), "{said}");

    let summary = read_summary(&run.summary()).unwrap();
    let of = |viewer: &str| summary.iter().find(|row| row.viewer == viewer).unwrap();
    assert_eq!(["hv1", "hv2", "hv3", "hv4"].map(|viewer| of(viewer).spells), [1, 2, 1, 1].map(Some));
    for stayed in ["hv3", "hv4"] {
        assert_eq!((of(stayed).frames, of(stayed).missing), (480, Some(0)), "{said}");
    }
    // It was there for five to six seconds of sixteen, and for thirteen.
    assert!((120..200).contains(&of("hv1").frames) && (330..450).contains(&of("hv2").frames), "{summary:#?}");
    assert!(of("hv2").rejoin_p50_ms.unwrap() > 0.0);

    let (told, unread) = livectl::trace::told(&run.trial("relay-1").events()).unwrap();
    assert_eq!(unread, 0);
    let (crashed, back) = (told["hv2"].departed_ns[&1], told["hv2"].players_started_ns[&2]);
    let reattached = read_reattachments(&run.reattachments()).unwrap();
    for how in [Departure::Leave, Departure::Crash] {
        assert!(reattached.iter().any(|row| row.how == how && row.ms.is_some()), "{how:?}: {reattached:#?}");
    }
    for row in &reattached {
        assert!(row.to.is_some() && row.to.as_ref() != Some(&row.from) && row.ms.unwrap() > 0.0, "{row:?}");
    }

    // A host without power says nothing; what it had put on its link before may still be seen leaving.
    let pcap = run.trial("relay-1").pcap("hv2-eth0");
    let sent = |filter: &str| -> Vec<i64> {
        let dumped =
            Command::new("tcpdump").args(["-nn", "-tt", "--nano", "-r"]).arg(&pcap).arg(filter).output().unwrap();
        let moments = String::from_utf8(dumped.stdout).unwrap();
        let moment = |line: &str| line.split_whitespace().next()?.replace('.', "").parse().ok();
        moments.lines().filter_map(moment).collect()
    };
    let silent = crashed + 200_000_000..crashed + 2_000_000_000;
    let all = sent("src host 10.0.0.4 and ip");
    assert!(all.iter().filter(|time| **time < crashed).count() > 100 && all.iter().any(|time| *time > back));
    assert_eq!(all.iter().filter(|time| silent.contains(time)).count(), 0);
    let ends = sent("src host 10.0.0.4 and tcp[tcpflags] & (tcp-fin|tcp-rst) != 0");
    assert_eq!(ends.iter().filter(|time| (crashed..silent.end).contains(time)).count(), 0, "{ends:?}, {crashed}");
}

/// One viewer writes what it fetches, the other shows it; the stream is of three segments.
#[test]
fn segments_bring_every_frame_and_what_they_cost_is_known() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let recipe = "
schemes: [hls]
cdn: { segment: 2 s }
video: { codec: h264, clock: true, size: 320x180, fps: 25, frames: 150, bitrate: 400 kbit/s, keyframe_every: 25 }
network:
  switches: [s1]
  hosts:
    hb: { role: broadcaster, link: { to: s1, bandwidth: 10 Mbit/s, delay: 10 ms } }
    hs: { role: cdn, link: { to: s1, bandwidth: 20 Mbit/s, delay: 10 ms } }
    hv: { role: viewer, link: { to: s1, bandwidth: 10 Mbit/s, delay: 10 ms } }
    hw: { role: viewer, player: ffplay, link: { to: s1, bandwidth: 10 Mbit/s, delay: 10 ms } }
timeline:
  view: { at: 1 s }
  broadcast: { at: 2 s }
  end: 12 s
";
    let (run, said) = played(results.path(), "segments", recipe);
    let summary = read_summary(&run.summary()).unwrap();
    assert_eq!(summary.len(), 2);
    for row in &summary {
        assert_eq!((row.frames, row.missing), (150, Some(0)), "{}: {said}", row.viewer);
        // The first frame of a segment waits for all of it; the mean over whole segments is half of that, and a poll
        // comes on top.
        let (chunking, polling) = (row.chunking_mean_ms.unwrap(), row.polling_mean_ms.unwrap());
        assert!((900.0..2500.0).contains(&chunking) && polling > 0.0, "{chunking} {polling}");
        assert!(row.delay_mean_ms.unwrap() > chunking + polling);
        assert!(row.cdn_bytes.unwrap() > 200_000 && row.server_egress_bytes.unwrap() > 200_000);
    }
    assert!(summary[1].shown.unwrap() > 50 && summary[1].player_mean_ms.unwrap() > 0.0, "{said}");
    let frames = read_frames(&run.frames()).unwrap();
    for frame in &frames {
        assert_eq!((frame.via, frame.hops), (Some(Via::Cdn), Some(1)));
        // 25 frames a second, a keyframe each second, so segments begin with these.
        assert_eq!(frame.segment, Some(frame.index / 50 * 50), "frame {} of {}", frame.index, frame.viewer);
        let parts =
            frame.queue_ms.unwrap() + frame.uplink_ms.unwrap() + frame.dwell_ms.unwrap() + frame.downlink_ms.unwrap();
        assert!((parts - frame.delay_ms.unwrap()).abs() < 0.001);
        assert!(frame.excess_ms.unwrap() > 0.0);
    }
    // What was written is what was born, though in another container: nothing there is foreign, repeated or out of
    // order.
    assert!(!said.contains("never born") && !said.contains("more than once"), "{said}");
}

#[test]
fn the_switch_copies_the_stream_to_all_viewers() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let (run, said) = played(results.path(), "multicast", &RELAY.replace("[relay]", "[multicast]"));
    let summary = read_summary(&run.summary()).unwrap();
    assert_eq!(summary.len(), 4);
    for row in &summary {
        assert_eq!((row.frames, row.missing), (150, Some(0)), "{}: {said}", row.viewer);
        assert_eq!((row.peer_bytes, row.peer_offload, row.viewer_offload), (Some(0), Some(0.0), Some(0.0)));
        assert!(row.group_bytes > row.cdn_bytes, "{row:?}");
    }
    let frames = read_frames(&run.frames()).unwrap();
    let copied: Vec<_> = frames.iter().filter(|frame| frame.via == Some(Via::Group)).collect();
    assert!(copied.len() > 4 * 100, "{}", copied.len());
    for frame in copied {
        assert_eq!((frame.hops, frame.server.as_deref()), (Some(0), Some("hb")), "{frame:?}");
        assert!(frame.transfer_ms.is_some() && frame.excess_ms.unwrap() > -1.0, "{frame:?}");
    }
    // It left the broadcaster once, whoever got it.
    let trace = livectl::trace::read_trial(run.trial("multicast-1").path(), None).unwrap();
    let pcap = std::fs::File::open(run.trial("multicast-1").pcap("hb-eth0")).unwrap();
    let (flows, _) = livectl_wire::flows::read(pcap).unwrap();
    let sent = flows.iter().filter(|flow| matches!(flow.protocol, livectl_wire::flows::Protocol::Group(_)));
    let sent: u64 = sent.map(|flow| flow.counts.delivered + flow.counts.retransmitted).sum();
    assert!(trace.viewers.iter().all(|viewer| viewer.group_bytes == Some(sent)), "{sent}: {:?}", trace.problems);
}

/// What a viewer's one player wrote is what the encoder emitted, payload by payload: every frame once and in order.
fn payloads_are_the_encoders(run: &RunDir, trial: &str) {
    let trace = livectl::trace::read_trial(run.trial(trial).path(), None).unwrap();
    assert_eq!(trace.problems, Vec::<String>::new());
    for viewer in &trace.viewers {
        let [dump] = viewer.dumps.as_slice() else { panic!("{}: {} dumps", viewer.viewer, viewer.dumps.len()) };
        assert_eq!((dump.foreign, dump.repeated, dump.disordered), (0, 0, 0), "{trial} {}", viewer.viewer);
        assert_eq!(viewer.undumped(), Vec::<u64>::new(), "{trial} {}", viewer.viewer);
    }
}

#[test]
fn ctrl_c_ends_politely_and_keeps_what_was_measured() {
    let _alone = alone();
    let before = host();
    let results = tempfile::tempdir().unwrap();
    let (mut child, lines) = until(&mut smoke(results.path(), &["--scheme", "direct"]), "hb: encoding");
    signal(&child, nix::sys::signal::Signal::SIGINT);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{}", rest.join("\n"));
    assert_host_is_as(&before);
    let run = only_run(results.path(), "smoke");
    let manifest = Manifest::load(&run).unwrap();
    assert!(matches!(manifest.trials[0].state, TrialState::Partial { .. }), "{:?}", manifest.trials[0].state);
    assert!(std::fs::metadata(run.trial("direct-1").births("hb")).unwrap().len() > 0);
    assert!(read_summary(&run.summary()).unwrap().iter().all(|row| row.partial));
}

/// The terminal is closed, or the connection to it lost.
#[test]
fn a_hangup_ends_politely_unless_it_is_to_be_ignored() {
    let _alone = alone();
    let before = host();
    let results = tempfile::tempdir().unwrap();
    let (mut child, lines) = until(&mut smoke(results.path(), &["--scheme", "direct"]), "hb: encoding");
    signal(&child, nix::sys::signal::Signal::SIGHUP);
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_host_is_as(&before);
    let manifest = Manifest::load(&only_run(results.path(), "smoke")).unwrap();
    assert!(matches!(manifest.trials[0].state, TrialState::Partial { .. }), "{:?}", manifest.trials[0].state);

    let results = tempfile::tempdir().unwrap();
    let mut nohup = heeding_signals("nohup");
    nohup.arg(env!("CARGO_BIN_EXE_livectl")).args(["run", "recipes/smoke.yaml", "--scheme", "direct", "--results"]);
    nohup.arg(results.path()).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    let (mut child, lines) = until(&mut nohup, "hb: encoding");
    signal(&child, nix::sys::signal::Signal::SIGHUP);
    lines.for_each(drop);
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 6)));
    assert_host_is_as(&before);
}

#[test]
fn kill_9_at_any_moment_leaves_nothing() {
    let _alone = alone();
    let before = host();
    for word in ["booting", "measuring", "starting the CDN", "streaming", "hb: encoding", "handed over"] {
        let results = tempfile::tempdir().unwrap();
        let (mut child, _lines) = until(&mut smoke(results.path(), &["--scheme", "bypass"]), word);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_host_is_as(&before);
    }
}

#[test]
fn an_actor_that_dies_fails_its_trial_and_the_next_one_runs() {
    let _alone = alone();
    let before = host();
    let results = tempfile::tempdir().unwrap();
    let (mut child, lines) = until(&mut smoke(results.path(), &[]), "hb: encoding");
    // There may be other people's trials on this machine.
    let mine = |trial: &RunningTrial| trial.marker.dir().starts_with(results.path());
    let trial = running().unwrap().into_iter().find(mine).expect("a trial is running");
    let killed = trial
        .command_on("hb", "sh".as_ref(), ["-c", "for p in /proc/[0-9]*; do read -r n < $p/comm; [ \"$n\" = ffmpeg ] && kill -9 ${p#/proc/}; done; true"])
        .unwrap()
        .status()
        .unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{}", rest.join("\n"));
    assert_host_is_as(&before);
    let manifest = Manifest::load(&only_run(results.path(), "smoke")).unwrap();
    let [first, second] = &manifest.trials[..] else { panic!("{:?}", manifest.trials) };
    assert!(
        matches!(&first.state, TrialState::Failed { why } if why.contains("hb/encoder") && why.contains("SIGKILL")),
        "{:?}",
        first.state
    );
    assert_eq!(second.state, TrialState::Done);
}

#[test]
fn hosts_of_a_running_trial_can_be_entered() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let (mut child, lines) = until(&mut smoke(results.path(), &["--scheme", "direct"]), "streaming");
    let listed = livectl(&["ps"]).output().unwrap();
    assert!(
        text(&listed).contains("direct-1") && text(&listed).contains("hosts: hb, hs, hv1\n"),
        "{}",
        text(&listed)
    );
    let inside = livectl(&["exec", "hb", "--", "ip", "-br", "address", "show", "hb-eth0"]).output().unwrap();
    assert!(inside.status.success() && text(&inside).contains("10.0.0.1/"), "{}", text(&inside));
    let code = livectl(&["exec", "hb", "--", "sh", "-c", "exit 7"]).status().unwrap();
    assert_eq!(code.code(), Some(7));
    let wrong = livectl(&["exec", "nobody", "--", "true"]).output().unwrap();
    assert!(!wrong.status.success() && text(&wrong).contains("it has: "), "{}", text(&wrong));
    signal(&child, nix::sys::signal::Signal::SIGINT);
    lines.for_each(drop);
    child.wait().unwrap();
}
