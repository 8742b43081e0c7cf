//! The programs of a trial as values, made from the plan alone, so that a dry run prints what a run
//! executes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use crate::actor::broadcaster::{Broadcaster, broadcaster};
use crate::actor::cdn::{self, CdnError};
use crate::actor::process::{Actor, Command, Output, Readiness, Station, Stop};
use crate::actor::viewer::{Viewer, viewer};
use crate::actor::{Folders, film, ping};
use crate::capture;
use crate::emulator;
use crate::plan::{CapturePoint, NOTIFY_PORT, PEER_PORT, RTMP_PORT, Scheme, Spell, Stream, Trial, VideoSource};
use crate::store::TrialDir;

/// Where the controller listens: the sandbox's own loopback, where nothing else can be.
pub const CONTROLLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6653);
/// For one program to be ready.
const READY: Duration = Duration::from_secs(20);
/// Where the emulated links are described, in the sandbox's own /tmp.
const EMULATOR_SPEC: &str = "/tmp/emulator.json";
/// Where they hear when the timeline begins, beside it.
pub(super) const EMULATOR_SOCKET: &str = "/tmp/emulator.socket";

/// For what nobody needs afterwards, in the sandbox's own /tmp.
const SCRATCH: &str = "/tmp/scratch";
/// tcpdump writes what it has and its counts when it is interrupted; nothing else may cut it short.
const CAPTURE_STOP: Stop = Stop { interrupt: Duration::from_secs(10), terminate: Duration::from_secs(2) };

/// Everything that runs on hosts.
#[derive(Debug, Clone)]
pub struct Cast {
    /// tcpdump, one for each point.
    pub captures: Vec<Actor>,
    /// nginx and, where there may be peers, the notification service.
    pub cdn: Vec<Actor>,
    /// Ping trains and when they start.
    pub pings: Vec<(Duration, Actor)>,
    /// Players with their agents, in each spell of each viewer.
    pub viewers: Vec<Attendance>,
    /// Encoders with their agents, one for each stream.
    pub broadcasts: Vec<Broadcaster>,
    /// What films viewers' screens; `None`: nothing is filmed.
    pub camera: Option<Actor>,
    /// What is done when all is over: reading the clock in each stream, taking a picture of the film.
    pub readers: Vec<Actor>,
}

/// A viewer in one of its spells.
#[derive(Debug, Clone)]
pub struct Attendance {
    /// The viewer's host.
    pub host: String,
    /// Which of its spells, from 1.
    pub number: u32,
    /// When it comes, and how it goes.
    pub spell: Spell,
    /// It is there when the others are, and not because it was told to come.
    pub is_usual: bool,
    /// Its player, and its agent if it has one.
    pub viewer: Viewer,
}

/// The plan lacks something without which it cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    /// There is no CDN.
    #[error(transparent)]
    Cdn(#[from] CdnError),
    /// This host shares no subnet with the CDN.
    #[error("{0} shares no subnet with the CDN")]
    Unreachable(String),
}

impl Cast {
    /// Everyone in that trial, with files in `dir`.
    ///
    /// # Errors
    /// The plan has no CDN, or someone cannot reach it.
    pub fn of(trial: &Trial, dir: &TrialDir, livectl: &Path, agent: &Path) -> Result<Cast, CastError> {
        let folders = Folders {
            trial: dir.clone(),
            scratch: SCRATCH.into(),
            livectl: livectl.to_owned(),
            agent: agent.to_owned(),
        };
        let (mut viewers, mut broadcasts) = (Vec::new(), Vec::new());
        for stream in &trial.streams {
            let unreachable = |host: &str| CastError::Unreachable(host.to_owned());
            let pair = broadcaster(trial, stream, &folders).ok_or_else(|| unreachable(&stream.broadcaster))?;
            broadcasts.push(pair);
            for host in &stream.viewers {
                for (number, spell) in (1..).zip(trial.spells(host)) {
                    let viewer = viewer(trial, stream, host, number, &folders).ok_or_else(|| unreachable(host))?;
                    let is_usual = trial.viewers().any(|usual| usual == (host.as_str(), spell.from));
                    viewers.push(Attendance { host: host.clone(), number, spell, is_usual, viewer });
                }
            }
        }
        let mut cdn = vec![cdn::nginx(trial, &folders)?];
        if trial.point.scheme.has_peers() {
            cdn.push(cdn::notification_service(trial, &folders)?);
        }
        Ok(Cast {
            captures: trial.captures.iter().map(|point| capture(point, dir)).collect(),
            cdn,
            pings: trial.pings.iter().map(|train| (train.start, ping::ping(train, &folders))).collect(),
            viewers,
            camera: film::camera(trial, &folders),
            readers: (trial.streams.iter().filter_map(|stream| clock(trial, stream, dir, livectl)))
                .chain(film::photographer(trial, &folders))
                .collect(),
            broadcasts,
        })
    }
}

