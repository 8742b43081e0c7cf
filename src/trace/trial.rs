//! All that a trial left, joined: one [`FrameDelay`] for each frame of each stream at each of its viewers.

use std::io::{self, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::birth::Birth;
use livectl_wire::datagram::stream_number;
use livectl_wire::frame::FrameId;

use super::births::Births;
use super::dump::DumpCheck;
use super::events::has_ended_well;
use super::floor::{Lane, Portion, floor_at, stream_floors};
use super::flows::{self, Arrival, Flow, Protocol};
use super::hop::{AtHost, Captured, Sighting, Sightings, Way};
use super::lanes::Lanes;
use super::pairing::Pairing;
use super::pictures::Pictures;
use super::screens::{StreamScreens, read_screens};
use super::segment::{Segment, segments};
use crate::capture::{self, Counts};
use crate::plan::delivery::{Carrier, Via};
use crate::plan::{CapturePoint, LinkKind, RTMP_APP, Role, SEGMENTS_PATH, Stream, Trial};
use crate::store::TrialDir;
use crate::{file, parallel};

/// Why a trial cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Its plan is not there or cannot be read.
    #[error("cannot read the plan of the trial, {}: {source}", path.display())]
    Read {
        /// Path of `trial.json`.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Its plan is cut off, damaged or of another version.
    #[error("cannot understand the plan of the trial, {}: {source}", path.display())]
    Plan {
        /// Path of `trial.json`.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
}

/// What was born in a trial, what arrived, and by what way.
#[derive(Debug, Clone)]
pub struct TrialTrace {
    /// The plan of the trial.
    pub trial: Trial,
    /// What was emitted, stream by stream, in the plan's order.
    pub births: Vec<StreamBirths>,
    /// What arrived: one for each stream and viewer, in the plan's order.
    pub viewers: Vec<ViewerTrace>,
    /// What is missing or cannot be read, for people. Empty: everything was there and was read to its end.
    pub problems: Vec<String>,
    /// Those of the problems that leave holes in what arrived or in when it passed where: births and captures that are gone, cut off or damaged.
    pub damage: Vec<String>,
}

/// What was emitted of a stream.
#[derive(Debug, Clone)]
pub struct StreamBirths {
    /// Name of the stream.
    pub stream: String,
    /// The log; `None` if there is none.
    pub births: Option<Births>,
    /// What the broadcaster sent the CDN; `None`, here and below: nothing was captured at the broadcaster.
    pub to_cdn: Option<Sent>,
    /// What the broadcaster sent peers.
    pub to_peers: Option<Sent>,
    /// When each frame's picture was taken, and when it was on which screen; `None`: its pictures carry no clock, or it cannot be read.
    pub screens: Option<StreamScreens>,
}

/// A stream at a viewer.
#[derive(Debug, Clone)]
pub struct ViewerTrace {
    /// Name of the stream.
    pub stream: String,
    /// Name of the viewer's host.
    pub viewer: String,
    /// One for each frame born, in the order of births.
    pub frames: Vec<FrameDelay>,
    /// TCP payload bytes from the CDN on this stream's connections, each counted once; `None` without a capture.
    pub cdn_bytes: Option<u64>,
    /// TCP payload bytes from peers, each counted once; `None` without a capture.
    pub peer_bytes: Option<u64>,
    /// UDP payload bytes of datagrams that switches copied to it, each counted once.
    pub group_bytes: Option<u64>,
    /// Of those from peers, what came from viewers.
    pub viewer_bytes: Option<u64>,
    /// Payload bytes that came again, from any of them; `None` without a capture.
    pub repeated_bytes: Option<u64>,
    /// What the CDN sent it on this stream's connections; `None` if nothing was captured there.
    pub cdn_sent: Option<Sent>,
    /// What peers sent it; `None` if nothing was captured at the broadcaster, or at another peer that gave it something.
    pub peer_sent: Option<Sent>,
    /// Frames that arrived and were never born. Any at all means that bytes were altered, or that the births are incomplete.
    pub foreign: u64,
    /// What the player wrote, in each spell. Viewers of older runs had two players, one for the CDN and one for the peer.
    pub dumps: Vec<DumpCheck>,
}

/// TCP payload that a sender put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Bytes in all, each counted as often as it was sent.
    pub bytes: u64,
    /// Of those, what had been sent before: retransmissions.
    pub again: u64,
}

impl Sent {
    /// With what was sent in a flow, as captured at its sender.
    fn and(self, Flow { counts, .. }: &Flow) -> Sent {
        let again = counts.retransmitted + counts.overlapping;
        Sent { bytes: self.bytes + counts.delivered + again, again: self.again + again }
    }
}

/// A frame at a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameDelay {
    /// Counts the stream's frames from 0.
    pub index: u64,
    /// Timestamp in milliseconds, as it was born.
    pub timestamp_ms: u32,
    /// Bytes of its payload.
    pub size: u32,
    /// It can be decoded without any before it.
    pub keyframe: bool,
    /// XXH3-128 of its payload.
    pub id: FrameId,
    /// When it was emitted: nanoseconds of CLOCK_REALTIME.
    pub birth_ns: i64,
    /// The first time that all of it had arrived; `None`: never.
    pub arrival: Option<FirstArrival>,
    /// The way of that copy, hop by hop.
    pub way: Way,
    /// In what it came, where the CDN makes segments.
    pub segment: Option<Segment>,
    /// How often it was delivered in all.
    pub copies: u32,
    /// The least delay that the network allows it; `None` if broadcaster and viewer are not connected.
    pub floor: Option<Duration>,
    /// The same if the path must also carry all that its stream has sent before it.
    pub stream_floor: Option<Duration>,
}

