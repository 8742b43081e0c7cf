//! What a model predicted, compared with what was measured: of a sweep that has both, point by point.
//!
//! A figure is that of all viewers of all trials of a scheme at a point, as in [`sample`]: quantiles of all their frames, means over viewers and trials of
//! everything else. The measured figure has the interval of its trials; that of the predicted ones says nothing about the accuracy of the model, and is left
//! out.

use std::collections::BTreeMap;

use super::estimate::{Estimate, Unit, sample};
use super::rows::ModelRow;
use super::summary::to_microseconds;
use super::text::{aligned, interval, milliseconds, percent};
use crate::plan::{ENGINE, Parameters, Scheme};

/// The figures that are compared.
const METRICS: [&str; 8] = [
    "delay_p50_ms",
    "delay_p95_ms",
    "startup_delay_ms",
    "reattach_p50_ms",
    "reattach_p95_ms",
    "reattach_crash_p95_ms",
    "peer_offload",
    "missing",
];

/// By how much a prediction may be off to be near enough: a share of what was measured, and something beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// Name of the figure, as in `estimates.csv`.
    pub metric: &'static str,
    /// A share of what was measured.
    pub share: f64,
    /// In the figure's unit.
    pub beside: f64,
}

/// What docs/prediction.md aims at: for the median, the 95th percentile, and the share from peers.
pub const AIMS: [Aim; 3] = [
    Aim { metric: "delay_p50_ms", share: 0.05, beside: 2.0 },
    Aim { metric: "delay_p95_ms", share: 0.10, beside: 10.0 },
    Aim { metric: "peer_offload", share: 0.0, beside: 0.02 },
];

impl Aim {
    /// Whether so far off is near enough.
    #[must_use]
    pub fn holds(&self, predicted: f64, measured: f64) -> bool {
        (predicted - measured).abs() <= self.share * measured.abs() + self.beside
    }
}

/// The trials of a scheme at a point, of which all are measured or all are predicted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Side {
    scheme: Scheme,
    /// Without that of the engine.
    parameters: Parameters,
    predicted: bool,
    /// Trials that are not among those of the figures.
    left_out: usize,
    /// They are of unfit trials, because there are no sound ones.
    unfit: bool,
    /// By [`METRICS`].
    figures: [Option<Estimate>; METRICS.len()],
}

