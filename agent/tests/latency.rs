//! What the agents cost a frame, beside the same programs without them.
//!
//! `cargo test --release -p live-agent --test latency -- --ignored --nocapture` (root, tcpdump; RTMP's port on
//! loopback must be free).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod stage;

use std::collections::HashMap;
use std::fs::File;
use std::process::{Command, Stdio};

use livectl_wire::agent_event::Event;
use livectl_wire::flows;
use stage::{Running, Stage};

/// Packets of loopback at RTMP's port, until it is stopped.
fn capture(stage: &Stage, name: &str) -> Running {
    let mut command = Command::new("tcpdump");
    command.args(["-i", "lo", "-U", "-B", "65536", "--time-stamp-precision=nano", "-w"]);
    command.arg(stage.path(name)).args(["tcp", "port", "1935"]).stdout(Stdio::null());
    let tcpdump = Running::start("tcpdump", &mut command, stage.path("tcpdump.log"));
    stage::wait_for("tcpdump", || tcpdump.log().contains("listening on"));
    tcpdump
}

/// 2.5 Mbit/s, 30 fps.
fn program(stage: &Stage, to: &str) -> Running {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-fpsprobesize", "0", "-i"]);
    command.args(["testsrc2=size=640x360:rate=30,format=yuv420p,realtime", "-frames:v", "450", "-c:v", "flv1"]);
    command.args(["-b:v", "2500000", "-maxrate", "2500000", "-bufsize", "625000", "-g", "30", "-bf", "0"]);
    command.args(["-rtmp_live", "live", "-f", "flv", &format!("rtmp://{to}/live/hb")]).stdout(Stdio::null());
    Running::start("program", &mut command, stage.path("program.log"))
}

/// From the last byte that leaves the program to the last byte that reaches the player, in microseconds, of every
/// frame.
fn delays(stage: &Stage, name: &str, from: &str, to: &str) -> Vec<f64> {
    let (flows, _) = flows::read(File::open(stage.path(name)).unwrap()).unwrap();
    let sent = flows
        .iter()
        .find(|flow| !flow.is_from_server() && flow.to.ip().to_string() == from && !flow.frames.is_empty());
    let given = flows
        .iter()
        .find(|flow| flow.is_from_server() && flow.from.ip().to_string() == to && !flow.frames.is_empty());
    let left: HashMap<_, _> = sent.unwrap().frames.iter().map(|f| ((f.id, f.timestamp_ms), f.time_ns)).collect();
    let arrived = given
        .unwrap()
        .frames
        .iter()
        .filter_map(|f| Some((f.time_ns - left.get(&(f.id, f.timestamp_ms))?) as f64 / 1000.0));
    arrived.collect()
}

fn report(what: &str, mut delays: Vec<f64>) -> f64 {
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)];
    println!("{what}: {} frames, p50 {:.0} us, p95 {:.0} us, p99 {:.0} us", delays.len(), at(50), at(95), at(99));
    at(50)
}

#[test]
#[ignore = "takes a minute and a half, and the machine to itself"]
fn side_by_side() {
    let (mut bare, mut through, mut merged) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let stage = Stage::at_rtmp_port();
        let tcpdump = capture(&stage, "bare.pcap");
        let mut player = stage.mplayer("player", stage.cdn);
        stage::wait_for("the player", || {
            std::fs::read_to_string(stage.path("nginx.log")).unwrap().contains("play: name='hb'")
        });
        program(&stage, "127.0.0.9").succeeds();
        player.succeeds();
        tcpdump.signal(libc::SIGINT);
        let mut tcpdump = tcpdump;
        tcpdump.exit();
        bare.extend(delays(&stage, "bare.pcap", "127.0.0.9", "127.0.0.9"));
        drop(stage);
        for peer in [false, true] {
            let stage = Stage::at_rtmp_port();
            let mut broadcaster = stage.broadcaster(&["--admit-all"]);
            let address = broadcaster.peers.unwrap().to_string();
            let more = ["--peer", &address];
            let mut viewer = stage.viewer(if peer { &more } else { &[] });
            let mut tcpdump = capture(&stage, "agents.pcap");
            let mut player = stage.mplayer("player", viewer.listen);
            viewer.until("play accepted", |e| matches!(e, Event::PlayAccepted { .. }));
            program(&stage, "127.0.0.1").succeeds();
            player.succeeds();
            broadcaster.until("its end", |e| matches!(e, Event::UploadEnded { .. }));
            for (name, agent) in [("broadcaster", &broadcaster), ("viewer", &viewer)] {
                let (seconds, kib) = agent.process.cost();
                println!("{name}'s agent, peer: {peer}: {:.2} % of a processor, {kib} KiB", seconds / 15.0 * 100.0);
            }
            tcpdump.signal(libc::SIGINT);
            tcpdump.exit();
            let found = delays(&stage, "agents.pcap", "127.0.0.1", "127.0.0.2");
            if peer { merged.extend(found) } else { through.extend(found) }
        }
    }
    let without = report("bare ffmpeg, nginx, mplayer", bare);
    let with = report("through both agents and nginx", through);
    report("through both agents, from the peer", merged);
    assert!(with - without < 500.0, "direct through the agents is what it is without: {with:.0} us, {without:.0} us");
}
