//! Figures over several repetitions, with confidence intervals.
//!
//! What repeats is the trial: the frames of one trial depend on each other, so that intervals from single frames
//! would be far too narrow. The bootstrap here therefore draws whole trials, with replacement, [`RESAMPLES`] times
//! (the cluster bootstrap of Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8), and
//! takes the 2.5 % and 97.5 % points of what the figure comes to (the percentile interval of Efron and Tibshirani,
//! *An Introduction to the Bootstrap*, 1993, chapter 13). One trial has no interval, and with fewer than about five
//! the intervals are too narrow. The draws are seeded: the same tables give the same intervals.

use std::cell::RefCell;
use std::rc::Rc;

use super::digest::{Digests, FrameFigure, Frames};
use super::rows::{EstimateRow, FrameRow, PlayoutRow, SummaryRow};
use super::summary::{quantile, to_microseconds};

/// How often trials are drawn again.
pub const RESAMPLES: usize = 1000;
/// Seeds the draws; any number would do, as long as it stays the same.
const SEED: u64 = 0x6c69_7665_6374_6c00;

/// One viewer of one stream in one trial, with its rows of three tables.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// Its row of the summary.
    pub summary: &'a SummaryRow,
    /// Its frames; none if nothing was captured there.
    pub frames: Frames<'a>,
    /// Its rows of the playout table, one for each buffer; none if nothing was captured there.
    pub playouts: &'a [PlayoutRow],
}

/// A figure's values in several trials, and what they are to be put together to.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A quantile of the values of all trials together.
    Quantile {
        /// Each trial's values, ascending.
        trials: Vec<Vec<f64>>,
        /// Which quantile, 0 to 1.
        p: f64,
    },
    /// The mean over the trials of one value for each.
    Mean(Vec<f64>),
}

/// A figure over several trials, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure from the values of all trials.
    pub value: f64,
    /// The 95 % confidence interval; `None` for a single trial.
    pub interval: Option<(f64, f64)>,
    /// How many trials have values.
    pub trials: usize,
}

/// A figure's name, as in `estimates.csv`. It ends in its unit, as columns do.
pub type Metric = String;

/// Puts tables together: a unit for each line of the summary, in its order.
#[must_use]
pub fn units<'a>(summary: &'a [SummaryRow], frames: &'a [FrameRow], playouts: &'a [PlayoutRow]) -> Vec<Unit<'a>> {
    use std::collections::HashMap;
    // Rows of a unit follow each other, so that there are few groups and no need to copy rows.
    let frames: HashMap<_, _> = frames
        .chunk_by(|a, b| (&a.viewer, &a.stream, &a.trial) == (&b.viewer, &b.stream, &b.trial))
        .map(|rows| ((rows[0].trial.as_str(), rows[0].stream.as_str(), rows[0].viewer.as_str()), rows))
        .collect();
    with_frames(summary, playouts, |trial, stream, viewer| {
        Frames::Rows(frames.get(&(trial, stream, viewer)).copied().unwrap_or_default())
    })
}

/// The same with digests in place of the frames' rows.
#[must_use]
pub fn units_of_digests<'a>(
    summary: &'a [SummaryRow],
    digests: &'a Digests,
    playouts: &'a [PlayoutRow],
) -> Vec<Unit<'a>> {
    with_frames(summary, playouts, |trial, stream, viewer| {
        digests.get(trial, stream, viewer).map_or(Frames::Rows(&[]), Frames::Digest)
    })
}

fn with_frames<'a>(
    summary: &'a [SummaryRow],
    playouts: &'a [PlayoutRow],
    frames: impl Fn(&str, &str, &str) -> Frames<'a>,
) -> Vec<Unit<'a>> {
    let playouts: std::collections::HashMap<_, _> = playouts
        .chunk_by(|a, b| (&a.viewer, &a.stream, &a.trial) == (&b.viewer, &b.stream, &b.trial))
        .map(|rows| ((rows[0].trial.as_str(), rows[0].stream.as_str(), rows[0].viewer.as_str()), rows))
        .collect();
    let unit = |summary: &'a SummaryRow| {
        let key = (summary.trial.as_str(), summary.stream.as_str(), summary.viewer.as_str());
        let playouts = playouts.get(&key).copied().unwrap_or_default();
        Unit { summary, frames: frames(key.0, key.1, key.2), playouts }
    };
    summary.iter().map(unit).collect()
}