/// The first whole copy of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstArrival {
    /// When its last missing byte was there: nanoseconds of CLOCK_REALTIME.
    pub time_ns: i64,
    /// When the first of its bytes was there.
    pub first_byte_ns: i64,
    /// How it crossed its last edge: RTMP, from a peer, as a group's datagrams or in a segment.
    pub carrier: Carrier,
    /// Its connection's address at the sender.
    pub from: SocketAddr,
    /// The same at the viewer.
    pub to: SocketAddr,
    /// The frame that its segment begins with, by index; `None`: it came in none.
    pub segment: Option<usize>,
}

impl FrameDelay {
    /// Arrival less birth, in nanoseconds. Negative only if something is wrong with the measurement.
    #[must_use]
    pub fn delay_ns(&self) -> Option<i64> {
        self.arrival.and_then(|arrival| arrival.time_ns.checked_sub(self.birth_ns))
    }

    /// Delay less floor, in nanoseconds.
    #[must_use]
    pub fn excess_ns(&self) -> Option<i64> {
        self.over(self.floor?)
    }

    /// Delay less the floor of the stream, in nanoseconds.
    #[must_use]
    pub fn stream_excess_ns(&self) -> Option<i64> {
        self.over(self.stream_floor?)
    }

    fn over(&self, floor: Duration) -> Option<i64> {
        self.delay_ns()?.checked_sub(i64::try_from(floor.as_nanos()).ok()?)
    }
}

impl ViewerTrace {
    /// Frames that were born and never arrived.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.frames.iter().filter(|frame| frame.arrival.is_none()).count()
    }

    /// Whole copies beyond the first.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.copies.saturating_sub(1))).sum()
    }

    /// How many frames are in a dump.
    #[must_use]
    pub fn dumped(&self) -> usize {
        (0..self.frames.len()).filter(|index| self.is_dumped(*index)).count()
    }

    /// The frames that are in no dump, by index.
    #[must_use]
    pub fn undumped(&self) -> Vec<u64> {
        let undumped = self.frames.iter().enumerate().filter(|(index, _)| !self.is_dumped(*index));
        undumped.map(|(_, frame)| frame.index).collect()
    }

    /// What there is to say of frames that arrived and were never born.
    fn unborn(&self) -> Option<String> {
        let (viewer, stream, foreign) = (&self.viewer, &self.stream, self.foreign);
        (foreign > 0).then(|| format!("{viewer}, stream {stream}: {foreign} frames arrived that were never born"))
    }

    fn is_dumped(&self, index: usize) -> bool {
        self.dumps.iter().any(|dump| dump.frames.contains(&index))
    }
}

