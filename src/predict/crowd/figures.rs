//! The exact figures of a crowd's trial, over all viewers and all their frames.

use std::time::Duration;

use super::super::agenda::Nanos;
use super::super::course::Born;
use super::course::Reattached;
use super::ground::Kind;
use super::people::People;
use super::sweep::{Had, MISSING};
use crate::plan::Departure;

/// Row of a frame that the viewer is not owed.
const FOREIGN: u32 = MISSING - 1;
/// A frame born so shortly before its viewer went may be on its way still.
const ON_ITS_WAY: Nanos = 2_000_000_000;
/// The playout buffer that is to cover what goes wrong, in microseconds.
const COVER: u32 = 2_000_000;
/// Viewers whose frames are looked at side by side.
const SIDE_BY_SIDE: usize = 64;

/// Two quantiles, the extremes and how many there are. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    /// How many times there are.
    pub count: u64,
    /// The median; `None`, here and below: there is no such time, or one that never came.
    pub p50: Option<f64>,
    /// The 95th percentile.
    pub p95: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// The greatest of those that came.
    pub max: Option<f64>,
}

/// What a crowd's trial came to, over all its viewers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// How many viewers there are.
    pub viewers: u64,
    /// How many frames the stream has.
    pub frames: u64,
    /// Frames that viewers should have had, all together.
    pub owed: u64,
    /// Owed frames that never arrived.
    pub missing: u64,
    /// Of the missing frames, those before the first of their spell that arrived; all of a spell in which none did.
    pub missing_start: u64,
    /// Frames that arrived later than a buffer of two seconds covers, or are missing after the first of their spell.
    pub uncovered: u64,
    /// From birth to arrival, over all frames that are owed: what never arrived is later than all that did.
    pub delay: Spread,
    /// By how much that was more than the floor of the frame's way.
    pub excess: Spread,
    /// Medians of the viewers' delays in milliseconds, what never arrived being later than all that did: the best, the median and the
    /// worst; `None`: half of that viewer's frames never arrived.
    pub viewer_p50_ms: [Option<f64>; 3],
    /// The same of their 95th percentiles.
    pub viewer_p95_ms: [Option<f64>; 3],
    /// From when a player that starts wants pictures to its first keyframe, in first spells.
    pub startup: Spread,
    /// How long it was until those had the stream again whose parent went.
    pub reattach: Spread,
    /// The same, only after crashes.
    pub reattach_crash: Spread,
    /// Shares of the bytes, 0 to 1, that viewers had first from the broadcaster and from each other.
    pub from_peers: Option<f64>,
    /// Share that viewers had first from each other alone.
    pub from_viewers: Option<f64>,
    /// Bytes of frames that viewers had first from the CDN.
    pub from_cdn_bytes: u64,
    /// Links on the way to a viewer from who has the stream from the encoder or the CDN, at the end: the mean.
    pub depth_mean: Option<f64>,
    /// The greatest number of these links.
    pub depth_max: u64,
    /// The greatest number of hosts that passed an item on, the CDN being one of them.
    pub passed_on_most: u64,
    /// Viewers that had the CDN, or nobody, at the end.
    pub at_cdn: u64,
}

/// What figures are made of.
pub(super) struct Material<'a> {
    pub items: &'a [Born],
    pub people: &'a People,
    pub kinds: &'a [Kind],
    /// By kind and frame, the least delay that the network allows.
    pub floors: &'a [Vec<Option<Duration>>],
    pub had: Had,
    pub reattached: &'a [Reattached],
}

