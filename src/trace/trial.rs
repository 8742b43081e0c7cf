//! All that a trial left, joined: one [`FrameDelay`] for each frame of each stream at each of its viewers.

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livectl_wire::frame::FrameId;

use super::births::Births;
use super::captures::Captures;
use super::dump::DumpCheck;
use super::events::has_ended_well;
use super::flows::{Flow, Protocol};
use super::hop::Way;
use super::lanes::Lanes;
use super::pairing::Pairing;
use super::pictures::Pictures;
use super::screens::{StreamScreens, read_screens};
use super::segment::Segment;
use super::watching::Watching;
use crate::file;
use crate::plan::delivery::Carrier;
use crate::plan::{LinkKind, Stream, Trial};
use crate::store::TrialDir;

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
    pub(super) fn and(self, Flow { counts, .. }: &Flow) -> Sent {
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
    pub(super) fn unborn(&self) -> Option<String> {
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
            let context = Watching {
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

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
