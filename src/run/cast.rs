//! Who takes part in a trial: every program as a value, made from the plan alone, so that a dry run prints what a run executes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use super::event::Happening;
use super::fitness::{BirthLateness, CaptureDrops, Lateness, Observations, dropped_by_kernel};
use super::inside::Teller;
use crate::actor::process::{Actor, Command, Input, Output, Readiness, Stop};
use crate::emulator;
use crate::network::Links;
use crate::plan::{NOTIFY_PORT, PEER_PORT, RTMP_PORT, Scheme, Trial};
use crate::store::TrialDir;

/// Where the controller listens: the sandbox's own loopback, where nothing else can be.
pub const CONTROLLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6653);
/// For one program to be ready.
const READY: Duration = Duration::from_secs(20);
/// Where the emulated links are described, in the sandbox's own /tmp.
const EMULATOR_SPEC: &str = "/tmp/emulator.json";

/// The OpenFlow controller.
#[must_use]
pub fn controller(program: &Path, scheme: Scheme, dir: &TrialDir) -> Actor {
    let args = [
        format!("--listen={CONTROLLER}"),
        format!("--scheme={scheme}"),
        format!("--rtmp-port={RTMP_PORT}"),
        format!("--notify-port={NOTIFY_PORT}"),
        format!("--peer-port={PEER_PORT}"),
    ];
    machine("controller", Command::new(program.to_string_lossy(), args), "listening", dir)
}

/// The user-space links.
#[must_use]
pub fn emulator(livectl: &Path, trial: &Trial, dir: &TrialDir) -> Actor {
    let spec = emulator::Spec::of(trial, &dir.emulator());
    let args = ["internal", "emulator", "--spec", EMULATOR_SPEC];
    let mut actor = machine("emulator", Command::new(livectl.to_string_lossy(), args), "ready", dir);
    // Numbers, names and paths: nothing in it can fail to become JSON.
    actor.files = vec![(EMULATOR_SPEC.into(), serde_json::to_string(&spec).unwrap_or_default())];
    actor
}

/// A program of the network's own, on no host.
fn machine(name: &str, command: Command, ready: &str, dir: &TrialDir) -> Actor {
    Actor {
        name: name.into(),
        host: "-".into(),
        command,
        folders: Vec::new(),
        files: Vec::new(),
        input: Input::Null,
        output: Output::Lines,
        log: dir.log("-", name),
        ready: Readiness::Event(ready.into()),
        ready_within: READY,
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}

/// Adds to what the watch saw what the trial's programs tell of themselves: drops of captures, lateness of links and of births.
pub fn complete(seen: &mut Observations, trial: &Trial, dir: &TrialDir, links: Links, teller: &Teller) {
    let unknown = |text: String| teller.tell(Happening::Warning { text });
    for point in &trial.captures {
        let log = dir.log(&point.host, &crate::capture::name(point));
        match std::fs::read_to_string(&log).ok().as_deref().and_then(dropped_by_kernel) {
            Some(dropped) => seen.captures.push(CaptureDrops { interface: point.interface.clone(), dropped }),
            None => unknown(format!("the capture on {} does not say how many packets it missed", point.interface)),
        }
    }
    if links == Links::Emulated {
        let report = std::fs::read(dir.emulator()).ok();
        match report.and_then(|bytes| serde_json::from_slice::<emulator::Report>(&bytes).ok()) {
            Some(report) => seen.emulator = Some(worst(&report)),
            None => unknown("the emulated links left no report of their lateness".into()),
        }
    }
    for stream in &trial.streams {
        let births = std::fs::File::open(dir.births(&stream.broadcaster));
        let births = births.and_then(|file| crate::trace::Births::read(std::io::BufReader::new(file)));
        let Ok(births) = births else { continue };
        let moments: Vec<(u64, u64)> =
            births.frames.iter().map(|birth| (birth.index, birth.time_ns.unsigned_abs())).collect();
        let lateness = Lateness::of_births(&moments, trial.video.fps);
        seen.births.push(BirthLateness { broadcaster: stream.broadcaster.clone(), lateness });
    }
}

/// The lateness of the latest direction: a mean over all would hide one link that is late behind many that are idle.
fn worst(report: &emulator::Report) -> Lateness {
    let us = |value: f64| Duration::from_secs_f64(value.max(0.0) / 1e6);
    report.directions.iter().map(|d| &d.lateness).fold(Lateness::default(), |worst, one| Lateness {
        count: worst.count + one.packets,
        p50: worst.p50.max(us(one.p50_us)),
        p99: worst.p99.max(us(one.p99_us)),
        max: worst.max.max(us(one.max_us)),
    })
}