impl Figures {
    /// `rows`: by frame and viewer, microseconds from birth to arrival.
    pub(super) fn of(material: &Material<'_>, rows: &mut [u32]) -> Self {
        let births: Vec<Nanos> = material.items.iter().filter(|item| item.is_frame).map(|item| item.at).collect();
        let keyframes: Vec<bool> =
            material.items.iter().filter(|item| item.is_frame).map(|item| item.keyframe).collect();
        let viewers = material.people.len();
        let mut figures = Figures { viewers: viewers as u64, frames: births.len() as u64, ..Figures::default() };
        let (mut medians, mut p95s) = (Vec::with_capacity(viewers), Vec::with_capacity(viewers));
        let mut startups = Vec::with_capacity(viewers);
        let mut block = vec![FOREIGN; SIDE_BY_SIDE * births.len()];
        let mut own = Vec::with_capacity(births.len());
        for begin in (0..viewers).step_by(SIDE_BY_SIDE) {
            let end = (begin + SIDE_BY_SIDE).min(viewers);
            for frame in 0..births.len() {
                for viewer in begin..end {
                    block[(viewer - begin) * births.len() + frame] = rows[frame * viewers + viewer];
                }
            }
            for viewer in begin..end {
                let column = &mut block[(viewer - begin) * births.len()..][..births.len()];
                figures.tell(material.people, viewer, &births, &keyframes, column, &mut startups);
                own.clear();
                // Missing ones come last.
                own.extend(column.iter().copied().filter(|delay| *delay != FOREIGN));
                if !own.is_empty() {
                    own.sort_unstable();
                    medians.push(between(&own, 0.5));
                    p95s.push(between(&own, 0.95));
                }
            }
            for frame in 0..births.len() {
                for viewer in begin..end {
                    rows[frame * viewers + viewer] = block[(viewer - begin) * births.len() + frame];
                }
            }
        }
        figures.viewer_p50_ms = range(medians);
        figures.viewer_p95_ms = range(p95s);
        // What never arrived is later than all that did.
        figures.delay = spread(figures.missing, || rows.iter().copied().filter(|delay| *delay < FOREIGN));
        figures.startup = spread(0, || startups.iter().copied());
        let again = |how: Option<Departure>| {
            let mine = material.reattached.iter().filter(move |one| how.is_none_or(|how| one.how == how));
            mine.map(|one| u32::try_from(one.after / 1000).unwrap_or(FOREIGN - 1))
        };
        figures.reattach = spread(0, || again(None));
        figures.reattach_crash = spread(0, || again(Some(Departure::Crash)));
        let floors: Vec<Vec<u32>> = material
            .floors
            .iter()
            .map(|floors| {
                let micros = |floor: &Option<Duration>| floor.map_or(u32::MAX, |floor| floor.as_micros() as u32);
                floors.iter().map(micros).collect()
            })
            .collect();
        let has_floors = floors.iter().flatten().all(|floor| *floor < FOREIGN);
        if has_floors && viewers > 0 {
            figures.excess = spread(figures.missing, || {
                rows.chunks_exact(viewers).enumerate().flat_map(|(frame, row)| {
                    let floors = &floors;
                    row.iter()
                        .zip(material.kinds)
                        .filter(|(delay, _)| **delay < FOREIGN)
                        .map(move |(delay, kind)| delay.saturating_sub(floors[usize::from(*kind)][frame]))
                })
            });
        }
        let Had { from_cdn, from_broadcaster, from_viewers } = material.had;
        let all = (from_cdn + from_broadcaster + from_viewers) as f64;
        if all > 0.0 {
            figures.from_peers = Some((from_broadcaster + from_viewers) as f64 / all);
            figures.from_viewers = Some(from_viewers as f64 / all);
        }
        figures.from_cdn_bytes = from_cdn;
        figures
    }

    /// Counts a viewer's frames; those that it is not owed are marked.
    fn tell(
        &mut self,
        people: &People,
        viewer: usize,
        births: &[Nanos],
        keyframes: &[bool],
        column: &mut [u32],
        startups: &mut Vec<u32>,
    ) {
        let mut next = 0;
        let began = births.first().copied().unwrap_or_default();
        for (number, spell) in people.spells(viewer).iter().enumerate() {
            let from = next + births[next..].partition_point(|birth| *birth < spell.from);
            let until = from + births[from..].partition_point(|birth| *birth < spell.until);
            column[next..from].fill(FOREIGN);
            // As in the tables, counted from the first to arrive on, whichever that is; if none does, all are too late.
            let (mut first, mut begins, mut picture) = (Nanos::MAX, from, Nanos::MAX);
            for frame in from..until {
                let arrives = births[frame] + Nanos::from(column[frame]) * 1000;
                if column[frame] == MISSING || arrives > spell.until {
                    // Either it had its time, or it is no one's.
                    column[frame] = if births[frame] + ON_ITS_WAY <= spell.until { MISSING } else { FOREIGN };
                    continue;
                }
                if arrives < first {
                    (first, begins) = (arrives, frame);
                }
                if keyframes[frame] && arrives < picture {
                    picture = arrives;
                }
            }
            for frame in (from..until).filter(|frame| column[*frame] != FOREIGN) {
                let is_missing = column[frame] == MISSING;
                self.owed += 1;
                self.missing += u64::from(is_missing);
                self.missing_start += u64::from(is_missing && frame < begins);
                self.uncovered += u64::from(frame >= begins && (is_missing || column[frame] > COVER));
            }
            if number == 0 && picture < Nanos::MAX {
                let wanted = spell.from.max(began);
                startups.push(u32::try_from(picture.saturating_sub(wanted) / 1000).unwrap_or(FOREIGN - 1));
            }
            next = until;
        }
        column[next..].fill(FOREIGN);
    }
}

