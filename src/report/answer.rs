//! The answer to the question of the project, a line for each scheme and viewer.

use super::column::Cell;
use std::collections::HashMap;

use crate::plan::{ENGINE, Measure, PREDICTED, Parameters, Scheme};
use crate::table::{Estimate, EstimateRow, SummaryRow, Unit, samples};

/// How close a scheme comes to the floor at a viewer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) scheme: Scheme,
    pub(super) parameters: Parameters,
    pub(super) stream: String,
    pub(super) viewer: String,
    pub(super) delay_p50: Figure,
    pub(super) floor_p50: Option<f64>,
    pub(super) excess_p50: Figure,
    pub(super) excess_p95: Figure,
    /// Over all trials that count; `None`: nothing was captured at the viewer in one of them.
    pub(super) missing: Option<u64>,
    /// Emitted in all trials that count.
    pub(super) frames: Option<u64>,
    /// How many trials the figure is of.
    pub(super) trials: u64,
    /// Partial or unfit ones.
    pub(super) left_out: u64,
    /// No trial is sound: the figures are those of the unfit ones, if any is whole.
    pub(super) doubtful: bool,
}

/// A figure in ms with its interval, if there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure(Option<Estimate>);

impl Figure {
    pub(super) fn value(&self) -> Option<f64> {
        self.0.map(|estimate| estimate.value)
    }

    /// `590.1 to 622.0`.
    pub(super) fn interval(&self) -> Cell {
        let interval = self.0.and_then(|estimate| estimate.interval);
        Cell::words(interval.map_or_else(String::new, |(low, high)| format!("{low:.1} to {high:.1}")))
    }
}