/// A column's name and its values.
type MetricOf<T> = (&'static str, fn(&T) -> Option<f64>);

/// Columns of which quantiles over all frames are figures.
const FRAME_METRICS: [(&str, FrameFigure); 3] =
    [("delay", FrameFigure::Delay), ("excess", FrameFigure::Excess), ("stream_excess", FrameFigure::StreamExcess)];
const PERCENTS: [(u32, f64); 3] = [(50, 0.5), (95, 0.95), (99, 0.99)];
/// Columns of the summary whose means over the trials are figures.
const SUMMARY_METRICS: [MetricOf<SummaryRow>; 45] = [
    ("delay_mean_ms", |r| r.delay_mean_ms),
    ("delay_max_ms", |r| r.delay_max_ms),
    ("floor_p50_ms", |r| r.floor_p50_ms),
    ("missing", |r| r.missing.map(f64::from)),
    ("duplicate", |r| r.duplicate.map(f64::from)),
    ("late", |r| r.late.map(f64::from)),
    ("startup_delay_ms", |r| r.startup_delay_ms),
    ("handover_gap_ms", |r| r.handover_gap_ms),
    ("jitter_ms", |r| r.jitter_ms),
    ("peer_offload", |r| r.peer_offload),
    #[allow(clippy::cast_precision_loss)]
    ("server_egress_bytes", |r| r.server_egress_bytes.map(|bytes| bytes as f64)),
    ("retransmission_rate", |r| r.retransmission_rate),
    ("queue_mean_ms", |r| r.queue_mean_ms),
    ("uplink_mean_ms", |r| r.uplink_mean_ms),
    ("dwell_mean_ms", |r| r.dwell_mean_ms),
    ("downlink_mean_ms", |r| r.downlink_mean_ms),
    ("transfer_mean_ms", |r| r.transfer_mean_ms),
    ("skipped", |r| r.skipped.map(f64::from)),
    ("publish_ms", |r| r.publish_ms),
    ("first_picture_ms", |r| r.first_picture_ms),
    ("introduction_ms", |r| r.introduction_ms),
    ("handover_ms", |r| r.handover_ms),
    ("relay_mean_ms", |r| r.relay_mean_ms),
    ("depth_p50", |r| r.depth_p50),
    ("depth_max", |r| r.depth_max.map(f64::from)),
    ("viewer_offload", |r| r.viewer_offload),
    ("relay_bound_ms", |r| r.relay_bound_ms),
    ("relay_bound_p95_ms", |r| r.relay_bound_p95_ms),
    ("missing_start", |r| r.missing_start.map(f64::from)),
    ("uncovered", |r| r.uncovered.map(f64::from)),
    ("reattachments", |r| r.reattachments.map(f64::from)),
    ("reattach_p50_ms", |r| r.reattach_p50_ms),
    ("reattach_p95_ms", |r| r.reattach_p95_ms),
    ("reattach_leave_p95_ms", |r| r.reattach_leave_p95_ms),
    ("reattach_crash_p95_ms", |r| r.reattach_crash_p95_ms),
    ("shown_delay_p50_ms", |r| r.shown_delay_p50_ms),
    ("shown_delay_p95_ms", |r| r.shown_delay_p95_ms),
    ("shown_delay_mean_ms", |r| r.shown_delay_mean_ms),
    ("encode_mean_ms", |r| r.encode_mean_ms),
    ("player_mean_ms", |r| r.player_mean_ms),
    ("player_p50_ms", |r| r.player_p50_ms),
    ("player_p95_ms", |r| r.player_p95_ms),
    ("never_shown", |r| r.never_shown.map(f64::from)),
    ("shown_twice", |r| r.shown_twice.map(f64::from)),
    ("shown_late", |r| r.shown_late.map(f64::from)),
];
/// Columns of the summary that are quantiles of a trial's own frames.
const TRIAL_QUANTILES: [MetricOf<SummaryRow>; 7] = [
    ("delay_p50_ms", |r| r.delay_p50_ms),
    ("delay_p95_ms", |r| r.delay_p95_ms),
    ("delay_p99_ms", |r| r.delay_p99_ms),
    ("excess_p50_ms", |r| r.excess_p50_ms),
    ("excess_p95_ms", |r| r.excess_p95_ms),
    ("stream_excess_p50_ms", |r| r.stream_excess_p50_ms),
    ("stream_excess_p95_ms", |r| r.stream_excess_p95_ms),
];
/// The same of the playout table, for each buffer: what comes before it in the name, what comes after, and the
/// column.
type PlayoutMetric = (&'static str, &'static str, fn(&PlayoutRow) -> Option<f64>);
const PLAYOUT_METRICS: [PlayoutMetric; 4] = [
    ("stalls", "", |r| r.stalls.map(f64::from)),
    ("stalled", "_ms", |r| r.stalled_ms),
    ("playout_startup", "_ms", |r| r.startup_delay_ms),
    ("continuity", "", |r| r.continuity),
];

/// The figures of several units, taken as repetitions of one and the same thing. Those that none of them has are left
/// out. Units that are partial or unfit should not be among them.
#[must_use]
pub fn samples(units: &[Unit<'_>]) -> Vec<(Metric, Sample)> {
    let trials: Vec<Vec<Unit<'_>>> = units.iter().map(|unit| vec![*unit]).collect();
    metrics(units).into_iter().filter_map(|name| sample(&trials, &name).map(|sample| (name, sample))).collect()
}

/// The names of the figures that units can have: the buffers are those of their playout tables.
#[must_use]
pub fn metrics(units: &[Unit<'_>]) -> Vec<Metric> {
    let quantiles =
        FRAME_METRICS.iter().flat_map(|(name, _)| PERCENTS.map(|(percent, _)| format!("{name}_p{percent}_ms")));
    quantiles.chain(means(units)).collect()
}

/// The names of the figures that one trial has by itself: those of which there are means over trials, and quantiles
/// of its own frames.
#[must_use]
pub fn trial_metrics(units: &[Unit<'_>]) -> Vec<Metric> {
    TRIAL_QUANTILES.iter().map(|(name, _)| (*name).to_owned()).chain(means(units)).collect()
}

/// The names of what is one value for each trial and viewer.
fn means(units: &[Unit<'_>]) -> Vec<Metric> {
    let means = SUMMARY_METRICS.iter().map(|(name, _)| (*name).to_owned());
    let mut buffers: Vec<f64> = units.iter().flat_map(|unit| unit.playouts.iter().map(|r| r.buffer_s)).collect();
    buffers.sort_by(f64::total_cmp);
    buffers.dedup();
    let playouts = buffers.iter().flat_map(|buffer_s| PLAYOUT_METRICS.map(|metric| playout_name(&metric, *buffer_s)));
    means.chain(playouts).collect()
}

fn playout_name((name, unit, _): &PlayoutMetric, buffer_s: f64) -> Metric {
    format!("{name}_buffer_{buffer_s}s{unit}")
}

/// What of the frames a figure is a quantile of, and which; `None`: the figure is no quantile.
fn quantile_of_frames(metric: &str) -> Option<(FrameFigure, f64)> {
    FRAME_METRICS.iter().find_map(|(name, figure)| {
        let percent: u32 = metric.strip_prefix(name)?.strip_prefix("_p")?.strip_suffix("_ms")?.parse().ok()?;
        PERCENTS.iter().find(|(known, _)| *known == percent).map(|(_, p)| (*figure, *p))
    })
}

/// What of the frames is needed for the figure, or for the one that the beginning of its name means; `None`: it is
/// none of frames.
#[must_use]
pub fn frames_behind(metric: &str) -> Option<FrameFigure> {
    let plain = metric.strip_suffix("_ms").unwrap_or(metric);
    let median = format!("{plain}_p50_ms");
    quantile_of_frames(metric).or_else(|| quantile_of_frames(&median)).map(|(figure, _)| figure)
}

/// One figure of several trials, each of one or more viewers' units. A quantile is of all frames of all its viewers
/// together; a mean is of each trial's mean over those of its viewers that have the column. `None`: there is no such
/// figure, or nobody has it.
#[must_use]
pub fn sample(trials: &[Vec<Unit<'_>>], metric: &str) -> Option<Sample> {
    if let Some((figure, p)) = quantile_of_frames(metric) {
        let values = |units: &Vec<Unit<'_>>| -> Vec<f64> {
            let mut values: Vec<f64> = Vec::new();
            units.iter().for_each(|unit| unit.frames.add_to(&mut values, figure));
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let trials: Vec<Vec<f64>> = trials.iter().map(values).filter(|values| !values.is_empty()).collect();
        return (!trials.is_empty()).then_some(Sample::Quantile { trials, p });
    }
    let values: Vec<f64> = trials.iter().filter_map(|units| mean_of_trial(units, metric)).collect();
    (!values.is_empty()).then_some(Sample::Mean(values))
}

/// A figure of one trial by itself, of one or more viewers' units: the mean over those of its viewers that have it.
/// Quantiles are of each viewer's own frames. `None`: there is no such figure, or nobody has it.
#[must_use]
pub fn figure_of_trial(units: &[Unit<'_>], metric: &str) -> Option<f64> {
    match TRIAL_QUANTILES.iter().find(|(name, _)| *name == metric) {
        Some((_, value)) => mean_over(units, |unit| value(unit.summary)),
        None => mean_of_trial(units, metric),
    }
}

/// The mean over viewers of what is one value for each.
fn mean_of_trial(units: &[Unit<'_>], metric: &str) -> Option<f64> {
    if let Some((_, value)) = SUMMARY_METRICS.iter().find(|(name, _)| *name == metric) {
        return mean_over(units, |unit| value(unit.summary));
    }
    let named = |row: &&PlayoutRow| PLAYOUT_METRICS.into_iter().find(|m| playout_name(m, row.buffer_s) == metric);
    mean_over(units, |unit| unit.playouts.iter().find_map(|row| named(&row).and_then(|(_, _, value)| value(row))))
}

fn mean_over(units: &[Unit<'_>], value: impl Fn(&Unit<'_>) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = units.iter().filter_map(value).collect();
    mean_of(values.iter().copied(), values.len())
}

impl Sample {
    /// What it comes to; `None` if there are no values.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        let (value, trials) = (self.value()?, self.trials());
        let mut drawn = self.resampled();
        drawn.sort_by(f64::total_cmp);
        let interval = quantile(&drawn, 0.025).zip(quantile(&drawn, 0.975));
        Some(Estimate { value, interval, trials })
    }

    /// By how much `other` is larger than this, and its interval: trials of both are drawn independently.
    #[must_use]
    pub fn difference(&self, other: &Sample) -> Option<Estimate> {
        let value = other.value()? - self.value()?;
        // Two draws of one seed would be the same draws.
        let (ours, theirs) = (self.resampled(), other.resampled_from(SEED + 1));
        let mut drawn: Vec<f64> = theirs.iter().zip(&ours).map(|(b, a)| b - a).collect();
        drawn.sort_by(f64::total_cmp);
        let trials = self.trials().min(other.trials());
        // A single trial does not show how much trials vary.
        let interval = quantile(&drawn, 0.025).zip(quantile(&drawn, 0.975)).filter(|_| trials > 1);
        Some(Estimate { value, interval, trials })
    }

    /// How many trials have values.
    #[must_use]
    pub fn trials(&self) -> usize {
        match self {
            Sample::Quantile { trials, .. } => trials.len(),
            Sample::Mean(values) => values.len(),
        }
    }

    fn value(&self) -> Option<f64> {
        match self {
            Sample::Quantile { trials, p } => Merged::of(trials).quantile(&vec![1; trials.len()], *p),
            Sample::Mean(values) => mean_of(values.iter().copied(), values.len()),
        }
    }

    /// What it would have come to with other trials; nothing for fewer than two.
    fn resampled(&self) -> Vec<f64> {
        self.resampled_from(SEED)
    }

    fn resampled_from(&self, seed: u64) -> Vec<f64> {
        let count = self.trials();
        if count < 2 {
            return Vec::new();
        }
        let draws = draws(count, seed);
        match self {
            Sample::Quantile { trials, p } => {
                let merged = Merged::of(trials);
                draws.chunks_exact(count).filter_map(|times| merged.quantile(times, *p)).collect()
            }
            Sample::Mean(values) => {
                let sum = |times: &[u32]| values.iter().zip(times).map(|(v, n)| v * f64::from(*n)).sum::<f64>();
                draws.chunks_exact(count).filter_map(|times| mean_of([sum(times)].into_iter(), count)).collect()
            }
        }
    }
}

/// How often each of so many trials is drawn, [`RESAMPLES`] times in a row. They are the same each time, and asked
/// for once for each figure: so those of the last few are kept.
fn draws(count: usize, seed: u64) -> Rc<[u32]> {
    /// How many numbers a set of draws may have to be kept; a larger one is drawn anew each time.
    const KEPT: usize = 1 << 20;
    type Known = Vec<((usize, u64), Rc<[u32]>)>;
    thread_local! {
        static KNOWN: RefCell<Known> = const { RefCell::new(Vec::new()) };
    }
    if let Some(known) = KNOWN.with_borrow(|known| known.iter().find(|(key, _)| *key == (count, seed)).cloned()) {
        return known.1;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut draws = vec![0_u32; RESAMPLES * count];
    for times in draws.chunks_exact_mut(count) {
        (0..count).for_each(|_| times[random.usize(..count)] += 1);
    }
    let draws: Rc<[u32]> = draws.into();
    if draws.len() <= KEPT {
        KNOWN.with_borrow_mut(|known| {
            known.truncate(3);
            known.insert(0, ((count, seed), Rc::clone(&draws)));
        });
    }
    draws
}

#[allow(clippy::cast_precision_loss)]
fn mean_of(values: impl Iterator<Item = f64>, count: usize) -> Option<f64> {
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

/// All values of several trials in ascending order, made for quantiles of many draws of the trials: how many values
/// each trial has below every so-many-th of them is counted once, so that a draw looks at few values.
struct Merged {
    /// Each value with its trial.
    ascending: Vec<(f64, usize)>,
    /// How many values lie between two counts.
    step: usize,
    /// Row n: for each trial, how many of its values are among the first n · step.
    below: Vec<Vec<u32>>,
}

impl Merged {
    fn of(trials: &[Vec<f64>]) -> Merged {
        let mut ascending: Vec<(f64, usize)> =
            trials.iter().enumerate().flat_map(|(n, values)| values.iter().map(move |v| (*v, n))).collect();
        ascending.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // About as many values to a step as there are trials: so a row costs as much to weigh as the values after it.
        let step = trials.len().max(16);
        let mut below = vec![vec![0; trials.len()]];
        for values in ascending.chunks(step) {
            let mut counts = below.last().cloned().unwrap_or_default();
            values.iter().for_each(|(_, trial)| counts[*trial] += 1);
            below.push(counts);
        }
        Merged { ascending, step, below }
    }

    /// [`quantile`] of the values, where those of trial `n` are there `times[n]` times.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn quantile(&self, times: &[u32], p: f64) -> Option<f64> {
        let weigh = |counts: &Vec<u32>| -> u64 {
            counts.iter().zip(times).map(|(values, times)| u64::from(*values) * u64::from(*times)).sum()
        };
        let count = weigh(self.below.last()?);
        let h = count.checked_sub(1)? as f64 * p.clamp(0.0, 1.0);
        let (below, above) = (h.floor() as u64, (h.floor() as u64 + 1).min(count - 1));
        // The last row with no more than `below` values before it: the value sought comes after.
        let row = self.below.partition_point(|counts| weigh(counts) <= below).saturating_sub(1);
        let (mut seen, mut lower) = (weigh(&self.below[row]), None);
        for (value, trial) in &self.ascending[row * self.step..] {
            seen += u64::from(times[*trial]);
            if lower.is_none() && seen > below {
                lower = Some(*value);
            }
            if let Some(lower) = lower.filter(|_| seen > above) {
                return Some(lower + (h - h.floor()) * (value - lower));
            }
        }
        None
    }
}

/// The rows of `estimates.csv`: the figures of each scheme, set of parameters, stream and viewer over the repetitions
/// that are whole and fit.
#[must_use]
pub fn estimates(units: &[Unit<'_>]) -> Vec<EstimateRow> {
    let mut groups: Vec<(&SummaryRow, Vec<Unit<'_>>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for unit in units {
        let row = unit.summary;
        let place = *places.entry((row.point.group(), &row.stream, &row.viewer)).or_insert(groups.len());
        if place == groups.len() {
            groups.push((row, Vec::new()));
        }
        groups[place].1.push(*unit);
    }
    let mut rows = Vec::new();
    for (first, group) in groups {
        let all = group.len();
        let sound: Vec<Unit<'_>> = group.into_iter().filter(|u| u.summary.fit && !u.summary.partial).collect();
        for (metric, sample) in samples(&sound) {
            let Some(estimate) = sample.estimate() else { continue };
            rows.push(EstimateRow {
                scheme: first.point.scheme,
                parameters: first.point.parameters.clone(),
                stream: first.stream.clone(),
                viewer: first.viewer.clone(),
                metric,
                trials: u32::try_from(estimate.trials).unwrap_or(u32::MAX),
                left_out: u32::try_from(all - sound.len()).unwrap_or(u32::MAX),
                value: to_microseconds(estimate.value),
                low_95: estimate.interval.map(|(low, _)| to_microseconds(low)),
                high_95: estimate.interval.map(|(_, high)| to_microseconds(high)),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]
    use super::super::summary::{ViewerFacts, summarise};
    use super::super::tests::{frame, record};
    use super::*;
    use crate::plan::delivery::Via;

    fn quantile_of(trials: &[&[f64]], p: f64) -> Sample {
        Sample::Quantile { trials: trials.iter().map(|values| values.to_vec()).collect(), p }
    }

    #[test]
    fn a_quantile_is_that_of_all_values_together() {
        let estimate = quantile_of(&[&[1.0, 8.0], &[2.0, 4.0, 16.0]], 0.6).estimate().unwrap();
        assert_eq!((estimate.value, estimate.trials), (5.6, 2), "numpy.quantile([1, 2, 4, 8, 16], 0.6)");
        assert_eq!(quantile_of(&[], 0.5).estimate(), None);
    }

    #[test]
    fn one_trial_has_no_interval() {
        let estimate = quantile_of(&[&[1.0, 2.0, 3.0]], 0.5).estimate().unwrap();
        assert_eq!((estimate.value, estimate.interval), (2.0, None));
        assert_eq!(Sample::Mean(vec![4.0]).estimate().unwrap().interval, None);
    }

    #[test]
    fn trials_are_drawn_and_not_frames() {
        // A thousand equal values in each trial: drawing frames would give an interval of almost no width.
        let (low, high) = (vec![100.0; 1000], vec![200.0; 1000]);
        let sample = quantile_of(&[&low, &high, &low, &high, &low], 0.5);
        let estimate = sample.estimate().unwrap();
        assert_eq!((estimate.value, estimate.interval), (100.0, Some((100.0, 200.0))));
        assert_eq!(sample.estimate(), Some(estimate), "the same each time");
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_theory() {
        // Normal quantiles at 40 even steps: mean 0, standard deviation of the mean 0.156.
        let values: Vec<f64> = (0..40)
            .map(|n| {
                let p = (f64::from(n) + 0.5) / 40.0;
                // Tukey's lambda approximation of the normal quantile.
                (p.powf(0.1349) - (1.0 - p).powf(0.1349)) / 0.1975
            })
            .collect();
        let (low, high) = Sample::Mean(values).estimate().unwrap().interval.unwrap();
        assert!((low + 0.30).abs() < 0.06 && (high - 0.30).abs() < 0.06, "{low} {high}");
    }

    #[test]
    fn a_difference_is_real_if_its_interval_leaves_zero_out() {
        let (a, b) = (Sample::Mean(vec![10.0, 11.0, 12.0, 11.0]), Sample::Mean(vec![20.0, 21.0, 19.0, 20.0]));
        let difference = a.difference(&b).unwrap();
        let (low, high) = difference.interval.unwrap();
        assert_eq!((difference.value, difference.trials), (9.0, 4));
        assert!(low > 7.0 && high < 11.0 && low < 9.0 && high > 9.0, "{low} {high}");
        let (low, high) = a.difference(&a.clone()).unwrap().interval.unwrap();
        assert!(low < 0.0 && high > 0.0, "the draws are independent: {low} {high}");
        assert_eq!(a.difference(&Sample::Mean(vec![20.0])).unwrap().interval, None);
    }

    proptest::proptest! {
        #[test]
        fn weights_are_as_good_as_copies(
            trials in proptest::collection::vec(proptest::collection::vec(-50..50i32, 0..40), 1..5),
            times in proptest::collection::vec(0u32..4, 5),
            p in 0.0..=1.0f64,
        ) {
            let trials: Vec<Vec<f64>> = trials.into_iter().map(|t| t.into_iter().map(f64::from).collect()).collect();
            let mut copies: Vec<f64> =
                trials.iter().zip(&times).flat_map(|(values, n)| values.repeat(*n as usize)).collect();
            copies.sort_by(f64::total_cmp);
            let weighted = Merged::of(&trials).quantile(&times[..trials.len()], p);
            proptest::prop_assert_eq!(weighted, quantile(&copies, p));
        }
    }

    #[test]
    fn a_group_leaves_out_what_is_unfit() {
        let ids = ["bypass-1", "bypass-2", "bypass-3"];
        let (mut frames, mut summary) = (Vec::new(), Vec::new());
        for (n, id) in ids.iter().enumerate() {
            let rows: Vec<_> =
                (0..10).map(|i| frame(id, "hv1", i, Some(240.0 + 10.0 * n as f64), Via::Peer)).collect();
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: "hv1".into(),
                born: 10,
                captured: true,
                ..ViewerFacts::default()
            };
            let mut record = record(id);
            record.unfit.extend((n == 2).then(|| "CPU pressure".to_owned()));
            summary.extend(summarise(&record, &[facts], &rows));
            frames.extend(rows);
        }
        let units = units(&summary, &frames, &[]);
        assert_eq!(units.iter().map(|u| u.frames.count()).collect::<Vec<_>>(), [10, 10, 10]);
        let rows = estimates(&units);
        let p50 = rows.iter().find(|r| r.metric == "delay_p50_ms").unwrap();
        assert_eq!((p50.value, p50.low_95, p50.high_95), (245.0, Some(240.0), Some(250.0)));
        assert_eq!((p50.trials, p50.left_out), (2, 1));
        assert!(rows.iter().all(|r| r.metric != "server_egress_bytes"), "nobody knows it");
    }
}
