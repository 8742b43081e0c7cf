//! A viewer's frames in a few numbers.

use super::Note;
use super::playout::first_keyframe;
use super::rows::{FrameRow, SummaryRow};
use super::shown::ScreenFacts;
use super::spells::{by_spell, coverage, reattached, took};
use crate::plan::Player;
use crate::plan::delivery::Via;
use crate::store::TrialRecord;
use crate::trace::{Bound, Reattachment, Sent, Told};

/// Playout buffer of the player that [`mark_late`] imagines, in milliseconds.
pub const LATE_BUFFER_MS: f64 = 1000.0;

/// What is known of a viewer besides its frames.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ViewerFacts {
    /// The stream it watched: its broadcaster's name.
    pub stream: String,
    /// Name of the viewer's host.
    pub viewer: String,
    /// Frames that the encoder emitted while it was there.
    pub born: u32,
    /// Its packets were captured and births recorded, so that frames without an arrival are known not to have
    /// arrived.
    pub captured: bool,
    /// What the viewer's agent told of its session.
    pub told: Told,
    /// What the broadcaster's agent told of its session.
    pub broadcaster: Told,
    /// Bytes of the stream that the CDN delivered to it; `None`, here and below: nothing was captured at the viewer.
    pub cdn_bytes: Option<u64>,
    /// Bytes of the stream that peers delivered to it, the broadcaster among them.
    pub peer_bytes: Option<u64>,
    /// Bytes of datagrams that switches copied to it.
    pub group_bytes: Option<u64>,
    /// Of the bytes from peers, those that viewers delivered to it.
    pub viewer_bytes: Option<u64>,
    /// TCP payload that the CDN sent it, and what of it was sent again; `None`: nothing was captured at the CDN.
    pub cdn_sent: Option<Sent>,
    /// The same of the peers that served it; `None`: not captured at all of them.
    pub peer_sent: Option<Sent>,
    /// When the last of its stream's viewers could have a frame at the earliest.
    pub bound: Option<Bound>,
    /// How many spells it had: how often it came.
    pub spells: u32,
    /// When the stream's first frame was born, in nanoseconds of CLOCK_REALTIME; `None`: births were not recorded.
    pub stream_began_ns: Option<i64>,
    /// When the first keyframe arrived in its first spell, which may be of before.
    pub first_keyframe_ns: Option<i64>,
    /// From the start of the player to that, in each later spell that had one, in milliseconds.
    pub rejoins_ms: Vec<f64>,
    /// What became of it when those went that it had the stream from.
    pub reattachments: Vec<Reattachment>,
    /// The player that it watched with.
    pub player: Player,
    /// What its screen showed; `None`: it has none that was read.
    pub screen: Option<ScreenFacts>,
}

/// The `p`-quantile, 0 ≤ p ≤ 1, with linear interpolation between order statistics: Hyndman and Fan's definition 7
/// (*Sample Quantiles in Statistical Packages*, The American Statistician 50(4), 1996), which is the default of
/// numpy, pandas and R. With n values in ascending order x(0) … x(n−1) and h = (n − 1)·p it is x(⌊h⌋) + (h −
/// ⌊h⌋)·(x(⌈h⌉) − x(⌊h⌋)). `None` for no values.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub fn quantile(ascending: &[f64], p: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let h = last as f64 * p.clamp(0.0, 1.0);
    let below = h.floor() as usize;
    let above = (below + 1).min(last);
    Some(ascending[below] + (h - h.floor()) * (ascending[above] - ascending[below]))
}

/// Marks the late frames: those that arrive after the moment at which a player shows them that began to play
/// [`LATE_BUFFER_MS`] after the arrival of its first keyframe, in each of the viewer's spells, and never stops. With
/// the first keyframe's arrival a and time stamp s, a frame of time stamp t is shown at a + (t − s) + buffer. Missing
/// frames are not late; neither are those before the first keyframe.
pub fn mark_late(rows: &mut [FrameRow]) {
    let firsts: Vec<_> = viewers(rows)
        .into_iter()
        .filter_map(|viewer| {
            let first = first_keyframe(rows.iter().filter(|r| key(r) == viewer.as_key()))?;
            Some((viewer, first.arrival_ns?, first.timestamp_ms))
        })
        .collect();
    for row in rows {
        let start = firsts.iter().find(|(viewer, ..)| viewer.as_key() == key(row));
        let Some((&(_, arrival, timestamp), row_arrival)) = start.zip(row.arrival_ns) else {
            row.late = false;
            continue;
        };
        let shown_ms = f64::from(row.timestamp_ms) - f64::from(timestamp) + LATE_BUFFER_MS;
        row.late = row.timestamp_ms >= timestamp && milliseconds(row_arrival - arrival) > shown_ms;
    }
}