/// The answers, schemes and viewers in the order of the summary. Drawing trials takes its time with hundreds of them;
/// so where estimates are known already, they are taken.
pub(super) fn answers(units: &[Unit<'_>], known: &[EstimateRow]) -> Vec<Answer> {
    let mut of_group: HashMap<_, Vec<&EstimateRow>> = HashMap::new();
    for row in known {
        of_group.entry(((row.scheme, &row.parameters), &row.stream, &row.viewer)).or_default().push(row);
    }
    let mut places = HashMap::new();
    let mut groups: Vec<(Vec<Unit<'_>>, Vec<&EstimateRow>)> = Vec::new();
    for unit in units {
        let row = unit.summary;
        let key = (row.point.group(), &row.stream, &row.viewer);
        let place = *places.entry(key).or_insert(groups.len());
        if place == groups.len() {
            groups.push((Vec::new(), of_group.remove(&key).unwrap_or_default()));
        }
        groups[place].0.push(*unit);
    }
    // A sweep tries its points in a shuffled order.
    if units.iter().any(|unit| !unit.summary.point.parameters.is_empty()) {
        groups.sort_by_cached_key(|(group, _)| in_order(group[0].summary));
    }
    groups.iter().map(|(group, known)| answer(group, known)).collect()
}

/// What was measured first; by scheme, then by the parameters, numbers by size.
fn in_order(row: &SummaryRow) -> (bool, Scheme, Vec<(Option<u64>, String)>) {
    // Positive numbers are in the order of their bits.
    let key = |text: &str| (Measure::read(text).map(|measure| measure.value.to_bits()), text.to_owned());
    let predicted = row.point.is_predicted();
    (predicted, row.point.scheme, row.point.parameters.iter().map(|(_, value)| key(value)).collect())
}

fn answer(group: &[Unit<'_>], known: &[&EstimateRow]) -> Answer {
    let first = group[0].summary;
    let some = |keep: fn(&SummaryRow) -> bool| -> Vec<Unit<'_>> {
        group.iter().filter(|unit| keep(unit.summary)).copied().collect()
    };
    let sound = some(|row| row.fit && !row.partial);
    let doubtful = sound.is_empty();
    // What an unfit machine measured is better than nothing, as long as it is called that. A partial trial says
    // nothing of its missing frames.
    let counted = if doubtful { some(|row| !row.partial) } else { sound };
    // Those are of sound trials only.
    let known = if doubtful { &[] } else { known };
    let samples = if known.is_empty() { samples(&counted) } else { Vec::new() };
    let estimate = |metric: &str| match known.iter().find(|row| row.metric == metric) {
        Some(row) => {
            Some(Estimate { value: row.value, interval: row.low_95.zip(row.high_95), trials: row.trials as usize })
        }
        None => samples.iter().find(|(name, _)| name == metric).and_then(|(_, sample)| sample.estimate()),
    };
    Answer {
        scheme: first.point.scheme,
        parameters: first.point.parameters.clone(),
        stream: first.stream.clone(),
        viewer: first.viewer.clone(),
        delay_p50: Figure(estimate("delay_p50_ms")),
        floor_p50: estimate("floor_p50_ms").map(|floor| floor.value),
        excess_p50: Figure(estimate("excess_p50_ms")),
        excess_p95: Figure(estimate("excess_p95_ms")),
        missing: counted
            .iter()
            .map(|unit| unit.summary.missing.map(u64::from))
            .sum::<Option<u64>>()
            .filter(|_| !counted.is_empty()),
        frames: (!counted.is_empty()).then(|| counted.iter().map(|unit| u64::from(unit.summary.frames)).sum()),
        trials: counted.len() as u64,
        left_out: if doubtful { group.len() as u64 } else { (group.len() - counted.len()) as u64 },
        doubtful,
    }
}

impl Answer {
    /// `delay p50 202.7 ms, floor 46.3 ms; excess p50 156.5 ms (156.4 to 156.7), …`.
    pub(super) fn sentence(&self) -> String {
        let Some((delay, excess)) = self.delay_p50.value().zip(self.excess_p50.value()) else {
            return match (self.trials, self.left_out) {
                (0, left_out) => format!("no figures: {} whole", of_trials("none of", left_out)),
                _ => "no figures: no frame arrived, or nothing was captured at the viewer".to_owned(),
            };
        };
        let floor = self.floor_p50.map_or_else(String::new, |floor| format!(", floor {floor:.1} ms"));
        let between = |figure: &Figure| match figure.0.and_then(|e| e.interval) {
            Some((low, high)) => format!(" ({low:.1} to {high:.1})"),
            None => String::new(),
        };
        let p95 = self
            .excess_p95
            .value()
            .map_or_else(String::new, |p95| format!(", p95 {p95:.1} ms{}", between(&self.excess_p95)));
        let missing = match (self.missing, self.frames) {
            (Some(missing), Some(frames)) => format!("; {missing} of {frames} frames missing"),
            _ => String::new(),
        };
        let predicted = if self.parameters.get(ENGINE) == Some(PREDICTED) { "PREDICTED: " } else { "" };
        format!(
            "{predicted}delay p50 {delay:.1} ms{floor}; excess p50 {excess:.1} ms{}{p95}{missing}",
            between(&self.excess_p50)
        )
    }

    /// What the figures rest on.
    pub(super) fn basis(&self) -> String {
        match (self.doubtful, self.left_out) {
            (true, _) if self.trials > 0 => {
                format!(
                    "from {} UNFIT trial{} only: these may be the machine's figures, not the network's",
                    self.trials,
                    plural(self.trials)
                )
            }
            (true, _) => String::new(),
            (false, 0) => format!("from {} trial{}", self.trials, plural(self.trials)),
            (false, left_out) => format!(
                "from {} of {} trials; {left_out} left out as partial or unfit",
                self.trials,
                self.trials + left_out
            ),
        }
    }
}

fn of_trials(how_many: &str, all: u64) -> String {
    format!("{how_many} {all} trial{} is", plural(all))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::delivery::Via;
    use crate::table::tests::{frame, record};
    use crate::table::{FrameRow, ViewerFacts, estimates, summarise, units};

    fn rows(changes: &[fn(&mut SummaryRow)]) -> (Vec<SummaryRow>, Vec<FrameRow>) {
        let (mut summary, mut frames) = (Vec::new(), Vec::new());
        for (n, change) in changes.iter().enumerate() {
            let id = format!("direct-{}", n + 1);
            let delay = 500.0 + 100.0 * f64::from(u8::try_from(n).unwrap());
            let mine: Vec<_> = (0..20).map(|i| frame(&id, "hv1", i, (i > 0).then_some(delay), Via::Cdn)).collect();
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: "hv1".into(),
                born: 20,
                captured: true,
                ..ViewerFacts::default()
            };
            let mut row = summarise(&record(&id), &[facts], &mine).remove(0);
            change(&mut row);
            summary.push(row);
            frames.extend(mine);
        }
        (summary, frames)
    }

    #[test]
    fn sound_trials_answer_and_the_others_are_counted() {
        let (summary, frames) = rows(&[|_| {}, |_| {}, |row| row.fit = false, |row| row.partial = true]);
        let units = units(&summary, &frames, &[]);
        let answers = answers(&units, &[]);
        assert_eq!(super::answers(&units, &estimates(&units)), answers);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((answer.trials, answer.left_out, answer.doubtful), (2, 2, false));
        assert_eq!((answer.missing, answer.frames, answer.floor_p50), (Some(2), Some(40), Some(230.0)));
        assert_eq!(answer.delay_p50.value(), Some(550.0));
        assert_eq!(answer.excess_p50.interval().text, "270.0 to 370.0");
        assert_eq!(answer.basis(), "from 2 of 4 trials; 2 left out as partial or unfit");
        assert!(answer.sentence().ends_with("; 2 of 40 frames missing"), "{}", answer.sentence());
    }

    #[test]
    fn unfit_trials_answer_only_where_no_sound_one_does_and_say_so() {
        let (summary, frames) = rows(&[|row| row.fit = false, |row| row.partial = true]);
        let units = units(&summary, &frames, &[]);
        let answer = answers(&units, &estimates(&units)).remove(0);
        assert_eq!((answer.trials, answer.left_out, answer.doubtful), (1, 2, true));
        assert_eq!((answer.delay_p50.value(), answer.missing), (Some(500.0), Some(1)));
        assert!(answer.basis().contains("UNFIT"), "{}", answer.basis());
        assert!(answer.excess_p50.interval().none, "one trial has no interval");
    }

    #[test]
    fn partial_trials_answer_nothing() {
        let (summary, frames) = rows(&[|row| row.partial = true]);
        let units = units(&summary, &frames, &[]);
        let answer = answers(&units, &estimates(&units)).remove(0);
        assert_eq!((answer.trials, answer.frames, answer.missing, answer.delay_p50.value()), (0, None, None, None));
        assert_eq!(answer.sentence(), "no figures: none of 1 trial is whole");
    }
}
