//! Audiences that no machine can carry: one step for each frame at each viewer, where [`course`](super::course) takes one for each packet.
//!
//! | module | what it holds |
//! |---|---|
//! | `people` | who is there and when: each viewer of the recipe stands for an equal share |
//! | `ground` | which hosts are alike, and what lies between two of them |
//! | `tree` | who has the stream from whom at the moment |
//! | `sweep`, `parcel` | an item's way down that tree |
//! | `upload` | what goes to the CDN beside it |
//! | `course`, `control` | what happens to viewers, and what the controller decides, by `livectl-policy` |
//! | [`figures`] | what came of it, over all frames of all viewers |
//!
//! What is left out besides what `docs/prediction.md` says of both engines: queues of packets that overflow, and windows that a loss has
//! halved.

mod chance;
mod control;
mod course;
pub mod figures;
mod ground;
mod parcel;
mod people;
mod sweep;
mod tree;
mod upload;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Unpredictable;
use crate::plan::delivery::{Carrier, Scheme};
use crate::plan::{CROWD, PEER_PORT, RTMP_PORT, Role, Trial};
use crate::table::{Analysis, CrowdRow};
use crate::trace::floor::floor;
use crate::trace::{
    Births, Bound, Carriage, FirstArrival, FrameDelay, Hop, StreamBirths, Told, TrialTrace, ViewerTrace, Way,
    unarrived,
};
use course::Course;
use figures::{Figures, Material};
use ground::Ground;
use people::{People, middle};
use sweep::{Sight, Sweep};
use tree::{CDN, FIRST, Node};

/// The largest crowd that was tried.
pub const MOST: usize = 1_000_000;
/// Viewers times frames that are kept in memory at most, four bytes each.
pub const MOST_FRAMES: usize = 1_500_000_000;

/// What came of a crowd's trial.
#[derive(Debug)]
pub struct Crowd {
    /// Figures over all viewers and all their frames.
    pub figures: Figures,
    /// Of the viewers that the plan names: each is in the middle of those that it stands for.
    pub trace: TrialTrace,
    /// What their agents would have told.
    pub told: BTreeMap<String, Told>,
}

/// Whether a crowd of a trial can be predicted.
///
/// # Errors
/// What keeps it from that.
pub fn holds(trial: &Trial, are_stored: bool, viewers: usize) -> Result<(), Unpredictable> {
    super::holds(trial, are_stored)?;
    let [stream] = &trial.streams[..] else { return Err(Unpredictable::Streams(trial.streams.len())) };
    if stream.viewers.is_empty() {
        return Err(Unpredictable::Host);
    }
    if !trial.link_changes.is_empty() {
        return Err(Unpredictable::CrowdChanges);
    }
    if viewers == 0 || viewers > MOST {
        return Err(Unpredictable::Crowd(viewers));
    }
    if viewers.saturating_mul(trial.video.frames as usize) > MOST_FRAMES {
        return Err(Unpredictable::Frames { viewers, frames: trial.video.frames });
    }
    Ground::of(trial, stream, viewers).map(|_| ())
}

/// The same trial with a crowd: the plan keeps those of its viewers that stand for somebody.
#[must_use]
pub fn scaled(trial: &Trial, viewers: usize) -> Trial {
    let mut trial = trial.clone();
    for stream in &mut trial.streams {
        let recipe = stream.viewers.len();
        if viewers < recipe {
            let kept = (0..viewers).map(|viewer| stream.viewers[Trial::stands_for(viewer, viewers, recipe)].clone());
            stream.viewers = kept.collect();
            // They come in the same time.
            let span = trial.timeline.view_every.saturating_mul(u32::try_from(recipe - 1).unwrap_or(u32::MAX));
            trial.timeline.view_every = span / u32::try_from(viewers.saturating_sub(1).max(1)).unwrap_or(1);
        }
    }
    let streams = &trial.streams;
    let watches = |name: &str| streams.iter().any(|stream| stream.viewers.iter().any(|viewer| viewer == name));
    trial.network.hosts.retain(|host| host.role != Role::Viewer || watches(&host.name));
    trial.audience.planned.retain(|name, _| watches(name));
    trial.audience.drawn.clear();
    let is_there = |name: &str, trial: &Trial| trial.network.host(name).is_some();
    let mut pings = std::mem::take(&mut trial.pings);
    pings.retain(|train| is_there(&train.from, &trial) && is_there(&train.to, &trial));
    trial.pings = pings;
    let mut captures = std::mem::take(&mut trial.captures);
    captures.retain(|point| is_there(&point.host, &trial));
    trial.captures = captures;
    trial.film.clear();
    let mut parameters = BTreeMap::from(trial.point.parameters.clone());
    parameters.insert(CROWD.to_owned(), viewers.to_string());
    trial.point.parameters = parameters.into();
    trial.crowd = Some(viewers);
    trial
}