/// What reads the clock in the frames of a stream, where there is one.
fn clock(trial: &Trial, stream: &Stream, dir: &TrialDir, livectl: &Path) -> Option<Actor> {
    let VideoSource::Generated { width, .. } = trial.video.source else { return None };
    let host = stream.broadcaster.as_str();
    let file = |path: &Path| path.to_string_lossy().into_owned();
    let log = dir.clock(host);
    let mut args = vec!["internal".to_owned(), "clock".into(), "--width".into(), width.to_string()];
    args.extend(["--stream".into(), file(&dir.recording(host)), "--births".into(), file(&dir.births(host))]);
    args.extend(["--log".into(), file(&log)]);
    trial.video.clock.then(|| Actor {
        name: "clock".into(),
        station: host.into(),
        command: Command::new(livectl.to_string_lossy(), args),
        folders: log.parent().map(Path::to_owned).into_iter().collect(),
        files: Vec::new(),
        output: Output::Log,
        log: dir.log(host, "clock"),
        ready: Readiness::Started,
        ready_within: READY,
        alarms: Vec::new(),
        stop: Stop::default(),
    })
}

fn capture(point: &CapturePoint, dir: &TrialDir) -> Actor {
    let file = dir.pcap(&point.interface);
    Actor {
        name: capture::name(point),
        station: point.host.as_str().into(),
        command: Command::new(capture::PROGRAM, capture::args(point, &file)),
        folders: file.parent().map(Path::to_owned).into_iter().collect(),
        files: Vec::new(),
        output: Output::Log,
        log: dir.log(&point.host, &capture::name(point)),
        ready: Readiness::LogLine(capture::READY.into()),
        ready_within: READY,
        alarms: Vec::new(),
        stop: CAPTURE_STOP,
    }
}

/// The OpenFlow controller, which in schemes with peers knows the network from a file.
#[must_use]
pub fn controller(program: &Path, trial: &Trial, dir: &TrialDir) -> Actor {
    // Which programs fetch what from the CDN is nothing to it.
    let scheme = if trial.point.scheme.has_peers() { trial.point.scheme } else { Scheme::Direct };
    let mut args = vec![
        format!("--listen={CONTROLLER}"),
        format!("--scheme={scheme}"),
        format!("--rtmp-port={RTMP_PORT}"),
        format!("--notify-port={NOTIFY_PORT}"),
        format!("--peer-port={PEER_PORT}"),
    ];
    let mut files = Vec::new();
    if scheme.has_peers() {
        let map = dir.network_map();
        args.push(format!("--network={}", map.display()));
        // Numbers and names: nothing in it can fail to become JSON.
        let text = serde_json::to_string_pretty(&trial.network_map()).unwrap_or_default();
        files.push((map, text + "\n"));
    }
    let mut actor = machine("controller", Command::new(program.to_string_lossy(), args), "listening", dir);
    actor.files = files;
    actor
}

/// The user-space links.
#[must_use]
pub fn emulator(livectl: &Path, trial: &Trial, dir: &TrialDir) -> Actor {
    let spec = emulator::Spec::of(trial, &dir.emulator(), Path::new(EMULATOR_SOCKET));
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
        station: Station::Machine,
        command,
        folders: Vec::new(),
        files: Vec::new(),
        output: Output::Lines,
        log: dir.log("-", name),
        ready: Readiness::Event(ready.into()),
        ready_within: READY,
        alarms: Vec::new(),
        stop: Stop::default(),
    }
}