/// One row for each viewer of a trial. `viewers` names them all, so that one who saw nothing has a row too. `frames`
/// are the trial's, already marked by [`mark_late`].
#[must_use]
pub fn summarise(record: &TrialRecord, viewers: &[ViewerFacts], frames: &[FrameRow]) -> Vec<SummaryRow> {
    let mine = |facts: &ViewerFacts| -> Vec<&FrameRow> {
        let same = |r: &&FrameRow| r.trial == record.id && r.stream == facts.stream && r.viewer == facts.viewer;
        frames.iter().filter(same).collect()
    };
    viewers.iter().map(|facts| summary_row(record, facts, &mine(facts))).collect()
}

fn summary_row(record: &TrialRecord, facts: &ViewerFacts, frames: &[&FrameRow]) -> SummaryRow {
    let arrived = || frames.iter().filter(|r| r.arrival_ns.is_some());
    let delays = ascending(arrived().filter_map(|r| r.delay_ms));
    let floors = ascending(arrived().filter_map(|r| r.floor_ms));
    let excesses = ascending(arrived().filter_map(|r| r.excess_ms));
    let at = |sorted: &[f64], p| quantile(sorted, p).map(to_microseconds);
    let parts = mean_parts(arrived().copied());
    let depths = || arrived().filter_map(|r| r.hops);
    let (stream_floors, stream_excesses) = (
        ascending(arrived().filter_map(|r| r.stream_floor_ms)),
        ascending(arrived().filter_map(|r| r.stream_excess_ms)),
    );
    // A frame that was skipped by one source may have come from the other.
    let absent = facts.born.saturating_sub(count(arrived()));
    let skipped = absent.min(u32::try_from(facts.told.skipped).unwrap_or(u32::MAX));
    // Before that the network cannot know that the two belong together.
    let known_ns = facts.broadcaster.publish_accepted_ns.zip(facts.told.play_accepted_ns).map(|(a, b)| a.max(b));
    let coverage = coverage(frames);
    let reattached = reattached(&facts.reattachments.iter().map(took).collect::<Vec<_>>());
    let screen = facts.screen;
    let since_known = |at: Option<i64>| at.zip(known_ns).map(|(at, known)| to_microseconds(milliseconds(at - known)));
    SummaryRow {
        trial: record.id.clone(),
        point: record.point.clone(),
        stream: facts.stream.clone(),
        viewer: facts.viewer.clone(),
        frames: facts.born,
        missing: facts.captured.then(|| absent - skipped),
        duplicate: facts.captured.then(|| frames.iter().map(|r| r.copies.saturating_sub(1)).sum()),
        late: facts.captured.then(|| count(frames.iter().filter(|r| r.late))),
        startup_delay_ms: startup_delay_ms(facts, frames).map(to_microseconds),
        delay_p50_ms: at(&delays, 0.5),
        delay_p95_ms: at(&delays, 0.95),
        delay_p99_ms: at(&delays, 0.99),
        delay_max_ms: at(&delays, 1.0),
        floor_p50_ms: at(&floors, 0.5),
        excess_p50_ms: at(&excesses, 0.5),
        excess_p95_ms: at(&excesses, 0.95),
        excess_max_ms: at(&excesses, 1.0),
        cdn_bytes: facts.cdn_bytes,
        peer_bytes: facts.peer_bytes,
        peer_offload: offload(facts, facts.peer_bytes),
        handover_gap_ms: handover_gap_ms(frames).map(to_microseconds),
        jitter_ms: jitter_ms(arrived().copied()).map(to_microseconds),
        server_egress_bytes: facts.cdn_sent.map(|sent| sent.bytes),
        retransmission_rate: retransmission_rate(facts),
        delay_mean_ms: parts.map(|p| p.delay).or_else(|| mean(&delays)).map(to_microseconds),
        queue_mean_ms: parts.map(|p| to_microseconds(p.queue)),
        uplink_mean_ms: parts.map(|p| to_microseconds(p.uplink)),
        dwell_mean_ms: parts.map(|p| to_microseconds(p.dwell)),
        downlink_mean_ms: parts.map(|p| to_microseconds(p.downlink)),
        transfer_mean_ms: parts.map(|p| to_microseconds(p.transfer)),
        skipped: facts.captured.then_some(skipped),
        stream_floor_p50_ms: at(&stream_floors, 0.5),
        stream_excess_p50_ms: at(&stream_excesses, 0.5),
        stream_excess_p95_ms: at(&stream_excesses, 0.95),
        publish_ms: facts.broadcaster.publish_ms.map(to_microseconds),
        connect_ms: facts.told.connect_ms.map(to_microseconds),
        play_ms: facts.told.play_ms.map(to_microseconds),
        first_picture_ms: facts.told.first_picture_ms.map(to_microseconds),
        introduction_ms: since_known(facts.told.introduced_ns),
        peer_connect_ms: since_known(facts.told.peer_connected_ns),
        handover_ms: since_known(facts.told.first_from_peer_ns),
        relay_mean_ms: parts.map(|p| to_microseconds(p.relay)),
        depth_p50: at(&ascending(depths().map(f64::from)), 0.5),
        depth_max: depths().max(),
        viewer_offload: offload(facts, facts.viewer_bytes),
        relay_bound_ms: facts.bound.map(|bound| to_microseconds(bound.mean.as_secs_f64() * 1e3)),
        relay_bound_p95_ms: facts.bound.map(|bound| to_microseconds(bound.p95.as_secs_f64() * 1e3)),
        spells: facts.captured.then_some(facts.spells),
        missing_start: facts.captured.then(|| coverage.missing_start.min(absent - skipped)),
        uncovered: facts.captured.then_some(coverage.uncovered),
        rejoin_p50_ms: at(&ascending(facts.rejoins_ms.iter().copied()), 0.5),
        reattachments: facts.captured.then_some(reattached.count),
        reattach_never: facts.captured.then_some(reattached.never),
        reattach_p50_ms: reattached.p50_ms,
        reattach_p95_ms: reattached.p95_ms,
        reattach_leave_p95_ms: reattached.leave_p95_ms,
        reattach_crash_p95_ms: reattached.crash_p95_ms,
        group_bytes: facts.group_bytes,
        node: record.node.clone(),
        player: Some(facts.player.name().to_owned()),
        shown: screen.map(|screen| screen.shown),
        never_shown: screen.map(|screen| screen.never),
        never_shown_start: screen.map(|screen| screen.never_start),
        shown_twice: screen.map(|screen| screen.twice),
        shown_late: screen.map(|screen| screen.late),
        shown_delay_p50_ms: screen.and_then(|screen| screen.delay_ms).map(|(p50, _)| p50),
        shown_delay_p95_ms: screen.and_then(|screen| screen.delay_ms).map(|(_, p95)| p95),
        shown_delay_mean_ms: screen.and_then(|screen| screen.delay_mean_ms),
        encode_mean_ms: screen.and_then(|screen| screen.encode_mean_ms),
        player_mean_ms: screen.and_then(|screen| screen.player_mean_ms),
        encode_p50_ms: screen.and_then(|screen| screen.encode_p50_ms),
        player_p50_ms: screen.and_then(|screen| screen.player_ms).map(|(p50, _)| p50),
        player_p95_ms: screen.and_then(|screen| screen.player_ms).map(|(_, p95)| p95),
        shown_unsure_p95_ms: screen.and_then(|screen| screen.unsure_p95_ms),
        chunking_mean_ms: mean(&ascending(arrived().filter_map(|r| r.chunking_ms))).map(to_microseconds),
        polling_mean_ms: mean(&ascending(arrived().filter_map(|r| r.polling_ms))).map(to_microseconds),
        partial: record.is_partial(),
        fit: record.unfit.is_empty(),
        note: Note(record.warnings().join("; ")),
    }
}