/// Predicts a trial that was [`scaled`]. `births` are those of its stream, in nanoseconds of CLOCK_REALTIME, in which moment 0 is `zero_ns`.
///
/// # Errors
/// [`Unpredictable`].
pub fn predict(trial: &Trial, births: &Births, zero_ns: i64, viewers: usize) -> Result<Crowd, Unpredictable> {
    let [stream] = &trial.streams[..] else { return Err(Unpredictable::Streams(trial.streams.len())) };
    let (mut trial, stream) = (trial.clone(), stream.clone());
    let trial = &mut trial;
    let (items, _) = super::items(&stream.name, births, zero_ns)?;
    let ground = Ground::of(trial, &stream, viewers)?;
    let people = People::of(trial, &stream, viewers);
    let end = course::end(trial);
    let mut sweep = Sweep::of(trial, &ground, &items, viewers, end);
    let recipe = stream.viewers.len();
    let named: Vec<Node> = (0..recipe).map(|like| middle(like, viewers, recipe) as Node + FIRST).collect();
    for node in &named {
        sweep.look_at(*node);
    }
    // The plan's viewers are there when those are that they stand for.
    if trial.audience.churn.is_some() {
        let of = |node: &Node| people.planned((*node - FIRST) as usize);
        let moved = stream.viewers.iter().zip(&named).filter(|(name, _)| !trial.audience.planned.contains_key(*name));
        let drawn = moved.map(|(name, node)| (name.clone(), of(node))).collect();
        trial.audience.drawn = drawn;
    }
    let published = items.first().map_or(0, |item| item.at.saturating_sub(super::ENCODER_STARTS));
    let mut course = Course::new(trial, &ground, &people, sweep, published);
    course.run(end);

    let depths = depths(&course);
    let (had, kinds) = (course.sweep.had, course.sweep.kinds[FIRST as usize..].to_vec());
    let reattached = std::mem::take(&mut course.reattached);
    let at_cdn = course.at_the_cdn();
    let (mut rows, sights) = course.sweep.into_rows();
    let floors = floors(trial, &ground, births);
    let material =
        Material { items: &items, people: &people, kinds: &kinds, floors: &floors, had, reattached: &reattached };
    let mut figures = Figures::of(&material, &mut rows);
    (figures.depth_mean, figures.depth_max, figures.passed_on_most) = depths;
    figures.at_cdn = at_cdn;
    let sights: Vec<&[Option<Sight>]> =
        named.iter().map(|node| sights.get(node).map(Vec::as_slice).unwrap_or_default()).collect();
    let trace = trace(trial, births, zero_ns, &sights);
    let told = told(&stream, &people, &named, zero_ns);
    Ok(Crowd { figures, trace, told })
}