/// Reads a trial's folder. `used` is what made its links, if that is known better than from the plan, which may have left it open.
///
/// # Errors
/// When there is no plan. Whatever else is missing or damaged is named in [`TrialTrace::problems`].
pub fn read_trial(dir: &Path, used: Option<LinkKind>) -> Result<TrialTrace, TraceError> {
    let path = TrialDir::at(dir).plan();
    let json = file::read(&path).map_err(|source| TraceError::Read { path: path.clone(), source })?;
    let trial: Trial = serde_json::from_slice(&json).map_err(|source| TraceError::Plan { path, source })?;

    let mut problems = Vec::new();
    let mut births: Vec<StreamBirths> =
        trial.streams.iter().map(|stream| read_births(dir, stream, &mut problems)).collect();
    let fewer = trial.streams.iter().zip(&births).filter_map(|(stream, births)| {
        let ended_by_itself = || has_ended_well(&TrialDir::at(dir).events(), &stream.broadcaster, ENCODER);
        fewer_than_planned(&trial, stream, births.births.as_ref()?.frames.len(), ended_by_itself)
    });
    problems.extend(fewer.collect::<Vec<_>>());
    let mut damage = problems.clone();
    let links = used.filter(|used| *used != LinkKind::Auto).unwrap_or(trial.links);
    let mut captures = Captures::read(dir, &trial, links, &mut problems, &mut damage);

    let lanes = Lanes::read(dir, &trial, &mut damage);

    let pictures: Vec<Option<Pictures>> = (trial.streams.iter().zip(&births))
        .map(|(stream, births)| read_pictures(dir, &trial, stream, births.births.as_ref()?, &mut damage))
        .collect();
    for (stream, pictures) in trial.streams.iter().zip(&pictures) {
        captures.recognise(&trial, stream, pictures.as_ref());
    }
    problems.extend(damage.iter().filter(|problem| !problems.contains(problem)).cloned().collect::<Vec<_>>());

    let mut viewers = Vec::new();
    for ((stream, births), pictures) in trial.streams.iter().zip(&mut births).zip(&pictures) {
        births.to_cdn = captures.sent_by(&trial, stream, Protocol::Rtmp);
        births.to_peers = captures.sent_by(&trial, stream, Protocol::Peer);
        births.screens = read_screens(dir, &trial, stream, births.births.as_ref(), &mut problems);
        let births = &*births;
        let frames = births.births.as_ref().map(|births| births.frames.as_slice()).unwrap_or_default();
        let pairing = Pairing::new(frames);
        let sightings = captures.sightings(&trial, stream, &pairing, frames.len());
        for viewer in &stream.viewers {
            let context = Context {
                dir,
                trial: &trial,
                lanes: &lanes,
                stream,
                viewer,
                pairing: &pairing,
                pictures: pictures.as_ref(),
                sightings: &sightings,
            };
            let viewer = context.trace(births.births.as_ref(), &captures, &mut problems);
            // Or the bytes were altered; either way the figures are not of all frames.
            damage.extend(viewer.unborn());
            viewers.push(viewer);
        }
    }
    Ok(TrialTrace { trial, births, viewers, problems, damage })
}

/// What events call the program that makes a stream.
const ENCODER: &str = "encoder";

/// What there is to say of a stream of which fewer frames were born than planned. A program that has to wait for the network (`upload_buffer`) may
/// have come no further: that is an outcome, unless the program had ended by itself, because its clip had. So are a few less of a program that goes by the clock ([`Program::promises`](crate::plan::Program::promises)).
pub(crate) fn fewer_than_planned(
    trial: &Trial,
    stream: &Stream,
    born: usize,
    ended_by_itself: impl FnOnce() -> bool,
) -> Option<String> {
    let planned = trial.video.frames;
    let may_be_held_back = trial.agents.upload_buffer.is_some();
    let is_fewer = born < stream.program.promises(planned) as usize;
    (is_fewer && (!may_be_held_back || ended_by_itself()))
        .then(|| format!("stream {}: {born} of the {planned} frames planned were born", stream.name))
}

fn read_births(dir: &Path, stream: &Stream, problems: &mut Vec<String>) -> StreamBirths {
    let path = TrialDir::at(dir).births(&stream.broadcaster);
    let name = path.strip_prefix(dir).unwrap_or(&path).display();
    let read = file::open(&path).and_then(|file| Births::read(BufReader::new(file)));
    let births = match read {
        Ok(births) => {
            problems.extend(births.problems.iter().map(|problem| format!("{name}: {problem}")));
            Some(births)
        }
        Err(error) => {
            problems.push(format!("{name}: {error}"));
            None
        }
    };
    StreamBirths { stream: stream.name.clone(), births, to_cdn: None, to_peers: None, screens: None }
}

