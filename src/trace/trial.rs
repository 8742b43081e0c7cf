//! All that a trial left, joined: one [`FrameDelay`] for each frame of each stream at each of its viewers.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::frame::FrameId;

use super::births::Births;
use super::dump::DumpCheck;
use super::floor::floor;
use super::flows::{self, Arrival, Flow, Protocol};
use super::pairing::Pairing;
use crate::plan::{RTMP_APP, Stream, Trial};

/// Why a trial cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Its plan is not there or cannot be read.
    #[error("cannot read the plan of the trial, {}: {source}", path.display())]
    Read {
        /// `trial.json`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its plan is cut off, damaged or of another version.
    #[error("cannot understand the plan of the trial, {}: {source}", path.display())]
    Plan {
        /// `trial.json`.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// What a trial showed.
#[derive(Debug, Clone)]
pub struct TrialTrace {
    /// Its plan.
    pub trial: Trial,
    /// What was emitted, stream by stream, in the plan's order.
    pub births: Vec<StreamBirths>,
    /// What arrived: one for each stream and viewer, in the plan's order.
    pub viewers: Vec<ViewerTrace>,
    /// What is missing or cannot be read, for people. Empty: everything was there and was read to its end.
    pub problems: Vec<String>,
}

/// What was emitted of a stream.
#[derive(Debug, Clone)]
pub struct StreamBirths {
    /// Name of the stream.
    pub stream: String,
    /// The log; `None` if there is none.
    pub births: Option<Births>,
}

/// A stream at a viewer.
#[derive(Debug, Clone)]
pub struct ViewerTrace {
    /// Name of the stream.
    pub stream: String,
    /// The viewer's host.
    pub viewer: String,
    /// One for each frame born, in the order of births.
    pub frames: Vec<FrameDelay>,
    /// TCP payload bytes from the CDN on this stream's connections, each counted once; `None` without a capture.
    pub cdn_bytes: Option<u64>,
    /// The same from peers.
    pub peer_bytes: Option<u64>,
    /// TCP payload bytes that came again, from either; `None` without a capture.
    pub repeated_bytes: Option<u64>,
    /// Frames that arrived and were never born. Any at all means that bytes were altered, or that the births are incomplete.
    pub foreign: u64,
    /// What the player wrote from the CDN; `None` if there is none.
    pub cdn_dump: Option<DumpCheck>,
    /// What the player wrote from the peer; `None` if there is none.
    pub peer_dump: Option<DumpCheck>,
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
    /// Identity of its payload.
    pub id: FrameId,
    /// When it was emitted: nanoseconds of CLOCK_REALTIME.
    pub birth_ns: i64,
    /// The first time that all of it had arrived; `None`: never.
    pub arrival: Option<FirstArrival>,
    /// How often it was delivered in all.
    pub copies: u32,
    /// The least delay that the network allows it; `None` if broadcaster and viewer are not connected.
    pub floor: Option<Duration>,
}

/// The first whole copy of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstArrival {
    /// When its last missing byte was there: nanoseconds of CLOCK_REALTIME.
    pub time_ns: i64,
    /// When the first of its bytes was there.
    pub first_byte_ns: i64,
    /// Where from.
    pub via: Via,
}

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The CDN.
    Cdn,
    /// A peer's agent at that address.
    Peer(SocketAddr),
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
        let floor = i64::try_from(self.floor?.as_nanos()).ok()?;
        self.delay_ns()?.checked_sub(floor)
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

    /// How many frames are in either dump.
    #[must_use]
    pub fn dumped(&self) -> usize {
        (0..self.frames.len()).filter(|index| self.is_dumped(*index)).count()
    }

    /// The frames that are in neither dump, by index.
    #[must_use]
    pub fn undumped(&self) -> Vec<u64> {
        let undumped = self.frames.iter().enumerate().filter(|(index, _)| !self.is_dumped(*index));
        undumped.map(|(_, frame)| frame.index).collect()
    }

    fn is_dumped(&self, index: usize) -> bool {
        [&self.cdn_dump, &self.peer_dump].into_iter().flatten().any(|dump| dump.frames.contains(&index))
    }
}

