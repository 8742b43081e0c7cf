//! What [`trace`](crate::trace) read, as rows: the one place that knows both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::audience::{StreamFacts, audiences};
use super::broadcasts::broadcast_rows;
use super::doubt::doubts;
use super::files::{write_broadcasts, write_crowds, write_if_any, write_shown, write_trunks};
use super::playout::playouts;
use super::rows::{
    AudienceRow, BroadcastRow, CrowdRow, FrameRow, PingRow, PlayoutRow, ReattachmentRow, ShownRow, SummaryRow,
    TrunkRow,
};
use super::shown::{screen_facts, shown_rows};
use super::summary::{ViewerFacts, mark_late, summarise};
use super::trunks::trunk_rows;
use super::{TableError, ping_rows, write_trial};
use crate::plan::{Departure, Host, LinkKind, Trial};
use crate::store::{self, TrialDir, TrialRecord};
use crate::trace::{
    self, Bound, FrameDelay, Parts, Reattachment, Stay, StreamBirths, StreamScreens, Told, TrialTrace, ViewerTrace,
    ping,
};

/// The tables of a trial, row by row, and what is wrong with what they were made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// One for each frame of each stream that was born while the viewer was there, at each viewer whose packets were captured.
    pub frames: Vec<FrameRow>,
    /// One for each ping and each further answer.
    pub pings: Vec<PingRow>,
    /// One for each viewer of each stream.
    pub summary: Vec<SummaryRow>,
    /// One for each viewer of each stream and playout buffer.
    pub playouts: Vec<PlayoutRow>,
    /// One for each stream.
    pub audience: Vec<AudienceRow>,
    /// One for each viewer who had a stream from one that went, each time.
    pub reattachments: Vec<ReattachmentRow>,
    /// One for each direction of each link between switches.
    pub trunks: Vec<TrunkRow>,
    /// One for each frame of each viewer with a screen.
    pub shown: Vec<ShownRow>,
    /// `broadcasts.csv`, where a program other than ffmpeg broadcasts.
    pub broadcasts: Vec<BroadcastRow>,
    /// `crowds.csv`, of a prediction for a crowd.
    pub crowds: Vec<CrowdRow>,
    /// What is missing or cannot be read, for people; empty: everything was there.
    pub problems: Vec<String>,
    /// Why the delays cannot be taken for the network's ([`doubts`]); empty: nothing speaks against them.
    pub doubts: Vec<String>,
    /// Those of the problems that make the trial partial, for [`TrialRecord::damage`].
    pub damage: Vec<String>,
    /// Files that it was computed from are not what was stored, and nothing else is wrong with them: what was stored is
    /// more worth.
    pub is_only_altered: bool,
}

