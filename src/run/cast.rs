//! Who takes part in a trial: every program as a value, made from the plan alone, so that a dry run prints what a run executes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use super::event::Happening;
use super::fitness::{BirthLateness, CaptureDrops, Lateness, Observations};
use super::inside::Teller;
use crate::actor::broadcaster::{Broadcaster, broadcaster};
use crate::actor::cdn::{self, CdnError};
use crate::actor::process::{Actor, Command, Input, Output, Readiness, Stop};
use crate::actor::{Folders, ping, viewer};
use crate::capture;
use crate::emulator;
use crate::network::Links;
use crate::plan::{CapturePoint, NOTIFY_PORT, PEER_PORT, RTMP_PORT, Scheme, Trial};
use crate::store::TrialDir;

/// Where the controller listens: the sandbox's own loopback, where nothing else can be.
pub const CONTROLLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6653);
/// For one program to be ready.
const READY: Duration = Duration::from_secs(20);
/// Where the emulated links are described, in the sandbox's own /tmp.
const EMULATOR_SPEC: &str = "/tmp/emulator.json";

/// For what nobody needs afterwards, in the sandbox's own /tmp.
const SCRATCH: &str = "/tmp/scratch";
/// tcpdump writes what it has and its counts when it is interrupted; nothing else may cut it short.
const CAPTURE_STOP: Stop = Stop { interrupt: Duration::from_secs(10), terminate: Duration::from_secs(2) };

/// Everything that runs on hosts.
#[derive(Debug, Clone)]
pub struct Cast {
    /// tcpdump, one for each point.
    pub captures: Vec<Actor>,
    /// nginx and the notification service.
    pub cdn: Vec<Actor>,
    /// Ping trains and when they start.
    pub pings: Vec<(Duration, Actor)>,
    /// Agents of viewers.
    pub viewers: Vec<Actor>,
    /// Encoders with their agents.
    pub broadcasts: Vec<Broadcaster>,
}

/// The plan leaves someone out.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    /// No CDN.
    #[error(transparent)]
    Cdn(#[from] CdnError),
    /// No shared subnet.
    #[error("{0} shares no subnet with the CDN")]
    Unreachable(String),
}

impl Cast {
    /// Everyone in that trial, with files in `dir`.
    ///
    /// # Errors
    /// The plan has no CDN, or someone cannot reach it.
    pub fn of(trial: &Trial, dir: &TrialDir, livectl: &Path) -> Result<Cast, CastError> {
        let folders = Folders { trial: dir.path().to_owned(), scratch: SCRATCH.into(), livectl: livectl.to_owned() };
        let (mut viewers, mut broadcasts) = (Vec::new(), Vec::new());
        for stream in &trial.streams {
            let unreachable = |host: &str| CastError::Unreachable(host.to_owned());
            let pair = broadcaster(trial, stream, &folders).ok_or_else(|| unreachable(&stream.broadcaster))?;
            broadcasts.push(pair);
            for host in &stream.viewers {
                viewers.push(viewer::agent(trial, stream, host, &folders).ok_or_else(|| unreachable(host))?);
            }
        }
        Ok(Cast {
            captures: trial.captures.iter().map(|point| capture(point, dir)).collect(),
            cdn: vec![cdn::nginx(trial, &folders)?, cdn::notification_service(trial, &folders)?],
            pings: trial.pings.iter().map(|train| (train.start, ping::ping(train, &folders))).collect(),
            viewers,
            broadcasts,
        })
    }
}

fn capture_name(point: &CapturePoint) -> String {
    format!("tcpdump-{}", point.interface)
}

fn capture(point: &CapturePoint, dir: &TrialDir) -> Actor {
    let file = dir.pcap(&point.interface);
    Actor {
        name: capture_name(point),
        host: point.host.clone(),
        command: Command::new(capture::PROGRAM, capture::args(point, &file)),
        folders: file.parent().map(Path::to_owned).into_iter().collect(),
        files: Vec::new(),
        input: Input::Null,
        output: Output::Log,
        log: dir.log(&point.host, &capture_name(point)),
        ready: Readiness::LogLine(capture::READY.into()),
        ready_within: READY,
        alarms: Vec::new(),
        stop: CAPTURE_STOP,
    }
}

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
        let log = std::fs::read_to_string(dir.log(&point.host, &capture_name(point))).unwrap_or_default();
        match capture::Counts::parse(&log) {
            Ok(counts) => {
                seen.captures.push(CaptureDrops { interface: point.interface.clone(), dropped: counts.missing() })
            }
            Err(error) => unknown(format!("{}: {error}", point.interface)),
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
            births.frames.iter().map(|birth| (birth.index, birth.birth_ns.unsigned_abs())).collect();
        let lateness = Lateness::of_births(&moments, trial.video.fps);
        seen.births.push(BirthLateness { broadcaster: stream.broadcaster.clone(), lateness });
    }
}

/// The lateness of the latest direction: a mean over all would hide one link that is late behind many that are idle.
fn worst(report: &emulator::Report) -> Lateness {
    report.directions.iter().map(|d| &d.lateness).fold(Lateness::default(), |worst, one| Lateness {
        count: worst.count + one.packets,
        p50: worst.p50.max(Duration::from_nanos(one.p50_ns)),
        p99: worst.p99.max(Duration::from_nanos(one.p99_ns)),
        max: worst.max.max(Duration::from_nanos(one.max_ns)),
    })
}