/// From when on the viewer wants pictures and there could be any: one that waits for a broadcaster who is not there
/// yet does not wait for the network.
pub(super) fn wanted_ns(facts: &ViewerFacts, frames: &[&FrameRow]) -> Option<i64> {
    let stream_began = facts.stream_began_ns.or_else(|| frames.iter().map(|r| r.birth_ns).min())?;
    Some(facts.told.player_started_ns?.max(stream_began))
}

fn startup_delay_ms(facts: &ViewerFacts, frames: &[&FrameRow]) -> Option<f64> {
    let first = facts.first_keyframe_ns.or_else(|| first_keyframe(frames.iter().copied())?.arrival_ns)?;
    Some(milliseconds(first - wanted_ns(facts, frames)?))
}

/// The share of these bytes in all that came, 0 to 1, to six decimals; `None`: not captured, or nothing came.
#[allow(clippy::cast_precision_loss)]
fn offload(facts: &ViewerFacts, bytes: Option<u64>) -> Option<f64> {
    let all = facts.cdn_bytes?.checked_add(facts.peer_bytes?)?.checked_add(facts.group_bytes.unwrap_or(0));
    let all = all.filter(|all| *all > 0)?;
    Some((bytes? as f64 / all as f64 * 1e6).round() / 1e6)
}