/// The pictures of a stream whose viewers fetch segments, from its recording.
fn read_pictures(
    dir: &Path,
    trial: &Trial,
    stream: &Stream,
    births: &Births,
    damage: &mut Vec<String>,
) -> Option<Pictures> {
    if !trial.point.scheme.is_segmented() {
        return None;
    }
    let path = TrialDir::at(dir).recording(&stream.broadcaster);
    let name = path.strip_prefix(dir).unwrap_or(&path).display();
    match file::open(&path).and_then(|file| Pictures::read(BufReader::new(file), births)) {
        Ok(pictures) => {
            damage.extend(pictures.problem.iter().map(|problem| format!("{name}: {problem}")));
            Some(pictures)
        }
        Err(error) => {
            damage.push(format!("{name}: {error}; what arrived in segments cannot be told apart"));
            None
        }
    }
}

/// What was captured at each host that matters: flows from it and to it.
struct Captures {
    /// By host; `None`: nothing was, or none of it can be read.
    at: Vec<(String, Option<Vec<Captured>>)>,
}

impl Captures {
    /// Reads the captures of viewers, broadcasters and the CDN, as many at a time as there are processors.
    fn read(
        dir: &Path,
        trial: &Trial,
        links: LinkKind,
        problems: &mut Vec<String>,
        damage: &mut Vec<String>,
    ) -> Self {
        let viewers: Vec<&str> =
            trial.streams.iter().flat_map(|stream| stream.viewers.iter().map(String::as_str)).collect();
        let senders = trial.streams.iter().map(|stream| stream.broadcaster.as_str());
        let senders = senders.chain(trial.network.cdn().map(|cdn| cdn.name.as_str()));
        let mut hosts: Vec<&str> = viewers.iter().copied().chain(senders).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let points: Vec<&CapturePoint> =
            trial.captures.iter().filter(|point| hosts.contains(&point.host.as_str())).collect();
        let mut read = parallel::map(&points, |point| read_flows(dir, trial, links, point));

        let mut at: Vec<(String, Option<Vec<Captured>>)> = Vec::new();
        for host in hosts {
            let mut captured = None;
            let mine = points.iter().zip(&mut read).filter(|(point, _)| point.host == host);
            let mut any = false;
            for (point, read) in mine {
                any = true;
                let name = format!("pcap/{}.pcap", point.interface);
                match std::mem::replace(read, Err(String::new())) {
                    Ok(Capture { flows, damage: holes, other }) => {
                        let named = |problem: &String| format!("{name}: {problem}");
                        damage.extend(holes.iter().map(named));
                        problems.extend(holes.iter().chain(&other).map(named));
                        captured.get_or_insert_with(Vec::new).extend(flows);
                    }
                    Err(error) => {
                        damage.push(format!("{name}: {error}"));
                        problems.push(format!("{name}: {error}"));
                    }
                }
            }
            // Without a viewer's packets there is no delay; without a sender's it only cannot be split into parts.
            if !any && viewers.contains(&host) {
                problems.push(format!("{host}: nothing was captured there"));
            }
            at.push((host.to_owned(), captured));
        }
        Self { at }
    }

    /// What was fetched of the stream is known by its name, and its frames by their pictures.
    fn recognise(&mut self, trial: &Trial, stream: &Stream, pictures: Option<&Pictures>) {
        let fetched = StreamKey::new(SEGMENTS_PATH, &stream.name).ok();
        let all = self.at.iter_mut().flat_map(|(_, captured)| captured.iter_mut().flatten());
        for Captured { flow, .. } in all.filter(|seen| seen.flow.protocol == Protocol::Hls) {
            let is_only = flow.stream.is_none() && trial.streams.len() == 1;
            if is_only || flow.stream.is_some() && flow.stream == fetched {
                flow.stream = StreamKey::new(RTMP_APP, &stream.name).ok();
                if let Some(pictures) = pictures {
                    pictures.recognise(flow);
                }
            }
        }
    }

    /// The flows captured at a host.
    fn at(&self, host: &str) -> Option<&[Captured]> {
        self.at.iter().find(|(name, _)| name == host).and_then(|(_, flows)| flows.as_deref())
    }

    /// What the stream's broadcaster sent of it by a protocol.
    fn sent_by(&self, trial: &Trial, stream: &Stream, protocol: Protocol) -> Option<Sent> {
        let key = StreamKey::new(RTMP_APP, &stream.name).ok()?;
        let mine = self.at(&stream.broadcaster)?.iter().map(|seen| &seen.flow).filter(|flow| {
            let from_here = is_address_of(trial, &stream.broadcaster, flow.from.ip());
            flow.protocol == protocol && from_here && flow.stream.as_ref() == Some(&key)
        });
        Some(mine.fold(Sent::default(), Sent::and))
    }