/// Computes a trial's tables from the files in its folder.
///
/// What is missing or damaged is named in [`Analysis::problems`], and the rest is computed without it. `links` is what made the links, as the
/// manifest has it; the plan may have left it open.
///
/// # Errors
/// [`TableError::Trace`] if the folder has no plan, [`TableError::Mismatch`] if what is in it is not of one trial.
pub fn analyse(trial: &TrialDir, record: &TrialRecord, links: Option<LinkKind>) -> Result<Analysis, TableError> {
    let trace = trace::read_trial(trial.path(), links)?;
    if trace.trial.id != record.id {
        let why = format!("it is the plan of {} and not of {}", trace.trial.id, record.id);
        return Err(TableError::Mismatch { path: trial.plan(), why });
    }
    let mut problems = trace.problems.clone();
    // Of what was planned and cannot be read, the tables lack something: the trial is not whole.
    let mut damage = trace.damage.clone();
    let known = problems.len();
    let (told, unread) = trace::told(&trial.events()).unwrap_or_else(|error| {
        problems.push(format!("events.jsonl: {error}; startup delays and what was skipped are not known"));
        Default::default()
    });
    if unread > 0 {
        let text =
            format!("events.jsonl: {unread} lines cannot be read; startup delays and what was skipped may be others");
        problems.push(text);
    }
    let zero_ns = record.zero_ns.or_else(|| planned_zero_ns(&trace));
    let mut pings = Vec::new();
    for train in &trace.trial.pings {
        let name = format!("ping/{}-{}.txt", train.from, train.to);
        match ping::read(&trial.ping(&train.from, &train.to)) {
            Ok(log) => {
                if let Some(other) = elsewhere(&trace.trial, &train.to, &log) {
                    problems.push(format!("{name}: it pinged {other}, which is no address of {}", train.to));
                    continue;
                }
                if let Some(first) = log.unreadable.first() {
                    let count = log.unreadable.len();
                    problems.push(format!("{name}: {count} lines cannot be read; the first is {first:?}"));
                }
                problems.extend(log.contradictions.iter().map(|why| format!("{name}: {why}")));
                if log.another_follows {
                    problems.push(format!("{name}: another ping's output follows and was not read"));
                }
                pings.extend(ping_rows(&trace.trial, train, zero_ns, &log));
            }
            // The name within the trial is enough, as for the other files.
            Err(ping::PingError::Read { source, .. }) => problems.push(format!("{name}: {source}")),
            Err(e) => problems.push(e.to_string()),
        }
    }
    damage.extend(problems[known..].iter().cloned());
    let altered = store::altered(trial.path(), &record.files, |name| !trial.is_table(name));
    // What was seen to be damaged has been named already.
    let is_named =
        |what: &str| damage.iter().any(|known| what.split(':').next().is_some_and(|name| known.contains(name)));
    let unseen: Vec<String> = altered.into_iter().filter(|what| !is_named(what)).collect();
    let is_unseen = damage.is_empty() && !unseen.is_empty();
    problems.extend(unseen.iter().cloned());
    damage.extend(unseen);
    let analysis = tabulate(trial, Observed { trace, told, pings, problems, damage }, record, links);
    before_birth(trial, &analysis.frames)?;
    Ok(Analysis { is_only_altered: is_unseen, ..analysis })
}

/// The address that was pinged, if it is not one of the host's.
fn elsewhere(trial: &Trial, host: &str, log: &ping::PingLog) -> Option<IpAddr> {
    let addresses: Vec<IpAddr> =
        trial.network.host(host)?.interfaces.iter().map(|interface| interface.address.into()).collect();
    log.target.filter(|target| !addresses.is_empty() && !addresses.contains(target))
}

/// How long before its birth a frame may seem to arrive, in milliseconds: births can be stamped late on a busy machine, and
/// then the trial is unfit.
const BEFORE_BIRTH_MS: f64 = -1000.0;

/// An error if most frames of a stream arrived long before they were born: births and captures are not of one trial
/// then, and no figure of theirs means anything.
fn before_birth(trial: &TrialDir, frames: &[FrameRow]) -> Result<(), TableError> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (row, delay) in frames.iter().filter_map(|row| Some((row, row.delay_ms?))) {
        let (early, all) = counts.entry(&row.stream).or_default();
        *early += usize::from(delay < BEFORE_BIRTH_MS);
        *all += 1;
    }
    match counts.into_iter().find(|(_, (early, all))| 2 * early > *all) {
        None => Ok(()),
        Some((stream, (early, all))) => Err(TableError::Mismatch {
            path: trial.births(stream),
            why: format!(
                "{early} of {all} of its frames arrived more than a second before their births: births and captures are of different trials"
            ),
        }),
    }
}

/// What is known of a trial, however it came to be known.
#[derive(Debug)]
pub struct Observed {
    /// Births, arrivals and ways of frames, as read from the trial's files or computed by the model.
    pub trace: TrialTrace,
    /// What each host's agent told, by the host's name.
    pub told: BTreeMap<String, Told>,
    /// A row for each ping and each further answer.
    pub pings: Vec<PingRow>,
    /// What could not be read until now; becomes [`Analysis::problems`].
    pub problems: Vec<String>,
    /// What was gone or damaged until now; becomes [`Analysis::damage`].
    pub damage: Vec<String>,
}