/// Enters what came of a crowd into its trial's tables: it has a table of its own, and where others speak of the whole audience, the crowd is meant.
pub fn enter(trial: &Trial, figures: &Figures, births: &Births, analysis: &mut Analysis) {
    let Some(stream) = trial.streams.first() else { return };
    let sizes: Vec<u32> = births.frames.iter().map(|birth| birth.size).collect();
    let is_relay = trial.point.scheme == Scheme::Relay;
    let bound = is_relay.then(|| Bound::of(trial, stream, &sizes)).flatten();
    let carriage = Carriage::of(trial, stream);
    let ms = |bound: Duration| (bound.as_secs_f64() * 1e6).round() / 1e3;
    let Figures { delay, excess, startup, reattach, .. } = figures;
    let depth_bound = carriage.and_then(|carriage| carriage.depth).map(|depth| u64::from(depth) + 1);
    analysis.crowds.push(CrowdRow {
        trial: trial.id.clone(),
        point: trial.point.clone(),
        viewers: figures.viewers,
        frames: figures.frames,
        owed: figures.owed,
        missing: figures.missing,
        missing_start: figures.missing_start,
        uncovered: figures.uncovered,
        delay_p50_ms: delay.p50,
        delay_p95_ms: delay.p95,
        delay_p99_ms: delay.p99,
        delay_max_ms: delay.max,
        excess_p50_ms: excess.p50,
        excess_p95_ms: excess.p95,
        viewer_p50_median_ms: figures.viewer_p50_ms[1],
        viewer_p50_worst_ms: figures.viewer_p50_ms[2],
        viewer_p95_worst_ms: figures.viewer_p95_ms[2],
        startup_p50_ms: startup.p50,
        startup_p95_ms: startup.p95,
        reattachments: reattach.count,
        reattach_p50_ms: reattach.p50,
        reattach_p95_ms: reattach.p95,
        reattach_crash_p95_ms: figures.reattach_crash.p95,
        peer_offload: figures.from_peers,
        viewer_offload: figures.from_viewers,
        viewer_offload_bound: carriage.map(|carriage| carriage.by_viewers).filter(|_| is_relay),
        cdn_bytes: figures.from_cdn_bytes,
        at_cdn: figures.at_cdn,
        depth_mean: figures.depth_mean,
        depth_max: figures.depth_max,
        depth_bound: depth_bound.filter(|_| is_relay),
        relay_bound_ms: bound.map(|bound| ms(bound.mean)),
        relay_bound_p95_ms: bound.map(|bound| ms(bound.p95)),
    });
    for row in analysis.audience.iter_mut().filter(|row| row.stream == stream.name) {
        row.viewers = u32::try_from(figures.viewers).unwrap_or(u32::MAX);
        row.missing = Some(figures.missing);
        [row.delay_p50_best_ms, row.delay_p50_median_ms, row.delay_p50_worst_ms] = figures.viewer_p50_ms;
        [row.delay_p95_best_ms, row.delay_p95_median_ms, row.delay_p95_worst_ms] = figures.viewer_p95_ms;
        row.depth_max = u32::try_from(figures.passed_on_most).ok();
        row.viewer_offload = figures.from_viewers;
        row.peer_offload = figures.from_peers;
    }
}

/// The mean and the greatest number of links that an item passes to a viewer from the broadcaster or the CDN, and the greatest number of hosts that pass it on, of
/// which the CDN is one; at the end.
fn depths(course: &Course<'_>) -> (Option<f64>, u64, u64) {
    let (mut sum, mut count, mut most, mut passed_on) = (0u64, 0u64, 0, 0);
    for root in [tree::BROADCASTER, CDN] {
        let order = course.served.below(root);
        // Level by level: who has children has its own depth by then.
        let mut of = BTreeMap::from([(root, 0u64)]);
        let mut next = 0;
        for (parent, children) in &order.parents {
            let depth = of.remove(parent).unwrap_or_default() + 1;
            for child in &order.children[next..next + *children as usize] {
                of.insert(*child, depth);
            }
            next += *children as usize;
            sum += depth * u64::from(*children);
            count += u64::from(*children);
            most = most.max(depth);
            passed_on = passed_on.max(if root == CDN { depth } else { depth - 1 });
        }
    }
    ((count > 0).then(|| sum as f64 / count as f64), most, passed_on)
}

/// By kind and frame, the least delay that the network allows.
fn floors(trial: &Trial, ground: &Ground, births: &Births) -> Vec<Vec<Option<Duration>>> {
    let broadcaster = &trial.streams[0].broadcaster;
    let of = |(kind, place): (usize, &ground::Place)| {
        if kind < 2 {
            return Vec::new();
        }
        let viewer = &trial.network.hosts[place.example].name;
        let paths: Vec<Vec<crate::plan::Shape>> = trial
            .network
            .video_ways(broadcaster, viewer)
            .iter()
            .map(|way| {
                way.iter().filter_map(|passed| trial.network.links.get(passed.link)).map(|l| l.shape).collect()
            })
            .collect();
        births.frames.iter().map(|birth| paths.iter().map(|path| floor(path, birth.size)).min()).collect()
    };
    ground.places.iter().enumerate().map(of).collect()
}

fn real(zero_ns: i64, moment: u64) -> i64 {
    zero_ns.saturating_add_unsigned(moment)
}