fn handover_gap_ms(frames: &[&FrameRow]) -> Option<f64> {
    let gaps = by_spell(frames).into_iter().flat_map(|spell| {
        let mut arrivals: Vec<(i64, Via)> = spell.iter().filter_map(|r| r.arrival_ns.zip(r.via)).collect();
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        let handovers = arrivals.windows(2).filter(|pair| pair[0].1 == Via::Cdn && pair[1].1 != Via::Cdn);
        handovers.map(|pair| milliseconds(pair[1].0 - pair[0].0)).collect::<Vec<_>>()
    });
    gaps.max_by(f64::total_cmp)
}

/// Interarrival jitter in milliseconds as RFC 3550, section 6.4.1, defines it, with frames in the place of packets
/// and their own time stamps as the times of sending: for each frame but the first to arrive, J += (|D| − J) / 16,
/// where D is by how much more the arrivals than the time stamps of it and the frame before it are apart. What is
/// returned is the mean of J over these frames; `None` for fewer than two.
#[must_use]
pub fn jitter_ms<'a>(frames: impl Iterator<Item = &'a FrameRow>) -> Option<f64> {
    let mut arrivals: Vec<(i64, u32)> = frames.filter_map(|r| Some((r.arrival_ns?, r.timestamp_ms))).collect();
    arrivals.sort_unstable();
    let (mut jitter, mut sum) = (0.0, 0.0);
    for pair in arrivals.windows(2) {
        let difference = milliseconds(pair[1].0 - pair[0].0) - (f64::from(pair[1].1) - f64::from(pair[0].1));
        jitter += (difference.abs() - jitter) / 16.0;
        sum += jitter;
    }
    #[allow(clippy::cast_precision_loss)]
    (arrivals.len() > 1).then(|| sum / (arrivals.len() - 1) as f64)
}

#[allow(clippy::cast_precision_loss)]
fn retransmission_rate(facts: &ViewerFacts) -> Option<f64> {
    // Without peers there is nothing to have captured at them.
    let peer = facts.peer_sent.or_else(|| (facts.peer_bytes == Some(0)).then(Sent::default))?;
    let cdn = facts.cdn_sent.or_else(|| (facts.cdn_bytes == Some(0)).then(Sent::default))?;
    let (bytes, again) = (cdn.bytes + peer.bytes, cdn.again + peer.again);
    (bytes > 0).then(|| (again as f64 / bytes as f64 * 1e6).round() / 1e6)
}

/// Means of the delay and of its parts, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct MeanParts {
    delay: f64,
    queue: f64,
    uplink: f64,
    dwell: f64,
    downlink: f64,
    transfer: f64,
    relay: f64,
}

/// Of frames that arrived; `None` if there is none, or one whose parts are not known.
fn mean_parts<'a>(frames: impl Iterator<Item = &'a FrameRow>) -> Option<MeanParts> {
    let (mut sum, mut count) = (MeanParts::default(), 0.0);
    for frame in frames {
        sum.queue += frame.queue_ms?;
        sum.delay += frame.delay_ms?;
        if let Some(transfer) = frame.transfer_ms {
            sum.transfer += transfer;
            // Tables of an older livectl have no such part: there nobody passed anything on.
            sum.relay += frame.relay_ms.unwrap_or(0.0);
        } else {
            sum.uplink += frame.uplink_ms?;
            sum.dwell += frame.dwell_ms?;
            sum.downlink += frame.downlink_ms?;
        }
        count += 1.0;
    }
    let MeanParts { delay, queue, uplink, dwell, downlink, transfer, relay } = sum;
    (count > 0.0).then(|| MeanParts {
        delay: delay / count,
        queue: queue / count,
        uplink: uplink / count,
        dwell: dwell / count,
        downlink: downlink / count,
        transfer: transfer / count,
        relay: relay / count,
    })
}

#[allow(clippy::cast_precision_loss)]
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

struct Viewer {
    trial: String,
    stream: String,
    viewer: String,
    spell: Option<u32>,
}

/// Trial, stream, viewer and number of the spell.
type Key<'a> = (&'a str, &'a str, &'a str, Option<u32>);

impl Viewer {
    fn as_key(&self) -> Key<'_> {
        (&self.trial, &self.stream, &self.viewer, self.spell)
    }
}

fn key(row: &FrameRow) -> Key<'_> {
    (&row.trial, &row.stream, &row.viewer, row.spell)
}

fn viewers(rows: &[FrameRow]) -> Vec<Viewer> {
    let mut keys: Vec<_> = rows.iter().map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .map(|(trial, stream, viewer, spell)| Viewer {
            trial: trial.into(),
            stream: stream.into(),
            viewer: viewer.into(),
            spell,
        })
        .collect()
}

pub(super) fn ascending(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

pub(super) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}

/// The summary is for reading: its milliseconds end at the microsecond. The frames keep every digit.
pub(super) fn to_microseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