/// The tables of what is known of a trial; `trial` is its folder, where there may be more of it.
#[must_use]
pub fn tabulate(trial: &TrialDir, observed: Observed, record: &TrialRecord, links: Option<LinkKind>) -> Analysis {
    let Observed { trace, told, pings, mut problems, mut damage } = observed;
    let zero_ns = record.zero_ns.or_else(|| planned_zero_ns(&trace));
    let presence = Presence::of(&trace, &told, zero_ns);
    let mut frames = frame_rows(&trace, &presence, zero_ns);
    mark_late(&mut frames);
    let bounds = bounds(&trace);
    let facts = |viewer| viewer_facts(&trace, viewer, &presence, &told, &bounds);
    let mut viewers: Vec<ViewerFacts> = trace.viewers.iter().map(facts).collect();
    let screens: Vec<(&str, &StreamScreens)> =
        trace.births.iter().filter_map(|births| Some((births.stream.as_str(), births.screens.as_ref()?))).collect();
    let shown = shown_rows(&screens, &frames);
    for facts in &mut viewers {
        let mine: Vec<&ShownRow> =
            shown.iter().filter(|row| row.stream == facts.stream && row.viewer == facts.viewer).collect();
        facts.screen = screen_facts(&mine, trace.trial.video.fps);
    }
    let jitter = trace.trial.network.links.iter().any(|link| !link.shape.jitter.is_zero());
    // netem lets a packet out early where links change, too.
    let jitter = jitter || links == Some(LinkKind::Netem) && !trace.trial.link_changes.is_empty();
    let doubts = doubts(&frames, &shown, jitter);
    // The tables say of the trial what its record will say: what is damaged and doubted now, not when they were made last.
    let mut record = TrialRecord { damage: damage.clone(), ..record.clone() };
    record.set_doubts(doubts.clone());
    let summary = summarise(&record, &viewers, &frames);
    let playouts = playouts(&record, &viewers, &frames);
    let streams: Vec<StreamFacts> = trace.births.iter().map(|births| stream_facts(&trace, births)).collect();
    let audience = audiences(&record, &trace.trial, &streams, &summary, &frames);
    let reattachments = reattachment_rows(&trace, &viewers, zero_ns);
    let known = problems.len();
    let directions = 2 * trace.trial.network.trunks().count();
    let trunks = trunk_rows(&record, &trial.ports(), directions, &audience, &mut problems);
    damage.extend(problems[known..].iter().cloned());
    let broadcasts = broadcast_rows(&record, trial, &trace);
    Analysis {
        frames,
        pings,
        summary,
        playouts,
        audience,
        reattachments,
        trunks,
        shown,
        broadcasts,
        crowds: Vec::new(),
        problems,
        doubts,
        damage,
        is_only_altered: false,
    }
}

impl Analysis {
    /// Writes the tables into the trial's folder, each whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Store`].
    pub fn write(&self, trial: &TrialDir) -> Result<(), TableError> {
        write_if_any(&trial.reattachments(), &self.reattachments)?;
        write_trunks(&trial.trunks(), &self.trunks)?;
        write_shown(&trial.shown(), &self.shown)?;
        write_broadcasts(&trial.broadcasts(), &self.broadcasts)?;
        write_crowds(&trial.crowds(), &self.crowds)?;
        write_trial(trial, &self.frames, &self.pings, &self.summary, &self.playouts, &self.audience)
    }
}

/// By viewer, its spells: when it came and when it went.
struct Presence<'a>(BTreeMap<&'a str, Vec<Stay>>);

