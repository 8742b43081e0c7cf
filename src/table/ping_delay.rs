//! The delay that ping trains see: the series of the classic delay plot.
//!
//! A ping measures there and back; the way there is taken as half of it. Through the CDN a packet goes broadcaster →
//! CDN → viewer, so the delay is half of b→s plus half of s→v; from peer to peer it is half of b→v.

use std::time::Duration;

use super::rows::PingRow;
use crate::plan::delivery::Via;
use crate::plan::{PingTrain, Point, Trial};
use crate::trace::ping::PingLog;

/// Two pings see the same moment if they were sent within half a second of each other: the original trains ping once
/// a second.
pub const PAIRING_TOLERANCE_S: f64 = 0.5;

/// The delay from a broadcaster to a viewer at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PingDelay {
    /// [`plan::Trial::id`](crate::plan::Trial::id).
    pub trial: String,
    /// Which trial that is.
    pub point: Point,
    /// The broadcaster's name.
    pub broadcaster: String,
    /// The viewer's name.
    pub viewer: String,
    /// The way that the pings stand for: from peer to peer, or through the CDN.
    pub via: Via,
    /// When the (first) ping was sent, on the trial's timeline.
    pub time_s: f64,
    /// Half of the round trips on the way, in milliseconds; `None`: a ping had no answer.
    pub delay_ms: Option<f64>,
}

/// The rows of one ping train. `zero_ns` is the moment 0 of the trial's timeline. Without it, or without time stamps
/// in the log, the pings are where the plan has them; pings without a stamp among others that have one stand between
/// their neighbours. Pings without an answer get a row each, as many as are known to have been sent; those that were
/// answered and whose time is not known get none.
#[must_use]
pub fn ping_rows(trial: &Trial, train: &PingTrain, zero_ns: Option<i64>, log: &PingLog) -> Vec<PingRow> {
    let stamped = zero_ns.map(|zero| stamped(log, zero)).unwrap_or_default();
    let time_s = |seq: u32| {
        between(&stamped, seq, train.interval)
            .unwrap_or_else(|| (train.start + train.interval.saturating_mul(seq.saturating_sub(1))).as_secs_f64())
    };
    let row = |seq, sent_ns: Option<i64>, rtt_ns: Option<u64>, duplicate| PingRow {
        trial: trial.id.clone(),
        point: trial.point.clone(),
        from: train.from.clone(),
        to: train.to.clone(),
        seq,
        sent_ns,
        time_s: sent_ns.zip(zero_ns).map_or_else(|| time_s(seq), |(sent, zero)| seconds(sent - zero)),
        rtt_ms: rtt_ns.map(|ns| Duration::from_nanos(ns).as_secs_f64() * 1e3),
        duplicate,
    };
    let mut rows: Vec<PingRow> =
        log.replies.iter().map(|r| row(r.seq, r.sent_ns, Some(r.rtt_ns), r.duplicate)).collect();
    let seen = log.replies.iter().map(|r| r.seq).max().unwrap_or(0);
    // A summary that claims millions more than the train has is no reason to make millions of rows.
    let most = train.count.max(seen);
    rows.extend(log.lost(most).into_iter().map(|seq| row(seq, None, None, false)));
    rows.sort_by_key(|r| (r.seq, r.duplicate));
    rows
}

/// Number and moment, in seconds, of the first answers that have a stamp, by number.
fn stamped(log: &PingLog, zero_ns: i64) -> Vec<(u32, f64)> {
    let once = log.replies.iter().filter(|r| !r.duplicate);
    let mut stamped: Vec<(u32, f64)> = once.filter_map(|r| Some((r.seq, seconds(r.sent_ns? - zero_ns)))).collect();
    stamped.sort_by_key(|(seq, _)| *seq);
    stamped
}

/// The moment of a ping between its neighbours that have one, or an interval from the nearest.
fn between(stamped: &[(u32, f64)], seq: u32, interval: Duration) -> Option<f64> {
    let at = stamped.partition_point(|(other, _)| *other < seq);
    let apart = |from: u32, to: u32| f64::from(to) - f64::from(from);
    let before = at.checked_sub(1).and_then(|at| stamped.get(at));
    Some(match (before, stamped.get(at)) {
        (None, None) => return None,
        (Some((number, time)), None) => time + apart(*number, seq) * interval.as_secs_f64(),
        (None, Some((number, time))) => time - apart(seq, *number) * interval.as_secs_f64(),
        (Some((a, begin)), Some((b, end))) => begin + (end - begin) * apart(*a, seq) / apart(*a, *b),
    })
}

/// The delay series of a trial, one for each viewer of each stream: for schemes without peers, and where viewer and
/// broadcaster do not ping each other, by way of the CDN; else from peer to peer. Streams whose hosts were not pinged
/// have none.
#[must_use]
pub fn ping_delays(trial: &Trial, pings: &[PingRow]) -> Vec<PingDelay> {
    let train = |from: &str, to: &str| -> Vec<PingRow> {
        let same = |r: &&PingRow| r.trial == trial.id && r.from == from && r.to == to;
        pings.iter().filter(same).cloned().collect()
    };
    let mut all = Vec::new();
    for stream in &trial.streams {
        for viewer in &stream.viewers {
            let peer = train(&stream.broadcaster, viewer);
            let via = if !trial.point.scheme.has_peers() || peer.is_empty() { Via::Cdn } else { Via::Peer };
            let series = if via == Via::Cdn {
                let Some(cdn) = trial.network.cdn() else { continue };
                half_sum(&train(&stream.broadcaster, &cdn.name), &train(&cdn.name, viewer))
            } else {
                half(&peer)
            };
            all.extend(series.into_iter().map(|(time_s, delay_ms)| PingDelay {
                trial: trial.id.clone(),
                point: trial.point.clone(),
                broadcaster: stream.broadcaster.clone(),
                viewer: viewer.clone(),
                via,
                time_s,
                delay_ms,
            }));
        }
    }
    all
}

/// Time in s and half the round trip in ms of each ping; duplicates are left out.
#[must_use]
pub fn half(train: &[PingRow]) -> Vec<(f64, Option<f64>)> {
    train.iter().filter(|r| !r.duplicate).map(|r| (r.time_s, r.rtt_ms.map(|rtt| rtt / 2.0))).collect()
}

/// Time in s of each ping of `first`, and half its round trip plus half that of the ping of `second` sent nearest to
/// it, in ms. Pings of `first` without one in `second` within [`PAIRING_TOLERANCE_S`] are left out: there the second
/// train did not ping.
#[must_use]
pub fn half_sum(first: &[PingRow], second: &[PingRow]) -> Vec<(f64, Option<f64>)> {
    let mut second = half(second);
    second.sort_by(|a, b| a.0.total_cmp(&b.0));
    let nearest = |time: f64| {
        let after = second.partition_point(|(t, _)| *t < time);
        let around = [after.checked_sub(1), Some(after)];
        let near = around.into_iter().flatten().filter_map(|i| second.get(i));
        near.min_by(|a, b| (a.0 - time).abs().total_cmp(&(b.0 - time).abs()))
            .filter(|(t, _)| (t - time).abs() <= PAIRING_TOLERANCE_S)
    };
    half(first)
        .into_iter()
        .filter_map(|(time, a)| nearest(time).map(|(_, b)| (time, a.zip(*b).map(|(a, b)| a + b))))
        .collect()
}

#[allow(clippy::cast_precision_loss)]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
