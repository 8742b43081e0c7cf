//! What a viewer got of a stream: its frames, from whom, by which way, and when.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use livectl_wire::StreamKey;
use livectl_wire::birth::Birth;
use livectl_wire::frame::FrameId;

use super::births::Births;
use super::captures::{Captures, is_address_of};
use super::dump::DumpCheck;
use super::floor::{Lane, Portion, floor_at, stream_floors};
use super::flows::{Arrival, Flow, Protocol};
use super::hop::{Captured, Sightings, Way};
use super::lanes::Lanes;
use super::pairing::Pairing;
use super::pictures::Pictures;
use super::segment::segments;
use super::trial::{FirstArrival, FrameDelay, Sent, ViewerTrace};
use crate::file;
use crate::plan::delivery::{Carrier, Via};
use crate::plan::{RTMP_APP, Role, Stream, Trial};
use crate::store::TrialDir;

/// What is needed to tell what a viewer got of a stream.
pub(super) struct Watching<'a> {
    pub(super) dir: &'a Path,
    pub(super) trial: &'a Trial,
    pub(super) lanes: &'a Lanes,
    pub(super) stream: &'a Stream,
    pub(super) viewer: &'a str,
    pub(super) pairing: &'a Pairing<'a>,
    /// Where frames come in segments.
    pub(super) pictures: Option<&'a Pictures>,
    pub(super) sightings: &'a Sightings,
}

impl Watching<'_> {
    pub(super) fn trace(
        &self,
        births: Option<&Births>,
        captures: &Captures,
        problems: &mut Vec<String>,
    ) -> ViewerTrace {
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