impl<'a> Presence<'a> {
    fn of(trace: &'a TrialTrace, told: &BTreeMap<String, Told>, zero_ns: Option<i64>) -> Presence<'a> {
        let nothing = Told::default();
        let stays = |viewer: &str| trace::stays(&trace.trial, viewer, told.get(viewer).unwrap_or(&nothing), zero_ns);
        Presence(trace.viewers.iter().map(|v| (v.viewer.as_str(), stays(&v.viewer))).collect())
    }

    fn stays(&self, viewer: &str) -> &[Stay] {
        self.0.get(viewer).map(Vec::as_slice).unwrap_or_default()
    }

    /// The frames that the viewer is owed, each with the spell in which it is.
    fn owed<'t>(&self, viewer: &'t ViewerTrace) -> impl Iterator<Item = (&'t FrameDelay, Stay)> {
        let stays = self.stays(&viewer.viewer).to_vec();
        viewer.frames.iter().filter_map(move |frame| {
            let arrival_ns = frame.arrival.map(|arrival| arrival.time_ns);
            let stay = stays.iter().find(|stay| stay.owes(frame.birth_ns, arrival_ns))?;
            Some((frame, *stay))
        })
    }

    /// Which of the other viewers went when, and how.
    fn departures(&self, viewer: &str) -> Vec<(&'a str, i64, Departure)> {
        let others = self.0.iter().filter(|(name, _)| **name != viewer);
        let went = |(name, stays): (&&'a str, &Vec<Stay>)| {
            let ends = stays.iter().filter_map(|stay| stay.end);
            ends.map(|(at_ns, how)| (*name, at_ns, how)).collect::<Vec<_>>()
        };
        others.flat_map(went).collect()
    }
}

/// A viewer of whom nothing was captured has no rows: there, "did not arrive" would be a guess.
fn frame_rows(trace: &TrialTrace, presence: &Presence<'_>, zero_ns: Option<i64>) -> Vec<FrameRow> {
    let captured = trace.viewers.iter().filter(|v| is_captured(v));
    let rows = |viewer: &ViewerTrace| {
        let row = |(frame, stay): (&FrameDelay, Stay)| {
            let came_too_late = frame.arrival.is_some_and(|arrival| arrival.time_ns > stay.until_ns());
            // When it came the viewer was gone: for this player it never did.
            let frame = &if came_too_late {
                FrameDelay { arrival: None, way: trace::Way::default(), segment: None, copies: 0, ..frame.clone() }
            } else {
                frame.clone()
            };
            FrameRow { spell: Some(stay.spell), ..frame_row(trace, viewer, frame, zero_ns) }
        };
        presence.owed(viewer).map(row).collect::<Vec<_>>()
    };
    captured.flat_map(rows).collect()
}

