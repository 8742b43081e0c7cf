//! A trial's actors on a test network, and what they leave.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use livectl::actor::agent::event::{Event, Line, Path};
use livectl::actor::process::{self, Actor, Command, Ends, Exit, Input, Output, Place, Process, Readiness, Stop};
use livectl::actor::{Folders, broadcaster, cdn, viewer};
use livectl::capture;
use livectl::plan::{
    CapturePoint, Cdn, Codec, Datapath, End, Host, Interface, Link, LinkKind, Role, Scheme, Shape, Stream, Timeline,
    Trial, Video, VideoSource,
};
use livectl_wire::birth::{Birth, BirthKind, HEADER};
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader};
use livectl_wire::frame::FrameId;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::livectl::in_place_of;
use crate::network::Network;

/// No single step of these tests takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stage<'a> {
    network: &'a Network,
    folder: Option<tempfile::TempDir>,
    folders: Folders,
    trial: Trial,
    running: HashMap<&'static str, Process>,
    pub viewer: Events,
    pub broadcaster: Events,
}

/// The events of an agent.
#[derive(Default)]
pub struct Events {
    lines: Option<mpsc::Receiver<String>>,
    seen: Vec<Line>,
    log: PathBuf,
}

impl<'a> Stage<'a> {
    pub fn new(network: &'a Network, frames: u32, codec: Codec, audio: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders {
            trial: folder.path().join("trial"),
            scratch: folder.path().join("scratch"),
            livectl: "livectl".into(),
        };
        let (trial, running) = (trial(frames, codec, audio), HashMap::new());
        Self {
            network,
            folder: Some(folder),
            folders,
            trial,
            running,
            viewer: Events::default(),
            broadcaster: Events::default(),
        }
    }

    /// The plan says that every link has this bandwidth, in bit/s; 4 Mbit/s without it.
    pub fn plan_bandwidth(&mut self, bit_per_s: u64) {
        for link in &mut self.trial.network.links {
            link.shape.bandwidth = Some(bit_per_s);
        }
    }

    /// Whether the CDN's connections are to have TCP_NODELAY; they have it without this.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.trial.cdn = Cdn { nodelay };
    }

    async fn start(&mut self, name: &'static str, actor: &Actor, ends: Ends) {
        let mut actor = actor.clone();
        if actor.command.program == "livectl" {
            actor.command = in_place_of(&actor.command);
        }
        let mut process = Process::spawn(&actor, Place::Host(self.network.pid(&actor.host)), ends).unwrap();
        let lines = process.lines();
        process.ready().await.unwrap();
        let events = Events { lines, seen: Vec::new(), log: actor.log.clone() };
        match name {
            "viewer" => self.viewer = events,
            "broadcaster" => self.broadcaster = events,
            _ => (),
        }
        self.running.insert(name, process);
    }

    pub async fn start_viewer(&mut self) {
        let actor = viewer::agent(&self.trial, &self.trial.streams[0], "hv", &self.folders).unwrap();
        self.start("viewer", &actor, Ends::default()).await;
    }

    pub async fn start_cdn(&mut self) {
        let nginx = cdn::nginx(&self.trial, &self.folders).unwrap();
        let notify = cdn::notification_service(&self.trial, &self.folders).unwrap();
        self.start("nginx", &nginx, Ends::default()).await;
        self.start("notify", &notify, Ends::default()).await;
    }

    /// With a service that introduces viewer and broadcaster, as the controller would.
    pub async fn start_cdn_with_introductions(&mut self) {
        let nginx = cdn::nginx(&self.trial, &self.folders).unwrap();
        let mut notify = cdn::notification_service(&self.trial, &self.folders).unwrap();
        notify.command = Command::new("livectl", ["introduce", "10.0.0.2:42857", "10.0.0.1", "10.0.0.3"]);
        self.start("nginx", &nginx, Ends::default()).await;
        self.start("notify", &notify, Ends::default()).await;
    }

    pub async fn start_broadcaster(&mut self) {
        let actors = broadcaster::broadcaster(&self.trial, &self.trial.streams[0], &self.folders).unwrap();
        let (read, write) = process::pipe().unwrap();
        self.start("broadcaster", &actors.agent, Ends { stdin: Some(read), stdout: None }).await;
        self.start("encoder", &actors.encoder, Ends { stdin: None, stdout: Some(write) }).await;
    }

    /// Waits until the CDN knows the viewer: what was broadcast before is not for it.
    pub async fn viewer_has_joined(&self) {
        let joined = async {
            while !self.log("hs", "nginx").contains("play: name='hb'") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, joined).await.expect("the player asks for the stream");
    }

    /// tcpdump there; not one of those that [`Stage::stop`] stops.
    pub async fn capture(&self, point: &CapturePoint) -> Process {
        let file = self.pcap(&point.interface);
        let actor = Actor {
            name: "tcpdump".into(),
            host: point.host.clone(),
            command: Command::new(capture::PROGRAM, capture::args(point, &file)),
            folders: vec![file.parent().unwrap().to_owned()],
            files: vec![],
            input: Input::Null,
            output: Output::Log,
            log: self.folders.trial.join(format!("log/{}-tcpdump.log", point.host)),
            ready: Readiness::LogLine(capture::READY.into()),
            ready_within: Duration::from_secs(5),
            alarms: vec![],
            stop: Stop::default(),
        };
        let process = Process::spawn(&actor, Place::Host(self.network.pid(&point.host)), Ends::default()).unwrap();
        process.ready().await.unwrap();
        process
    }

    /// Waits until the CDN knows the broadcaster.
    pub async fn broadcaster_has_joined(&self) {
        let joined = async {
            while !self.log("hs", "nginx").contains("publish: name='hb'") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, joined).await.expect("the encoder publishes its stream");
    }

    /// nginx's master.
    pub fn cdn_pid(&self) -> u32 {
        self.running["nginx"].pid()
    }

    pub fn cdn_alarm(&self) -> Option<String> {
        self.running["nginx"].alarm()
    }

    pub async fn cdn_alarmed(&self) -> String {
        timeout(PATIENCE, self.running["nginx"].alarmed()).await.expect("an alarm")
    }

    /// Starts nginx, which must fail, and gives the reason.
    pub async fn cdn_refused(&self) -> String {
        let mut nginx = cdn::nginx(&self.trial, &self.folders).unwrap();
        nginx.command = in_place_of(&nginx.command);
        let place = Place::Host(self.network.pid(&nginx.host));
        let process = Process::spawn(&nginx, place, Ends::default()).unwrap();
        let why = process.ready().await.expect_err("nginx must not start").to_string();
        process.stop().await;
        why
    }

    async fn exit(&self, name: &str) -> Exit {
        timeout(PATIENCE, self.running[name].wait()).await.expect(name)
    }

    pub async fn viewer_exit(&self) -> Exit {
        self.exit("viewer").await
    }

    pub async fn encoder_exit(&self) -> Exit {
        self.exit("encoder").await
    }

    /// Also takes in its last events.
    pub async fn broadcaster_exit(&mut self) -> Exit {
        self.broadcaster.until("its end", |e| matches!(e, Event::Ended { .. })).await;
        self.exit("broadcaster").await
    }

    pub fn encoder_alarm(&self) -> Option<String> {
        self.running["encoder"].alarm()
    }

    pub async fn stop_viewer(&self) -> Exit {
        self.running["viewer"].stop().await
    }

    pub async fn kill_broadcaster_agent(&self) {
        let pid = i32::try_from(self.running["broadcaster"].pid()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        self.exit("broadcaster").await;
    }

    pub async fn stop(&mut self) {
        for name in ["viewer", "encoder", "broadcaster", "notify", "nginx"] {
            if let Some(process) = self.running.remove(name) {
                process.stop().await;
            }
        }
    }

    pub fn log(&self, host: &str, name: &str) -> String {
        std::fs::read_to_string(self.folders.trial.join(format!("log/{host}-{name}.log"))).unwrap()
    }

    pub fn pcap(&self, interface: &str) -> PathBuf {
        self.folders.trial.join(format!("pcap/{interface}.pcap"))
    }

    /// The frames that were born.
    pub fn births(&self) -> Vec<Birth> {
        let text = std::fs::read_to_string(self.folders.trial.join("births/hb.csv")).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEADER));
        let all = lines.map(|line| line.parse::<Birth>().unwrap());
        all.filter(|birth| birth.kind == BirthKind::Video).collect()
    }

    pub fn dump_cdn(&self, attempt: u32) -> Dump {
        self.dump("cdn", attempt)
    }

    pub fn dump_peer(&self, attempt: u32) -> Dump {
        self.dump("peer", attempt)
    }

    fn dump(&self, path: &str, attempt: u32) -> Dump {
        let number = if attempt == 1 { String::new() } else { format!(".{attempt}") };
        Dump::of(&std::fs::read(self.folders.trial.join(format!("dump/hv-{path}{number}.flv"))).unwrap())
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take()
            && std::thread::panicking()
        {
            println!("logs, births, dumps and captures are kept in {}", folder.keep().display());
        }
    }
}