    /// Where the stream's frames were seen, at the hosts that sent any.
    fn sightings(&self, trial: &Trial, stream: &Stream, pairing: &Pairing<'_>, born: usize) -> Sightings {
        let key = StreamKey::new(RTMP_APP, &stream.name).ok();
        let hosts = &trial.network.hosts;
        let mut at = Vec::new();
        for (host, name) in hosts.iter().map(|host| host.name.as_str()).enumerate() {
            let seen =
                self.at(name).unwrap_or_default().iter().filter(|seen| {
                    seen.flow.stream.is_some() && seen.flow.stream == key && !seen.flow.frames.is_empty()
                });
            let is_here = |address: SocketAddr| is_address_of(trial, name, address.ip());
            let (out_of, into): (Vec<&Captured>, Vec<&Captured>) = seen.partition(|seen| is_here(seen.flow.from));
            // Who sends none passes nothing on.
            if !out_of.is_empty() {
                let sightings =
                    |seen: Vec<&Captured>| seen.into_iter().map(|s| Sighting::new(s, pairing, born)).collect();
                at.push(AtHost { host, into: sightings(into), out_of: sightings(out_of) });
            }
        }
        let broadcaster = hosts.iter().position(|host| host.name == stream.broadcaster).unwrap_or(usize::MAX);
        Sightings { broadcaster, at }
    }
}

/// What a capture holds of its host.
struct Capture {
    flows: Vec<Captured>,
    /// For what is wrong there, it is not known which frames arrived or left.
    damage: Vec<String>,
    /// What else is wrong.
    other: Vec<String>,
}

fn read_flows(dir: &Path, trial: &Trial, links: LinkKind, point: &CapturePoint) -> Result<Capture, String> {
    let file = file::open(&TrialDir::at(dir).pcap(&point.interface)).map_err(|error| error.to_string())?;
    let (flows, facts) = flows::read(file).map_err(|error| error.to_string())?;
    let entered_before = entered_before(dir, trial, links, point);
    let is_mine = |address: SocketAddr| is_address_of(trial, &point.host, address.ip());
    let flows = flows.into_iter().map(|flow| of_group(trial, point, flow));
    let mine = flows.filter(|flow| is_mine(flow.from) || is_mine(flow.to));
    let mine: Vec<Captured> = mine.map(|flow| Captured { flow, entered_before }).collect();
    // What a client says to a server matters to nobody but for the stream's name, unless it publishes.
    let matters = |flow: &Flow| flow.is_from_server() && is_mine(flow.to) || !flow.frames.is_empty();
    let (mut damage, mut other) = (facts.problems, Vec::new());
    if facts.packets == 0 {
        damage.push("it holds no packets".to_owned());
    }
    damage.extend(miscounted(facts.packets, &TrialDir::at(dir).log(&point.host, &capture::name(point))));
    for seen in mine.iter().filter(|seen| matters(&seen.flow)) {
        if seen.flow.is_damaged() { &mut damage } else { &mut other }.extend(seen.flow.problems.iter().cloned());
    }
    Ok(Capture { flows: mine, damage, other })
}

/// What there is to say of a capture that does not hold as many packets as tcpdump's log says it wrote: one that was cut off between two packets
/// looks whole by itself. A tcpdump that was killed has not counted, and stored trials may be without logs.
fn miscounted(packets: u64, log: &Path) -> Option<String> {
    let log = file::read(log).ok()?;
    let counts = Counts::parse(&String::from_utf8_lossy(&log)).ok()?;
    let captured = counts.captured;
    (packets != captured).then(|| format!("it holds {packets} packets, and tcpdump wrote {captured}"))
}