fn frame_row(trace: &TrialTrace, viewer: &ViewerTrace, frame: &FrameDelay, zero_ns: Option<i64>) -> FrameRow {
    let parts = frame.parts();
    let part = |of: fn(Parts) -> Option<i64>| parts.and_then(of).map(milliseconds);
    let hosts = &trace.trial.network.hosts;
    let relays: Option<Vec<&str>> = frame
        .way
        .relays()
        .map(|relays| relays.filter_map(|host| hosts.get(host).map(|host| host.name.as_str())).collect());
    FrameRow {
        trial: trace.trial.id.clone(),
        point: trace.trial.point.clone(),
        stream: viewer.stream.clone(),
        viewer: viewer.viewer.clone(),
        index: frame.index,
        timestamp_ms: frame.timestamp_ms,
        size_bytes: frame.size,
        keyframe: frame.keyframe,
        id: frame.id.to_string(),
        birth_ns: frame.birth_ns,
        arrival_ns: frame.arrival.map(|a| a.time_ns),
        via: frame.arrival.map(|a| a.carrier.via()),
        copies: frame.copies,
        delay_ms: frame.delay_ns().map(milliseconds),
        floor_ms: frame.floor.map(|floor| floor.as_secs_f64() * 1e3),
        excess_ms: frame.excess_ns().map(milliseconds),
        time_s: milliseconds(frame.birth_ns.saturating_sub(zero_ns.unwrap_or(frame.birth_ns))) / 1e3,
        late: false,
        server: frame.arrival.and_then(|a| host_at(trace, a.from.ip())),
        sent_ns: frame.way.sent_ns(),
        cdn_arrival_ns: frame.way.cdn_arrival_ns(),
        cdn_departure_ns: frame.way.cdn_departure_ns(),
        queue_ms: part(|parts| match parts {
            Parts::Cdn { queue, .. } | Parts::Peer { queue, .. } => Some(queue),
        }),
        uplink_ms: part(|parts| if let Parts::Cdn { uplink, .. } = parts { Some(uplink) } else { None }),
        dwell_ms: part(|parts| if let Parts::Cdn { dwell, .. } = parts { Some(dwell) } else { None }),
        downlink_ms: part(|parts| if let Parts::Cdn { downlink, .. } = parts { Some(downlink) } else { None }),
        transfer_ms: part(|parts| if let Parts::Peer { transfer, .. } = parts { Some(transfer) } else { None }),
        stream_floor_ms: frame.stream_floor.map(|floor| floor.as_secs_f64() * 1e3),
        stream_excess_ms: frame.stream_excess_ns().map(milliseconds),
        relay_ms: part(|parts| if let Parts::Peer { relay, .. } = parts { Some(relay) } else { None }),
        hops: relays.as_ref().map(|relays| u32::try_from(relays.len()).unwrap_or(u32::MAX)),
        relays: relays.filter(|relays| !relays.is_empty()).map(|relays| relays.join(" ")),
        spell: None,
        segment: frame.segment.map(|segment| segment.first as u64),
        chunking_ms: frame.chunking_ns().map(milliseconds),
        polling_ms: frame.polling_ns().map(milliseconds),
    }
}

/// For each time that the viewer's source went, when it had the next frame and from whom.
fn reattachments(trace: &TrialTrace, viewer: &ViewerTrace, presence: &Presence<'_>) -> Vec<Reattachment> {
    let servers: BTreeMap<IpAddr, &str> = trace
        .trial
        .network
        .hosts
        .iter()
        .flat_map(|host| host.interfaces.iter().map(|i| (IpAddr::V4(i.address), host.name.as_str())))
        .collect();
    let arrived = viewer.frames.iter().filter_map(|frame| frame.arrival);
    let mut arrivals: Vec<(i64, &str)> =
        arrived.filter_map(|arrival| Some((arrival.time_ns, *servers.get(&arrival.from.ip())?))).collect();
    arrivals.sort_unstable();
    let ended_ns = viewer.frames.iter().map(|frame| frame.birth_ns).max().unwrap_or(i64::MIN);
    let departures = presence.departures(&viewer.viewer);
    trace::reattachments(presence.stays(&viewer.viewer), &arrivals, &departures, ended_ns)
}

fn reattachment_rows(trace: &TrialTrace, viewers: &[ViewerFacts], zero_ns: Option<i64>) -> Vec<ReattachmentRow> {
    let row = |facts: &ViewerFacts, one: &Reattachment| ReattachmentRow {
        trial: trace.trial.id.clone(),
        point: trace.trial.point.clone(),
        stream: facts.stream.clone(),
        viewer: facts.viewer.clone(),
        from: one.from.clone(),
        to: one.to.as_ref().map(|(to, _)| to.clone()),
        how: one.how,
        at_s: milliseconds(one.at_ns.saturating_sub(zero_ns.unwrap_or(one.at_ns))) / 1e3,
        ms: one.to.as_ref().map(|(_, after_ns)| milliseconds(*after_ns)),
    };
    viewers.iter().flat_map(|facts| facts.reattachments.iter().map(move |one| row(facts, one))).collect()
}