/// Reads a trial's folder.
///
/// # Errors
/// When there is no plan. Whatever else is missing or damaged is named in [`TrialTrace::problems`].
pub fn read_trial(dir: &Path) -> Result<TrialTrace, TraceError> {
    let path = dir.join("trial.json");
    let json = std::fs::read(&path).map_err(|source| TraceError::Read { path: path.clone(), source })?;
    let trial: Trial = serde_json::from_slice(&json).map_err(|source| TraceError::Plan { path, source })?;

    let mut problems = Vec::new();
    let births: Vec<StreamBirths> =
        trial.streams.iter().map(|stream| read_births(dir, stream, &mut problems)).collect();
    let mut hosts: Vec<&str> =
        trial.streams.iter().flat_map(|stream| stream.viewers.iter().map(String::as_str)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let captured: Vec<(&str, Option<Vec<Flow>>)> =
        hosts.into_iter().map(|host| (host, read_flows(dir, &trial, host, &mut problems))).collect();

    let mut viewers = Vec::new();
    for (stream, births) in trial.streams.iter().zip(&births) {
        for viewer in &stream.viewers {
            let flows = captured.iter().find(|(host, _)| host == viewer).and_then(|(_, flows)| flows.as_deref());
            let context = Context { dir, trial: &trial, stream, viewer };
            viewers.push(context.trace(births.births.as_ref(), flows, &mut problems));
        }
    }
    Ok(TrialTrace { trial, births, viewers, problems })
}

fn read_births(dir: &Path, stream: &Stream, problems: &mut Vec<String>) -> StreamBirths {
    let name = format!("births/{}.csv", stream.broadcaster);
    let read = File::open(dir.join(&name)).and_then(|file| Births::read(BufReader::new(file)));
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
    StreamBirths { stream: stream.name.clone(), births }
}

/// The flows to a host, from all captures on its interfaces; `None` if there is none that can be read.
fn read_flows(dir: &Path, trial: &Trial, host: &str, problems: &mut Vec<String>) -> Option<Vec<Flow>> {
    let mut read = None;
    let points: Vec<_> = trial.captures.iter().filter(|point| point.host == host).collect();
    if points.is_empty() {
        problems.push(format!("{host}: nothing was captured there"));
    }
    for point in points {
        let name = format!("pcap/{}.pcap", point.interface);
        let flows = match File::open(dir.join(&name)).map_err(|error| error.to_string()) {
            Ok(file) => flows::read(file).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match flows {
            Ok((flows, facts)) => {
                problems.extend(facts.problems.iter().map(|problem| format!("{name}: {problem}")));
                let mine = flows.into_iter().filter(|flow| is_address_of(trial, host, flow.to.ip()));
                let before = read.get_or_insert_with(Vec::new).len();
                read.get_or_insert_with(Vec::new).extend(mine);
                for flow in read.iter().flat_map(|flows| flows.iter().skip(before)) {
                    problems.extend(flow.problems.iter().map(|problem| format!("{name}: {problem}")));
                }
            }
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    read
}

/// A switch that does not know where a host is shows its packets to all; those are not the viewer's.
fn is_address_of(trial: &Trial, host: &str, address: IpAddr) -> bool {
    let interfaces = trial.network.host(host).map(|host| host.interfaces.as_slice()).unwrap_or_default();
    interfaces.iter().any(|interface| IpAddr::V4(interface.address) == address)
}

struct Context<'a> {
    dir: &'a Path,
    trial: &'a Trial,
    stream: &'a Stream,
    viewer: &'a str,
}

impl Context<'_> {
    fn trace(&self, births: Option<&Births>, flows: Option<&[Flow]>, problems: &mut Vec<String>) -> ViewerTrace {
        let mut trace = ViewerTrace {
            stream: self.stream.name.clone(),
            viewer: self.viewer.to_owned(),
            frames: self.born(births),
            cdn_bytes: flows.map(|_| 0),
            peer_bytes: flows.map(|_| 0),
            repeated_bytes: flows.map(|_| 0),
            foreign: 0,
            cdn_dump: None,
            peer_dump: None,
        };
        let pairing = Pairing::new(births.map(|births| births.frames.as_slice()).unwrap_or_default());
        for flow in flows.unwrap_or_default() {
            if flow.is_from_server() && self.carries_stream(flow, problems) {
                join(&mut trace, flow, &pairing, births.is_some(), problems);
            }
        }
        if trace.foreign > 0 {
            let (viewer, stream, foreign) = (&trace.viewer, &trace.stream, trace.foreign);
            problems.push(format!("{viewer}, stream {stream}: {foreign} frames arrived that were never born"));
        }
        let from_peers = trace.peer_bytes.is_some_and(|bytes| bytes > 0);
        trace.cdn_dump = self.dump("cdn", births, true, problems);
        trace.peer_dump = self.dump("peer", births, from_peers, problems);
        trace
    }

    /// The stream's frames, none of them arrived yet.
    fn born(&self, births: Option<&Births>) -> Vec<FrameDelay> {
        let paths = self.trial.network.video_paths(&self.stream.broadcaster, self.viewer);
        let births = births.map(|births| births.frames.as_slice()).unwrap_or_default();
        let frame = |birth: &livectl_wire::birth::Birth| FrameDelay {
            index: birth.index,
            timestamp_ms: birth.timestamp_ms,
            size: birth.size,
            keyframe: birth.keyframe,
            id: birth.id,
            birth_ns: birth.birth_ns,
            arrival: None,
            copies: 0,
            // Which way is the quickest depends on the frame: long delays matter to small ones, low rates to large ones.
            floor: paths.iter().map(|path| floor(path, birth.size)).min(),
        };
        births.iter().map(frame).collect()
    }

    /// Whether a flow to the viewer carries this stream.
    fn carries_stream(&self, flow: &Flow, problems: &mut Vec<String>) -> bool {
        let watched =
            self.trial.streams.iter().filter(|stream| stream.viewers.iter().any(|v| v == self.viewer)).count();
        match &flow.stream {
            Some(stream) => StreamKey::new(RTMP_APP, &self.stream.name).is_ok_and(|mine| mine == *stream),
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

    fn dump(
        &self,
        from: &str,
        births: Option<&Births>,
        expected: bool,
        problems: &mut Vec<String>,
    ) -> Option<DumpCheck> {
        let name = format!("dump/{}-{from}.flv", self.viewer);
        let births = births?;
        let check = match File::open(self.dir.join(&name)).and_then(|file| DumpCheck::read(file, births)) {
            Ok(check) => check,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !expected => return None,
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                return None;
            }
        };
        problems.extend(check.problem.iter().map(|problem| format!("{name}: {problem}")));
        if check.foreign > 0 {
            problems.push(format!("{name}: {} video tags were never born", check.foreign));
        }
        Some(check)
    }
}

/// Adds what came over a flow.
fn join(trace: &mut ViewerTrace, flow: &Flow, pairing: &Pairing<'_>, born: bool, problems: &mut Vec<String>) {
    let (via, bytes) = match flow.protocol {
        Protocol::Rtmp => (Via::Cdn, &mut trace.cdn_bytes),
        Protocol::Peer => (Via::Peer(flow.from), &mut trace.peer_bytes),
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
    for (arrival, of) in flow.frames.iter().zip(paired.of) {
        let Some(frame) = of.and_then(|index| trace.frames.get_mut(index)) else {
            trace.foreign += 1;
            continue;
        };
        let Arrival { time_ns, first_byte_ns, .. } = *arrival;
        frame.copies = frame.copies.saturating_add(1);
        if frame.arrival.is_none_or(|first| time_ns < first.time_ns) {
            frame.arrival = Some(FirstArrival { time_ns, first_byte_ns, via });
        }
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