impl Events {
    /// Waits for such an event.
    pub async fn until(&mut self, what: &str, is: impl Fn(&Event) -> bool) {
        let lines = self.lines.as_mut().unwrap();
        let next = async {
            while let Some(line) = lines.recv().await {
                // The test program says something of its own before it becomes livectl.
                let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
                let found = is(&line.event);
                self.seen.push(line);
                if found {
                    return true;
                }
            }
            false
        };
        let found = timeout(PATIENCE, next).await;
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        assert_eq!(found, Ok(true), "waiting for {what}; so far {:#?}\n{log}", self.seen);
    }

    pub fn has(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.seen.iter().any(|line| is(&line.event))
    }

    pub fn find<T>(&self, is: impl Fn(&Event) -> Option<T>) -> Option<T> {
        self.seen.iter().find_map(|line| is(&line.event))
    }

    /// The attempts of players on that path.
    pub fn attempts(&self, on: Path) -> Vec<u32> {
        let attempt = |line: &Line| match &line.event {
            Event::PlayerStarted { path, attempt, .. } if *path == on => Some(*attempt),
            _ => None,
        };
        self.seen.iter().filter_map(attempt).collect()
    }

    /// The times between which the upload had a limit, in nanoseconds, and the limit in bit/s. The first half second after a change is
    /// left out: what TCP has in flight then was sent before.
    pub fn paced(&self) -> Vec<(i64, i64, u64)> {
        let change = |line: &Line| match line.event {
            Event::Pacing { bit_per_s, .. } => Some((line.time_ns, bit_per_s)),
            _ => None,
        };
        let changes: Vec<_> = self.seen.iter().filter_map(change).collect();
        let pairs = changes.iter().zip(changes.iter().skip(1));
        let paced = pairs.filter_map(|((from, limit), (to, _))| Some((from + 500_000_000, *to, (*limit)?)));
        paced.filter(|(from, to, _)| to - from > 500_000_000).collect()
    }
}