/// When the first keyframe arrived in a spell, or with none the first frame; it may have been born before.
fn first_keyframe_ns(viewer: &ViewerTrace, stay: &Stay) -> Option<i64> {
    let arrivals = viewer.frames.iter().filter_map(|frame| Some((!frame.keyframe, frame.arrival?.time_ns)));
    arrivals.filter(|(_, time_ns)| stay.holds(*time_ns)).min().map(|(_, time_ns)| time_ns)
}

/// The name of the host with that address.
fn host_at(trace: &TrialTrace, address: IpAddr) -> Option<String> {
    let here = |host: &&Host| host.interfaces.iter().any(|interface| IpAddr::V4(interface.address) == address);
    trace.trial.network.hosts.iter().find(here).map(|host| host.name.clone())
}

/// [`Bound`] of each stream, by the stream's name.
fn bounds(trace: &TrialTrace) -> BTreeMap<&str, Bound> {
    let streams = trace.trial.streams.iter().filter_map(|stream| {
        let births = trace.births.iter().find(|births| births.stream == stream.name)?.births.as_ref()?;
        let sizes: Vec<u32> = births.frames.iter().map(|frame| frame.size).collect();
        Some((stream.name.as_str(), Bound::of(&trace.trial, stream, &sizes)?))
    });
    streams.collect()
}

fn viewer_facts(
    trace: &TrialTrace,
    viewer: &ViewerTrace,
    presence: &Presence<'_>,
    told: &BTreeMap<String, Told>,
    bounds: &BTreeMap<&str, Bound>,
) -> ViewerFacts {
    let births = trace.births.iter().find(|b| b.stream == viewer.stream).and_then(|b| b.births.as_ref());
    let stream = trace.trial.streams.iter().find(|stream| stream.name == viewer.stream);
    let broadcaster = stream.map(|stream| stream.broadcaster.as_str());
    let stays = presence.stays(&viewer.viewer);
    let startup = |stay: &Stay| Some(milliseconds(first_keyframe_ns(viewer, stay)? - stay.from_ns));
    ViewerFacts {
        stream: viewer.stream.clone(),
        viewer: viewer.viewer.clone(),
        born: u32::try_from(presence.owed(viewer).count()).unwrap_or(u32::MAX),
        captured: is_captured(viewer) && births.is_some(),
        told: told.get(&viewer.viewer).cloned().unwrap_or_default(),
        broadcaster: broadcaster.and_then(|name| told.get(name)).cloned().unwrap_or_default(),
        cdn_bytes: viewer.cdn_bytes,
        peer_bytes: viewer.peer_bytes,
        group_bytes: viewer.group_bytes,
        viewer_bytes: viewer.viewer_bytes,
        cdn_sent: viewer.cdn_sent,
        peer_sent: viewer.peer_sent,
        player: trace.trial.network.host(&viewer.viewer).map(|host| host.player.clone()).unwrap_or_default(),
        screen: None,
        bound: bounds.get(viewer.stream.as_str()).copied(),
        spells: u32::try_from(stays.len()).unwrap_or(u32::MAX),
        stream_began_ns: births.and_then(|births| births.frames.first()).map(|birth| birth.birth_ns),
        first_keyframe_ns: stays
            .first()
            .filter(|stay| stay.spell == 1)
            .and_then(|stay| first_keyframe_ns(viewer, stay)),
        rejoins_ms: stays.iter().filter(|stay| stay.spell > 1).filter_map(startup).collect(),
        reattachments: reattachments(trace, viewer, presence),
    }
}

fn stream_facts(trace: &TrialTrace, births: &StreamBirths) -> StreamFacts {
    let viewers = trace.viewers.iter().filter(|viewer| viewer.stream == births.stream);
    let to_viewers: Option<u64> =
        viewers.map(|viewer| Some(viewer.cdn_sent?.bytes + viewer.peer_sent?.bytes)).sum::<Option<u64>>();
    let to_cdn = births.to_cdn.map(|sent| sent.bytes);
    StreamFacts {
        stream: births.stream.clone(),
        broadcaster_bytes: to_cdn.zip(births.to_peers).map(|(to_cdn, to_peers)| to_cdn + to_peers.bytes),
        sent_bytes: to_cdn.zip(to_viewers).map(|(to_cdn, to_viewers)| to_cdn + to_viewers),
    }
}