/// A flow of datagrams has the stream that they number; and what others send to a group and is captured at a host has come to that host.
fn of_group(trial: &Trial, point: &CapturePoint, flow: Flow) -> Flow {
    let Protocol::Group(number) = flow.protocol else { return flow };
    let keys = trial.streams.iter().filter_map(|stream| StreamKey::new(RTMP_APP, &stream.name).ok());
    let stream = keys.into_iter().find(|key| stream_number(key) == number);
    let interfaces = trial.network.host(&point.host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
    let own = interfaces.iter().find(|interface| interface.name == point.interface).map(|own| own.address);
    let to = match own.map(IpAddr::V4) {
        Some(own) if !is_address_of(trial, &point.host, flow.from.ip()) => SocketAddr::new(own, flow.to.port()),
        _ => flow.to,
    };
    Flow { stream, to, ..flow }
}

/// How long before it is captured there a packet entered the link. See [`hop`](super::hop).
fn entered_before(dir: &Path, trial: &Trial, links: LinkKind, point: &CapturePoint) -> Option<Duration> {
    let netem = match links {
        LinkKind::Netem => true,
        LinkKind::Emulated => false,
        LinkKind::Auto => !TrialDir::at(dir).emulator().exists(),
    };
    if !netem {
        return Some(Duration::ZERO);
    }
    let interfaces = &trial.network.host(&point.host)?.interfaces;
    let interface = interfaces.iter().find(|interface| interface.name == point.interface)?;
    let shape = trial.network.links.get(interface.link)?.shape;
    // With jitter, and where it changes, the link is another one: see `network::tc`.
    (shape.jitter.is_zero() && !trial.changes(interface.link, true)).then_some(shape.delay)
}

/// A switch that does not know where a host is shows its packets to all; those are not the viewer's.
fn is_address_of(trial: &Trial, host: &str, address: IpAddr) -> bool {
    let interfaces = trial.network.host(host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
    interfaces.iter().any(|interface| IpAddr::V4(interface.address) == address)
}

struct Context<'a> {
    dir: &'a Path,
    trial: &'a Trial,
    lanes: &'a Lanes,
    stream: &'a Stream,
    viewer: &'a str,
    pairing: &'a Pairing<'a>,
    /// Where frames come in segments.
    pictures: Option<&'a Pictures>,
    sightings: &'a Sightings,
}

impl Context<'_> {
    fn trace(&self, births: Option<&Births>, captures: &Captures, problems: &mut Vec<String>) -> ViewerTrace {
        let flows = captures.at(self.viewer);
        let by_cdn = if self.trial.point.scheme.is_segmented() { Protocol::Hls } else { Protocol::Rtmp };
        let mut trace = ViewerTrace {
            stream: self.stream.name.clone(),
            viewer: self.viewer.to_owned(),
            frames: births
                .map(|births| born(self.trial, self.lanes, self.stream, self.viewer, births))
                .unwrap_or_default(),
            cdn_bytes: flows.map(|_| 0),
            peer_bytes: flows.map(|_| 0),
            group_bytes: flows.map(|_| 0),
            viewer_bytes: flows.map(|_| 0),
            repeated_bytes: flows.map(|_| 0),
            cdn_sent: self.trial.network.cdn().and_then(|cdn| self.sent(captures.at(&cdn.name)?, by_cdn)),
            peer_sent: None,
            foreign: 0,
            dumps: Vec::new(),
        };
        for Captured { flow, .. } in flows.unwrap_or_default() {
            let to_viewer = is_address_of(self.trial, self.viewer, flow.to.ip());
            if to_viewer && flow.is_from_server() && self.carries_stream(flow, problems) {
                join(&mut trace, flow, self.pairing, births.is_some(), problems);
                if flow.protocol == Protocol::Peer && self.is_viewer(flow.from) {
                    trace.viewer_bytes = trace.viewer_bytes.map(|bytes| bytes + flow.counts.delivered);
                }
            }
        }
        trace.peer_sent = self.sent_by_peers(captures);
        for (index, frame) in trace.frames.iter_mut().enumerate() {
            let Some(arrival) = frame.arrival else { continue };
            frame.way = self.sightings.way(index, arrival, |address| self.host_of(address));
        }
        let segments = segments(&trace.frames);
        for (frame, segment) in trace.frames.iter_mut().zip(segments) {
            frame.segment = segment;
        }
        problems.extend(trace.unborn());
        let from_peers = trace.peer_bytes.is_some_and(|bytes| bytes > 0);
        trace.dumps = self.dumps(births, from_peers, problems);
        trace
    }

    /// Which of the plan's hosts has that address.
    fn host_of(&self, address: SocketAddr) -> Option<usize> {
        let hosts = &self.trial.network.hosts;
        hosts.iter().position(|host| host.interfaces.iter().any(|i| IpAddr::V4(i.address) == address.ip()))
    }

    fn is_viewer(&self, address: SocketAddr) -> bool {
        let host = self.host_of(address).and_then(|host| self.trial.network.hosts.get(host));
        host.is_some_and(|host| host.role == Role::Viewer)
    }

    /// What all peers sent to the viewer of this stream.
    fn sent_by_peers(&self, captures: &Captures) -> Option<Sent> {
        let mut sent = self.sent(captures.at(&self.stream.broadcaster)?, Protocol::Peer)?;
        for peer in self.stream.viewers.iter().filter(|peer| *peer != self.viewer) {
            let Some(seen) = captures.at(peer) else {
                let gave = |seen: &Captured| is_address_of(self.trial, peer, seen.flow.from.ip());
                if captures.at(self.viewer).unwrap_or_default().iter().any(gave) {
                    return None;
                }
                continue;
            };
            let more = self.sent(seen, Protocol::Peer)?;
            sent = Sent { bytes: sent.bytes + more.bytes, again: sent.again + more.again };
        }
        Some(sent)
    }

    /// What was sent to the viewer of this stream, as captured where it was sent from.
    fn sent(&self, captured: &[Captured], protocol: Protocol) -> Option<Sent> {
        let key = StreamKey::new(RTMP_APP, &self.stream.name).ok()?;
        let mine = captured.iter().map(|seen| &seen.flow).filter(|flow| {
            let to_viewer = is_address_of(self.trial, self.viewer, flow.to.ip());
            flow.protocol == protocol && flow.is_from_server() && to_viewer && flow.stream.as_ref() == Some(&key)
        });
        Some(mine.fold(Sent::default(), Sent::and))
    }

    /// Whether a flow to the viewer carries this stream.
    fn carries_stream(&self, flow: &Flow, problems: &mut Vec<String>) -> bool {
        let watched =
            self.trial.streams.iter().filter(|stream| stream.viewers.iter().any(|v| v == self.viewer)).count();
        match &flow.stream {
            Some(stream) => StreamKey::new(RTMP_APP, &self.stream.name).is_ok_and(|mine| mine == *stream),
            // Datagrams say which stream they are of, and this is none of the trial's.
            None if matches!(flow.protocol, Protocol::Group(_)) => false,
            // Who watches one stream alone can mean no other.
            None if watched == 1 => true,
            None => {
                if !flow.frames.is_empty() {
                    let (viewer, from) = (self.viewer, flow.from);
                    problems.push(format!("{viewer}: which stream came from {from} was not seen; it is left out"));
                }
                false
            }
        }
    }

    /// What the player wrote in each spell; of older runs what either of two players wrote, the peer's if it had one.
    fn dumps(&self, births: Option<&Births>, from_peers: bool, problems: &mut Vec<String>) -> Vec<DumpCheck> {
        let Some(births) = births else { return Vec::new() };
        if self.trial.network.host(self.viewer).is_some_and(|host| !host.player.dumps()) {
            return Vec::new();
        }
        let dir = TrialDir::at(self.dir);
        let [of_cdn, of_peer] = dir.older_dumps(self.viewer);
        let is_older = of_cdn.exists() || of_peer.exists();
        let older = [Some(of_cdn), Some(of_peer).filter(|path| from_peers || path.exists())];
        let expected: Vec<(PathBuf, bool)> = if is_older {
            older.into_iter().flatten().map(|path| (path, false)).collect()
        } else {
            let spells = (1..).zip(self.trial.spells(self.viewer));
            spells.map(|(number, spell)| (dir.dump_of(self.viewer, number), spell.end.is_some())).collect()
        };
        expected.iter().filter_map(|(path, ended)| self.dump(path, *ended, births, problems)).collect()
    }

    fn check(&self, file: impl Read, births: &Births) -> io::Result<DumpCheck> {
        match self.pictures {
            Some(pictures) => DumpCheck::read_pictures(file, &pictures.births),
            None => DumpCheck::read(file, births),
        }
    }

    /// `ended`: the player was ended before the stream did, perhaps before it had written anything.
    fn dump(&self, path: &Path, ended: bool, births: &Births, problems: &mut Vec<String>) -> Option<DumpCheck> {
        let name = path.strip_prefix(self.dir).unwrap_or(path).display();
        let check = match file::open(path).and_then(|file| self.check(file, births)) {
            Ok(check) => check,
            Err(error) if ended && error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                return None;
            }
        };
        let is_empty = check.frames.is_empty() && check.foreign == 0;
        problems.extend(
            check.problem.iter().filter(|_| !(ended && is_empty)).map(|problem| format!("{name}: {problem}")),
        );
        for (count, what) in [
            (check.foreign, "video tags were never born"),
            (check.repeated, "frames appear more than once"),
            (check.disordered, "frames appear after later ones"),
        ] {
            problems.extend((count > 0).then(|| format!("{name}: {count} {what}")));
        }
        Some(check)
    }
}