/// What a player has dumped.
pub struct Dump {
    frames: Vec<FrameId>,
    /// The file ends in the middle of a frame, as mplayer's do: see `actor::player`.
    cut: bool,
}

impl Dump {
    pub fn of(bytes: &[u8]) -> Self {
        let mut frames = Vec::new();
        let mut reader = Reader::new(MAX_PAYLOAD);
        let read = reader.push(bytes, |tag| {
            if matches!(tag.content(), Content::Picture { .. }) {
                frames.push(FrameId::of(tag.payload));
            }
        });
        read.unwrap();
        let cut = reader.tail().is_some() && bytes.len().is_multiple_of(2048);
        Self { frames, cut }
    }

    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    pub fn last(&self) -> Option<FrameId> {
        self.frames.last().copied()
    }

    pub fn repeated(&self) -> usize {
        let distinct: std::collections::HashSet<_> = self.frames.iter().collect();
        self.frames.len() - distinct.len()
    }

    pub fn has(&self, id: &str) -> bool {
        self.frames.contains(&id.parse().unwrap())
    }

    /// Indices of births that are not in it; the last one may be the one that the player cut.
    pub fn missing_but_a_cut_tail(&self, births: &[Birth]) -> Vec<u64> {
        let mut missing = union(&[self], births);
        if self.cut && missing.last() == Some(&(births.len() as u64 - 1)) {
            missing.pop();
        }
        missing
    }
}