fn is_captured(viewer: &ViewerTrace) -> bool {
    viewer.cdn_bytes.is_some()
}

/// Where the record has no zero, the first birth is taken to be when the plan has it.
fn planned_zero_ns(trace: &TrialTrace) -> Option<i64> {
    let first = trace.births.iter().filter_map(|b| b.births.as_ref()?.frames.first()).map(|b| b.birth_ns).min()?;
    first.checked_sub(i64::try_from(trace.trial.timeline.broadcast_at.as_nanos()).ok()?)
}

#[allow(clippy::cast_precision_loss)]
fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::plan::delivery::{Carrier, Via};
    use crate::table::tests::trial;
    use crate::trace::{Births, FirstArrival, Hop, Way};
    use livectl_wire::birth::Register;
    use livectl_wire::flv::TagKind;
    use std::time::Duration;

    /// Two frames born at 20 s of CLOCK_REALTIME; the first came from a peer, the second never.
    fn trace() -> TrialTrace {
        let mut register = Register::default();
        let frames: Vec<_> = (0_u8..2)
            .map(|n| {
                register.birth(
                    TagKind::Video,
                    40 * u32::from(n),
                    &[0x12, n],
                    20_000_000_000 + 40_000_000 * i64::from(n),
                )
            })
            .collect();
        let hop = Hop { from: Some(0), carrier: Carrier::Peer, left_ns: Some(20_004_000_000), whole_ns: 0 };
        let way = Way { hops: vec![hop], is_whole: true };
        let delay = |n: usize, arrival| FrameDelay {
            index: frames[n].index,
            timestamp_ms: frames[n].timestamp_ms,
            size: frames[n].size,
            keyframe: frames[n].keyframe,
            id: frames[n].id,
            birth_ns: frames[n].birth_ns,
            arrival,
            way: arrival.map(|_| way.clone()).unwrap_or_default(),
            segment: None,
            copies: u32::from(arrival.is_some()),
            floor: Some(Duration::from_micros(210_500)),
            stream_floor: Some(Duration::from_micros(212_500)),
        };
        let (from, to) = ("10.0.0.1:2000".parse().unwrap(), "10.0.0.3:40000".parse().unwrap());
        let carrier = Carrier::Peer;
        let viewer = ViewerTrace {
            stream: "hb".into(),
            viewer: "hv1".into(),
            frames: vec![
                delay(
                    0,
                    Some(FirstArrival {
                        time_ns: 20_215_250_001,
                        first_byte_ns: 20_200_000_000,
                        carrier,
                        from,
                        to,
                        segment: None,
                    }),
                ),
                delay(1, None),
            ],
            cdn_bytes: Some(0),
            peer_bytes: Some(4),
            group_bytes: Some(0),
            viewer_bytes: Some(0),
            repeated_bytes: Some(0),
            cdn_sent: None,
            peer_sent: Some(trace::Sent { bytes: 8, again: 4 }),
            foreign: 0,
            dumps: Vec::new(),
        };
        let births = Some(Births { frames, ..Births::default() });
        let births = StreamBirths { stream: "hb".into(), births, to_cdn: None, to_peers: None, screens: None };
        TrialTrace {
            trial: trial("bypass-1", &["hv1"]),
            births: vec![births],
            viewers: vec![viewer],
            problems: Vec::new(),
            damage: Vec::new(),
        }
    }

    fn presence(trace: &TrialTrace) -> Presence<'_> {
        Presence::of(trace, &BTreeMap::new(), Some(5_000_000_000))
    }

    #[test]
    fn frames_that_are_not_owed_have_no_row_and_count_nowhere() {
        let trace = trace();
        let seen = |started_ns: i64, departed: Option<(i64, Departure)>| {
            let stay = Stay { spell: 1, from_ns: started_ns, end: departed };
            let presence = Presence(BTreeMap::from([("hv1", vec![stay])]));
            let rows = frame_rows(&trace, &presence, None);
            let facts = viewer_facts(&trace, &trace.viewers[0], &presence, &BTreeMap::new(), &BTreeMap::new());
            assert_eq!(facts.born as usize, rows.len());
            (
                rows.iter().map(|row| (row.index, row.arrival_ns.is_some())).collect::<Vec<_>>(),
                facts.first_keyframe_ns,
            )
        };
        let arrived = Some(20_215_250_001);
        assert_eq!(seen(0, None), (vec![(0, true), (1, false)], arrived));
        assert_eq!(
            seen(20_000_000_001, None),
            (vec![(1, false)], arrived),
            "a picture of before is one to begin with"
        );
        let leave = Departure::Leave;
        assert_eq!(seen(0, Some((20_300_000_000, leave))), (vec![(0, true)], arrived), "the other had no time");
        assert_eq!(seen(0, Some((20_100_000_000, leave))), (vec![], None), "it came for nobody");
        assert_eq!(seen(0, Some((22_000_000_000, leave))), (vec![(0, true)], arrived));
        assert_eq!(seen(0, Some((22_040_000_000, leave))), (vec![(0, true), (1, false)], arrived));
    }

    #[test]
    fn frames_become_rows_in_milliseconds_and_seconds() {
        let trace = trace();
        let rows = frame_rows(&trace, &presence(&trace), Some(5_000_000_000));
        let first = &rows[0];
        assert_eq!((first.trial.as_str(), first.stream.as_str(), first.viewer.as_str()), ("bypass-1", "hb", "hv1"));
        assert_eq!((first.delay_ms, first.floor_ms), (Some(215.250_001), Some(210.5)));
        assert_eq!((first.stream_floor_ms, first.stream_excess_ms), (Some(212.5), Some(2.750_001)));
        assert_eq!((first.excess_ms, first.via, first.time_s), (Some(4.750_001), Some(Via::Peer), 15.0));
        assert_eq!((first.keyframe, first.id.len(), first.arrival_ns), (true, 32, Some(20_215_250_001)));
        assert_eq!(
            (first.sent_ns, first.queue_ms, first.transfer_ms),
            (Some(20_004_000_000), Some(4.0), Some(211.250_001))
        );
        assert_eq!(
            (first.cdn_arrival_ns, first.uplink_ms, first.dwell_ms, first.downlink_ms),
            (None, None, None, None)
        );
        let lost = &rows[1];
        assert_eq!(
            (lost.index, lost.arrival_ns, lost.delay_ms, lost.excess_ms, lost.via),
            (1, None, None, None, None)
        );
    }

    #[test]
    fn without_a_zero_the_plan_says_when_the_first_frame_was_born() {
        assert_eq!(planned_zero_ns(&trace()), Some(5_000_000_000));
    }

    #[test]
    fn a_viewer_not_captured_has_facts_but_no_rows() {
        let mut trace = trace();
        let facts = viewer_facts(
            &trace,
            &trace.viewers[0],
            &presence(&trace),
            &BTreeMap::from([("hv1".to_owned(), Told { player_started_ns: Some(7), ..Told::default() })]),
            &BTreeMap::new(),
        );
        assert_eq!(
            (facts.born, facts.captured, facts.told.player_started_ns, facts.peer_bytes),
            (2, true, Some(7), Some(4))
        );
        trace.viewers[0].cdn_bytes = None;
        assert_eq!(frame_rows(&trace, &presence(&trace), None), []);
        let nothing = BTreeMap::new();
        assert!(!viewer_facts(&trace, &trace.viewers[0], &presence(&trace), &nothing, &BTreeMap::new()).captured);
    }
}