impl Side {
    /// That of the units of one group; `None`: there is no unit, or no whole one.
    pub(super) fn of(units: &[Unit<'_>]) -> Option<Side> {
        let first = &units.first()?.summary.point;
        let trials: Vec<Vec<Unit<'_>>> =
            units.chunk_by(|a, b| a.summary.trial == b.summary.trial).map(<[Unit<'_>]>::to_vec).collect();
        let whole = |trial: &Vec<Unit<'_>>| trial.iter().all(|unit| !unit.summary.partial);
        let sound = |trial: &Vec<Unit<'_>>| whole(trial) && trial.iter().all(|unit| unit.summary.fit);
        let all = trials.len();
        let unfit = !trials.iter().any(sound);
        let used: Vec<Vec<Unit<'_>>> =
            trials.into_iter().filter(|trial| if unfit { whole(trial) } else { sound(trial) }).collect();
        if used.is_empty() {
            return None;
        }
        let figure = |metric: &str| sample(&used, metric)?.estimate();
        Some(Side {
            scheme: first.scheme,
            parameters: first.parameters.without(ENGINE),
            predicted: first.is_predicted(),
            left_out: all - used.len(),
            unfit,
            figures: METRICS.map(figure),
        })
    }
}

/// The rows of `model.csv`: a line for each figure of each scheme and point that has both. Units of a trial follow each other.
#[must_use]
pub fn models(units: &[Unit<'_>]) -> Vec<ModelRow> {
    if !units.iter().any(|unit| unit.summary.point.is_predicted()) {
        return Vec::new();
    }
    let mut groups: BTreeMap<_, Vec<Unit<'_>>> = BTreeMap::new();
    for unit in units {
        groups.entry(unit.summary.point.group()).or_default().push(*unit);
    }
    models_of(groups.into_values().filter_map(|units| Side::of(&units)))
}

/// The same of groups that were looked at one by one.
pub(super) fn models_of(sides: impl IntoIterator<Item = Side>) -> Vec<ModelRow> {
    let mut both: BTreeMap<(Scheme, Parameters), [Option<Side>; 2]> = BTreeMap::new();
    for side in sides {
        let place = usize::from(side.predicted);
        let key = (side.scheme, side.parameters.clone());
        both.entry(key).or_default()[place] = Some(side);
    }
    let mut rows = Vec::new();
    for ((scheme, parameters), sides) in both {
        let [Some(measured), Some(predicted)] = sides else { continue };
        for (place, metric) in METRICS.iter().enumerate() {
            let Some((was, foretold)) = measured.figures[place].zip(predicted.figures[place]) else { continue };
            // Of a scheme without peers, of a recipe in which nobody goes.
            if was.value == 0.0 && foretold.value == 0.0 {
                continue;
            }
            rows.push(ModelRow {
                scheme,
                parameters: parameters.clone(),
                metric: (*metric).to_owned(),
                trials: count(was.trials),
                left_out: count(measured.left_out),
                unfit: measured.unfit,
                measured: to_microseconds(was.value),
                low_95: was.interval.map(|(low, _)| to_microseconds(low)),
                high_95: was.interval.map(|(_, high)| to_microseconds(high)),
                predictions: count(foretold.trials),
                predicted: to_microseconds(foretold.value),
                difference: to_microseconds(foretold.value - was.value),
                near: AIMS.iter().find(|aim| aim.metric == *metric).map(|aim| aim.holds(foretold.value, was.value)),
            });
        }
    }
    rows
}

/// Points that a terminal is shown; `model.csv` has all.
const ON_A_TERMINAL: usize = 40;

/// What is shown of each point, beside whether startup and re-attachment are known: figure, head, and how it is written.
type Shown = (&'static str, &'static str, fn(Option<f64>) -> String);
const SHOWN: [Shown; 5] = [
    ("delay_p50_ms", "p50 ms", milliseconds),
    ("delay_p95_ms", "p95 ms", milliseconds),
    ("startup_delay_ms", "startup ms", milliseconds),
    ("reattach_p95_ms", "found again p95 ms", milliseconds),
    ("peer_offload", "by peers %", percent),
];

/// A line for each point: measured, with its interval, and predicted; and below it at how many points the model is near enough. `None`: nothing was both measured
/// and predicted.
#[must_use]
pub fn models_text(rows: &[ModelRow]) -> Option<String> {
    let points: Vec<&[ModelRow]> =
        rows.chunk_by(|a, b| (a.scheme, &a.parameters) == (b.scheme, &b.parameters)).collect();
    let varied = points.iter().any(|rows| !rows[0].parameters.is_empty());
    let there = |shown: &&Shown| rows.iter().any(|row| row.metric == shown.0);
    let shown: Vec<&Shown> = SHOWN.iter().filter(there).collect();
    if points.is_empty() {
        return None;
    }
    let mut head = vec!["scheme".to_owned()];
    head.extend(varied.then(|| "at".to_owned()));
    head.push("trials".to_owned());
    head.extend(shown.iter().flat_map(|(_, name, _)| [(*name).to_owned(), "predicted".to_owned()]));
    let mut lines = vec![head];
    for point in points.iter().take(ON_A_TERMINAL) {
        let first = &point[0];
        let mut line = vec![first.scheme.name().to_owned()];
        line.extend(varied.then(|| first.parameters.to_string()));
        line.push(format!("{}{}", first.trials, if first.unfit { " unfit" } else { "" }));
        for (metric, _, written) in &shown {
            let cells = point.iter().find(|row| row.metric == *metric).map(|row| {
                [interval(row.measured, row.low_95.zip(row.high_95), *written), written(Some(row.predicted))]
            });
            line.extend(cells.unwrap_or_else(|| ["-".to_owned(), "-".to_owned()]));
        }
        lines.push(line);
    }
    let mut text = format!("measured, with 95 % confidence intervals, and predicted:\n{}", aligned(&lines));
    if points.len() > ON_A_TERMINAL {
        text += &format!("the first {ON_A_TERMINAL} of {} points; model.csv has all\n", points.len());
    }
    let sentences: Vec<String> = AIMS.iter().filter_map(|aim| aim.sentence(rows)).collect();
    if !sentences.is_empty() {
        text += &format!("the model is near enough: {}\n", sentences.join("; "));
    }
    Some(text)
}

impl Aim {
    /// `p50 (within 5 % + 2 ms) at 17 of 19 points`; `None`: no point has the figure.
    fn sentence(&self, rows: &[ModelRow]) -> Option<String> {
        let (name, aim) = match self.metric {
            "peer_offload" => ("share from peers", format!("{:.0} percentage points", self.beside * 100.0)),
            metric => (
                metric.trim_start_matches("delay_").trim_end_matches("_ms"),
                format!("{:.0} % + {:.0} ms", self.share * 100.0, self.beside),
            ),
        };
        let near: Vec<bool> =
            rows.iter().filter(|row| row.metric == self.metric).filter_map(|row| row.near).collect();
        let count = near.iter().filter(|near| **near).count();
        (!near.is_empty()).then(|| format!("{name} (within {aim}) at {count} of {} points", near.len()))
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]
    use super::super::estimate::units;
    use super::super::summary::{ViewerFacts, summarise};
    use super::super::tests::{frame, record};
    use super::*;
    use crate::plan::delivery::Via;
    use crate::plan::{Engine, Scheme};

    /// Trials of bypass with a viewer each, of ten frames that take these delays in ms and 9 more: each with its engine, repetition, and whether it is fit.
    fn rows_of(trials: &[(Engine, u32, f64, bool)]) -> Vec<ModelRow> {
        let (mut frames, mut summary) = (Vec::new(), Vec::new());
        for (engine, repetition, delay, fit) in trials {
            let id = format!("bypass-{engine:?}-{repetition}").to_lowercase();
            let rows: Vec<_> = (0..10).map(|i| frame(&id, "hv1", i, Some(delay + f64::from(i)), Via::Peer)).collect();
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: "hv1".into(),
                born: 10,
                captured: true,
                ..ViewerFacts::default()
            };
            let mut record = record("bypass-1");
            record.id = id;
            record.point.repetition = *repetition;
            record.point.parameters = engine.mark(&record.point.parameters.with("loss", "1 %"));
            record.unfit.extend((!fit).then(|| "CPU pressure".to_owned()));
            let lines = summarise(&record, &[facts], &rows);
            let point = &lines[0].point;
            frames.extend(rows.into_iter().map(|row| super::super::FrameRow { point: point.clone(), ..row }));
            summary.extend(lines);
        }
        models(&units(&summary, &frames, &[]))
    }

    fn of<'r>(rows: &'r [ModelRow], metric: &str) -> &'r ModelRow {
        rows.iter().find(|row| row.metric == metric).expect(metric)
    }

    #[test]
    fn a_point_that_was_measured_and_predicted_has_a_line_for_each_figure() {
        let (measured, predicted) = (Engine::Emulate, Engine::Predict);
        let rows = rows_of(&[
            (measured, 1, 100.0, true),
            (measured, 2, 120.0, true),
            (measured, 3, 900.0, false),
            (predicted, 1, 103.0, true),
        ]);
        let p50 = of(&rows, "delay_p50_ms");
        assert_eq!((p50.scheme, p50.parameters.to_string().as_str()), (Scheme::Bypass, "loss 1 %"));
        assert_eq!((p50.trials, p50.left_out, p50.unfit, p50.predictions), (2, 1, false, 1));
        assert_eq!((p50.measured, p50.low_95, p50.high_95), (114.5, Some(104.5), Some(124.5)));
        assert_eq!((p50.predicted, p50.difference, p50.near), (107.5, -7.0, Some(true)));
        assert!(rows.iter().all(|row| row.metric != "reattach_p95_ms"), "nobody goes");
    }

    #[test]
    fn people_are_told_of_both_and_how_often_they_agree() {
        let measured = Engine::Emulate;
        let rows =
            rows_of(&[(measured, 1, 100.0, true), (measured, 2, 120.0, true), (Engine::Predict, 1, 103.0, true)]);
        let text = models_text(&rows).unwrap();
        let line = text.lines().find(|line| line.starts_with("bypass")).unwrap();
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells[..5], ["bypass", "loss 1 %", "2", "114.5 (104.5 to 124.5)", "107.5"], "{text}");
        assert!(text.contains("p50 (within 5 % + 2 ms) at 1 of 1 points"), "{text}");
        assert_eq!(models_text(&[]), None);
    }

    #[test]
    fn unfit_trials_stand_in_for_fit_ones_and_are_called_that() {
        let rows = rows_of(&[(Engine::Emulate, 1, 100.0, false), (Engine::Predict, 1, 50.0, true)]);
        let p50 = of(&rows, "delay_p50_ms");
        assert_eq!((p50.unfit, p50.left_out, p50.low_95, p50.near), (true, 0, None, Some(false)));
    }

    #[test]
    fn without_both_there_is_nothing_to_say() {
        assert_eq!(rows_of(&[(Engine::Emulate, 1, 100.0, true), (Engine::Emulate, 2, 100.0, true)]), []);
        assert_eq!(rows_of(&[(Engine::Predict, 1, 100.0, true)]), []);
    }
}