/// A stream's frames at a viewer, none of them arrived yet, in a trial whose links are as planned.
#[must_use]
pub fn unarrived(trial: &Trial, stream: &Stream, viewer: &str, births: &Births, zero_ns: i64) -> Vec<FrameDelay> {
    born(trial, &Lanes::planned(trial, zero_ns), stream, viewer, births)
}

/// A stream's frames at a viewer, none of them arrived yet.
fn born(trial: &Trial, lanes: &Lanes, stream: &Stream, viewer: &str, births: &Births) -> Vec<FrameDelay> {
    let paths = lanes.paths(trial, &stream.broadcaster, viewer);
    let zero_ns = lanes.zero_ns;
    let stream_floors = least_stream_floors(&paths, births, zero_ns);
    let frame = |(birth, stream_floor): (&Birth, Option<Duration>)| FrameDelay {
        index: birth.index,
        timestamp_ms: birth.timestamp_ms,
        size: birth.size,
        keyframe: birth.keyframe,
        id: birth.id,
        birth_ns: birth.birth_ns,
        arrival: None,
        way: Way::default(),
        segment: None,
        copies: 0,
        // Which way is the quickest depends on the frame: long delays matter to small ones, low rates to large ones.
        floor: paths.iter().filter_map(|path| floor_at(path, birth.birth_ns - zero_ns, birth.size)).min(),
        stream_floor,
    };
    births.frames.iter().zip(stream_floors).map(frame).collect()
}