/// Indices of births that are in none of the dumps.
pub fn union(dumps: &[&Dump], births: &[Birth]) -> Vec<u64> {
    let missing = births.iter().filter(|birth| !dumps.iter().any(|dump| dump.frames.contains(&birth.id)));
    missing.map(|birth| birth.index).collect()
}

/// Frames are born when their timestamps say: half of them within 3 ms, 95 % within 30 ms of the earliest.
pub fn assert_prompt(births: &[Birth]) {
    let moment = |birth: &Birth| birth.birth_ns - i64::from(birth.timestamp_ms) * 1_000_000;
    let earliest = births.iter().map(moment).min().unwrap();
    let mut late: Vec<i64> = births.iter().map(|birth| (moment(birth) - earliest) / 1000).collect();
    late.sort_unstable();
    let (p50, p95) = (late[late.len() / 2], late[late.len() * 95 / 100]);
    println!("births late by {p50} us (p50), {p95} us (p95), {} us (max)", late[late.len() - 1]);
    assert!(p50 < 3_000 && p95 < 30_000, "p50 {p50} us, p95 {p95} us");
}

/// Bits on the wire to that TCP port between two times, from a classic pcap with nanoseconds.
pub fn wire_bits_to_port(pcap: &[u8], port: u16, from_ns: i64, to_ns: i64) -> f64 {
    let word = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_3c4d, "nanosecond pcap of a little-endian machine");
    let (mut at, mut bytes) = (24, 0.0);
    while at + 16 <= pcap.len() {
        let time = i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4));
        let (len, packet) = (word(at + 8) as usize, &pcap[at + 16..]);
        // IPv4 without options, TCP: its destination port is at 36.
        let to_port = len > 54 && packet[12..14] == [8, 0] && packet[23] == 6 && packet[36..38] == port.to_be_bytes();
        if to_port && (from_ns..to_ns).contains(&time) {
            bytes += f64::from(word(at + 12));
        }
        at += 16 + len;
    }
    bytes * 8.0
}

fn trial(frames: u32, codec: Codec, audio: bool) -> Trial {
    let roles = [("hb", Role::Broadcaster), ("hs", Role::Cdn), ("hv", Role::Viewer)];
    let host = |(n, (name, role)): (usize, &(&str, Role))| Host {
        name: (*name).into(),
        role: *role,
        interfaces: vec![Interface {
            name: format!("{name}-eth0"),
            mac: format!("02:00:00:00:00:0{}", n + 1),
            address: format!("10.0.0.{}", n + 1).parse().unwrap(),
            prefix: 24,
            link: n,
        }],
    };
    let link = |(n, (name, _)): (usize, &(&str, Role))| Link {
        a: End { node: (*name).into(), interface: format!("{name}-eth0") },
        b: End { node: "s1".into(), interface: format!("s1-eth{}", n + 1) },
        shape: Shape {
            bandwidth: Some(4_000_000),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            queue: 1000,
        },
    };
    Trial {
        id: "bypass-1".into(),
        scheme: Scheme::Bypass,
        repetition: 1,
        seed: 1,
        network: livectl::plan::Network {
            switches: vec![],
            hosts: roles.iter().enumerate().map(host).collect(),
            links: roles.iter().enumerate().map(link).collect(),
        },
        video: Video {
            source: VideoSource::Generated { pattern: "testsrc2".into(), width: 640, height: 360 },
            fps: 30,
            frames,
            codec,
            bitrate: 2_500_000,
            keyframe_interval: 30,
            audio,
        },
        streams: vec![Stream { name: "hb".into(), broadcaster: "hb".into(), viewers: vec!["hv".into()] }],
        timeline: Timeline {
            broadcast_at: Duration::ZERO,
            view_at: Duration::ZERO,
            end: Duration::from_secs(10),
            drain: Duration::from_secs(20),
        },
        pings: vec![],
        captures: vec![],
        links: LinkKind::Auto,
        datapath: Datapath::Auto,
        congestion_control: "cubic".into(),
        initial_window: 10,
        cdn: Cdn { nodelay: true },
    }
}