/// The quantile of ascending times in microseconds, between two of them in proportion; in milliseconds. Infinite if it is among those that
/// are [`MISSING`].
fn between(ascending: &[u32], p: f64) -> f64 {
    let at = p * (ascending.len() - 1) as f64;
    let (below, share) = (at.floor() as usize, at.fract());
    let above = if share > 0.0 { (below + 1).min(ascending.len() - 1) } else { below };
    if ascending[above] == MISSING {
        return f64::INFINITY;
    }
    let [below, above] = [ascending[below], ascending[above]].map(f64::from);
    (below + (above - below) * share) / 1000.0
}

/// The least, the median and the greatest; `None` for one that is infinite.
fn range(mut values: Vec<f64>) -> [Option<f64>; 3] {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let (Some(least), Some(greatest)) = (values.first().copied(), values.last().copied()) else { return [None; 3] };
    let median =
        if values.len().is_multiple_of(2) { f64::midpoint(values[half - 1], values[half]) } else { values[half] };
    [least, median, greatest].map(|value| Some(value).filter(|value| value.is_finite()))
}

/// Exact quantiles of any number of times, of which there need not be a second copy: counted twice, by their upper and by their lower halves.
/// `never` are so many more that are later than all of them: a quantile among those there is none of.
fn spread<I: Iterator<Item = u32>>(never: u64, times: impl Fn() -> I) -> Spread {
    let mut upper = vec![0u64; 1 << 16];
    let (mut count, mut max) = (0u64, 0u32);
    for time in times() {
        upper[(time >> 16) as usize] += 1;
        count += 1;
        max = max.max(time);
    }
    if count == 0 {
        return Spread::default();
    }
    // The places that are asked for, two for each quantile.
    let quantiles = [0.5, 0.95, 0.99];
    let all = count + never;
    let places = quantiles.map(|p| {
        let at = p * (all - 1) as f64;
        let below = at.floor() as u64;
        (below, (below + 1).min(all - 1), at.fract())
    });
    let mut cumulative = 0;
    let mut starts = vec![0u64; (1 << 16) + 1];
    for (half, n) in upper.iter().enumerate() {
        cumulative += n;
        starts[half + 1] = cumulative;
    }
    let half_of = |place: u64| starts.partition_point(|start| *start <= place) - 1;
    let mut lower: Vec<(usize, Vec<u64>)> = Vec::new();
    for (below, above, _) in places {
        for half in [below, above].into_iter().filter(|place| *place < count).map(half_of) {
            if !lower.iter().any(|(known, _)| *known == half) {
                lower.push((half, vec![0; 1 << 16]));
            }
        }
    }
    for time in times() {
        if let Some((_, counts)) = lower.iter_mut().find(|(half, _)| *half == (time >> 16) as usize) {
            counts[(time & 0xFFFF) as usize] += 1;
        }
    }
    let value = |place: u64| {
        let half = half_of(place);
        let mut left = place - starts[half];
        let counts = lower.iter().find(|(known, _)| *known == half).map(|(_, counts)| counts.as_slice());
        for (low, n) in counts.unwrap_or_default().iter().enumerate() {
            if left < *n {
                return ((half << 16) | low) as f64;
            }
            left -= n;
        }
        f64::from(max)
    };
    let [p50, p95, p99] = places.map(|(below, above, share)| {
        let above = if share > 0.0 { above } else { below };
        (above < count).then(|| {
            let (below, above) = (value(below), value(above));
            (below + (above - below) * share) / 1000.0
        })
    });
    Spread { count, p50, p95, p99, max: Some(f64::from(max) / 1000.0) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut chance = fastrand::Rng::with_seed(3);
        for count in [1usize, 2, 3, 10, 1000, 70_000] {
            let mut times: Vec<u32> = (0..count).map(|_| chance.u32(0..300_000_000)).collect();
            let spread = spread(0, || times.iter().copied());
            times.sort_unstable();
            for (found, p) in [(spread.p50, 0.5), (spread.p95, 0.95), (spread.p99, 0.99), (spread.max, 1.0)] {
                assert!((found.unwrap() - between(&times, p)).abs() < 1e-9, "{p} of {count}");
            }
            assert_eq!(spread.count, count as u64);
        }
        assert_eq!(spread(0, std::iter::empty), Spread::default());
        assert_eq!(range(vec![3.0, f64::INFINITY, 1.0, 2.0]), [Some(1.0), Some(2.5), None]);
        assert_eq!((between(&[1000, 2000, MISSING], 0.5), between(&[1000, MISSING], 0.5)), (2.0, f64::INFINITY));
        // Half of them never came.
        let half = spread(6, || (1..=6u32).map(|second| second * 1_000_000));
        assert_eq!((half.p50, half.p95, half.max), (None, None, Some(6000.0)));
        let most = spread(4, || (1..=7u32).map(|second| second * 1_000_000));
        assert_eq!((most.p50, most.p95), (Some(6000.0), None));
    }
}