/// The floor of the stream for each frame: the least over the paths, each of which carries all of the stream.
fn least_stream_floors(paths: &[Vec<Lane>], births: &Births, zero_ns: i64) -> Vec<Option<Duration>> {
    // Sound, metadata and codec headers travel with the frames, each in its order.
    let mut stream: Vec<(&Birth, bool)> = births
        .others
        .iter()
        .map(|birth| (birth, false))
        .chain(births.frames.iter().map(|birth| (birth, true)))
        .collect();
    stream.sort_by_key(|(birth, _)| birth.birth_ns);
    let portions: Vec<Portion> =
        stream.iter().map(|(birth, _)| Portion { born_ns: birth.birth_ns - zero_ns, payload: birth.size }).collect();
    let mut least = vec![None; births.frames.len()];
    for path in paths {
        let floors = stream_floors(path, &portions);
        let of_frames =
            floors.into_iter().zip(&stream).filter(|(_, (_, is_frame))| *is_frame).map(|(floor, _)| floor);
        for (least, floor) in least.iter_mut().zip(of_frames) {
            *least = [*least, floor].into_iter().flatten().min();
        }
    }
    least
}

/// Adds what came over a flow.
fn join(trace: &mut ViewerTrace, flow: &Flow, pairing: &Pairing<'_>, born: bool, problems: &mut Vec<String>) {
    let carrier = Carrier::from(flow.protocol);
    let bytes = match carrier.via() {
        Via::Cdn => &mut trace.cdn_bytes,
        Via::Peer => &mut trace.peer_bytes,
        Via::Group => &mut trace.group_bytes,
    };
    *bytes = bytes.map(|bytes| bytes + flow.counts.delivered);
    let repeated = flow.counts.retransmitted + flow.counts.overlapping;
    trace.repeated_bytes = trace.repeated_bytes.map(|bytes| bytes + repeated);
    if !born {
        return;
    }
    let frames: Vec<(FrameId, u32)> = flow.frames.iter().map(|frame| (frame.id, frame.timestamp_ms)).collect();
    let paired = pairing.pair(&frames);
    if paired.by_order > 0 {
        let (viewer, count) = (&trace.viewer, paired.by_order);
        problems.push(format!(
            "{viewer}: {count} frames from {} are equal to others and were told apart by their order",
            flow.from
        ));
    }
    // The frame that begins the segment of the one at that place in the flow.
    let segment = |at: usize| {
        let begun = flow.segments.partition_point(|begin| *begin <= at).checked_sub(1)?;
        *paired.of.get(*flow.segments.get(begun)?)?
    };
    for (at, (arrival, of)) in flow.frames.iter().zip(&paired.of).enumerate() {
        let Some(frame) = of.and_then(|index| trace.frames.get_mut(index)) else {
            trace.foreign += 1;
            continue;
        };
        let Arrival { time_ns, first_byte_ns, .. } = *arrival;
        frame.copies = frame.copies.saturating_add(1);
        if frame.arrival.is_none_or(|first| time_ns < first.time_ns) {
            let (from, to, segment) = (flow.from, flow.to, segment(at));
            frame.arrival = Some(FirstArrival { time_ns, first_byte_ns, carrier, from, to, segment });
        }
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