/// What would have been captured at those whom the plan names.
fn trace(trial: &Trial, births: &Births, zero_ns: i64, sights: &[&[Option<Sight>]]) -> TrialTrace {
    let stream = &trial.streams[0];
    let host = |name: &str| trial.network.hosts.iter().position(|host| host.name == name);
    let (broadcaster, cdn) = (host(&stream.broadcaster), trial.network.cdn().and_then(|cdn| host(&cdn.name)));
    let carrier = if trial.point.scheme == Scheme::Multicast { Carrier::Group } else { Carrier::Peer };
    let viewer = |(name, sights): (&String, &&[Option<Sight>])| {
        let see = |mut frame: FrameDelay, sight: &Option<Sight>| {
            let Some(Sight { first, way, root }) = sight else { return frame };
            let is_cdn = *root == CDN;
            let only_cdn = is_cdn && way.len() == 1;
            let carrier = if only_cdn { Carrier::Rtmp } else { carrier };
            let from = match way.len() {
                1 if is_cdn => cdn,
                1 => broadcaster,
                _ => None,
            };
            let source = from.map(|from| trial.network.hosts[from].name.as_str());
            let address = |from: &str, to: &str| trial.network.own_address(from, to);
            // Who passed it on has no name in the plan.
            let there = source.and_then(|source| address(source, name)).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let here = source.and_then(|source| address(name, source)).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let port = if only_cdn { RTMP_PORT } else { PEER_PORT };
            let whole = way.last().map_or(*first, |(_, whole)| *whole);
            frame.arrival = Some(FirstArrival {
                time_ns: real(zero_ns, whole),
                first_byte_ns: real(zero_ns, *first),
                carrier,
                from: SocketAddr::new(IpAddr::V4(there), port),
                to: SocketAddr::new(IpAddr::V4(here), port),
                segment: None,
            });
            frame.copies = 1;
            let hops = way.iter().enumerate().map(|(at, (_, whole))| Hop {
                from: match at {
                    0 if is_cdn => cdn,
                    0 => broadcaster,
                    _ => None,
                },
                carrier: if at == 0 && is_cdn { Carrier::Rtmp } else { carrier },
                left_ns: None,
                whole_ns: real(zero_ns, *whole),
            });
            frame.way = Way { hops: hops.collect(), is_whole: !is_cdn };
            frame
        };
        let frames = unarrived(trial, stream, name, births, zero_ns);
        let bytes = |is_counted: fn(&Sight) -> bool| {
            let all = births.frames.iter().zip(sights.iter());
            let counted = all.filter(|(_, sight)| sight.as_ref().is_some_and(is_counted));
            Some(counted.map(|(birth, _)| u64::from(birth.size)).sum())
        };
        let is_group = carrier == Carrier::Group;
        let peers = bytes(|sight| sight.root != CDN || sight.way.len() > 1);
        let none = None;
        let seen = sights.iter().chain(std::iter::repeat(&none));
        ViewerTrace {
            stream: stream.name.clone(),
            viewer: name.clone(),
            frames: frames.into_iter().zip(seen).map(|(frame, sight)| see(frame, sight)).collect(),
            cdn_bytes: bytes(|sight| sight.root == CDN && sight.way.len() == 1),
            peer_bytes: if is_group { Some(0) } else { peers },
            group_bytes: if is_group { peers } else { Some(0) },
            viewer_bytes: bytes(|sight| sight.way.len() > 1),
            repeated_bytes: None,
            cdn_sent: None,
            peer_sent: None,
            foreign: 0,
            dumps: Vec::new(),
        }
    };
    let births = StreamBirths {
        stream: stream.name.clone(),
        births: Some(births.clone()),
        to_cdn: None,
        to_peers: None,
        screens: None,
    };
    TrialTrace {
        trial: trial.clone(),
        births: vec![births],
        viewers: stream.viewers.iter().zip(sights).map(viewer).collect(),
        problems: Vec::new(),
        damage: Vec::new(),
    }
}

fn told(stream: &crate::plan::Stream, people: &People, named: &[Node], zero_ns: i64) -> BTreeMap<String, Told> {
    let of = |(name, node): (&String, &Node)| {
        let spells = people.spells((*node - FIRST) as usize);
        let starts: Vec<i64> = spells.iter().map(|spell| real(zero_ns, spell.from)).collect();
        let told = Told {
            player_started_ns: starts.first().copied(),
            players_started_ns: (1..).zip(starts).collect(),
            departed_ns: (1..)
                .zip(spells)
                .filter(|(_, spell)| spell.until < u64::MAX)
                .map(|(number, spell)| (number, real(zero_ns, spell.until)))
                .collect(),
            ..Told::default()
        };
        (name.clone(), told)
    };
    stream.viewers.iter().zip(named).map(of).collect()
}
