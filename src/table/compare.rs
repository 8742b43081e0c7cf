//! Two sets of trials side by side: `livectl compare`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use polars::prelude::{Column, NamedFrom as _, Series};

use super::estimate::{Sample, Unit, samples};
use super::field::PARAMETER;
use super::files::{column, write_csv};
use super::{TableError, summary::to_microseconds};
use crate::parallel;
use crate::plan::{Parameters, Scheme, natural};

/// What of a trial is compared with what: a viewer of a stream under a scheme, at a point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// How video was delivered.
    pub scheme: Scheme,
    /// The values of the recipe's parameters.
    pub parameters: Parameters,
    /// The stream: its broadcaster's name.
    pub stream: String,
    /// The viewer's name.
    pub viewer: String,
}

/// Whether a difference is more than chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All trials of both sides agree: there is no difference.
    Equal,
    /// The 95 % interval of the difference holds 0.
    Chance,
    /// The interval does not hold 0: the difference is more than chance.
    Real,
    /// One side has a single trial, so that there is no interval.
    Unknown,
}

impl Verdict {
    /// The word in the table: `equal`, `chance`, `real`, `unknown`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::Chance => "chance",
            Verdict::Real => "real",
            Verdict::Unknown => "unknown",
        }
    }
}

/// A figure that both sides have, and by how much it differs.
#[derive(Debug, Clone, PartialEq)]
pub struct DifferenceRow {
    /// What it is a figure of on the first side.
    pub base: Subject,
    /// What it is a figure of on the other side; the same unless schemes are compared.
    pub other: Subject,
    /// The figure's name, as in `estimates.csv`.
    pub metric: String,
    /// The first side's figure, in the unit that its name ends in.
    pub base_value: f64,
    /// The other side's figure, in the same unit.
    pub other_value: f64,
    /// other − base, in the same unit.
    pub difference: f64,
    /// Where the 95 % interval of the difference begins; `None`: a side has a single trial.
    pub low_95: Option<f64>,
    /// Upper end of the 95 % confidence interval.
    pub high_95: Option<f64>,
    /// Trials of the first side that have the figure.
    pub base_trials: u32,
    /// Trials of the other side that have the figure.
    pub other_trials: u32,
    /// Whether the difference is more than chance.
    pub verdict: Verdict,
}

/// What the comparison of two sides, or of the schemes of one, came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Differences {
    /// A row for each figure that both sides have.
    pub rows: Vec<DifferenceRow>,
    /// Trials' viewers left out, for they are partial or unfit.
    pub left_out: usize,
    /// What one side has and the other has not, for people.
    pub unmatched: Vec<String>,
}

impl Subject {
    /// `, at bandwidth 2 Mbit/s`; empty where there are no parameters.
    fn point(&self) -> String {
        if self.parameters.is_empty() { String::new() } else { format!(", at {}", self.parameters) }
    }
}

impl Unit<'_> {
    /// What a unit of another side must be of to be compared with it: the same scheme, parameters, stream and viewer.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let row = self.summary;
        Subject {
            scheme: row.point.scheme,
            parameters: row.point.parameters.clone(),
            stream: row.stream.clone(),
            viewer: row.viewer.clone(),
        }
    }

    /// Whether it counts in comparisons: it is fit and not partial.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.summary.fit && !self.summary.partial
    }
}

/// Compares the viewers that both sides have, scheme by scheme.
#[must_use]
pub fn compare(base: &[Unit<'_>], other: &[Unit<'_>]) -> Differences {
    let pairs = subjects(base).into_iter().map(|subject| (subject.clone(), subject)).collect::<Vec<_>>();
    let mut differences = of_pairs(base, other, &pairs);
    for (here, there, name) in [(base, other, "second"), (other, base, "first")] {
        let there: HashSet<Subject> = subjects(there).into_iter().collect();
        for subject in subjects(here).into_iter().filter(|subject| !there.contains(subject)) {
            let Subject { scheme, stream, viewer, .. } = &subject;
            let point = subject.point();
            differences
                .unmatched
                .push(format!("{scheme}{point}, viewer {viewer} of stream {stream}: the {name} has none"));
        }
    }
    differences
}

/// Compares the schemes of one set of trials with one of them: `base`, or the first.
#[must_use]
pub fn compare_schemes(units: &[Unit<'_>], base: Option<Scheme>) -> Differences {
    let all = subjects(units);
    let first = || all.iter().map(|subject| subject.scheme).min();
    let Some(base) = base.or_else(first) else { return Differences::default() };
    let others = all.iter().filter(|subject| subject.scheme != base);
    let pairs: Vec<_> = others.map(|other| (Subject { scheme: base, ..other.clone() }, other.clone())).collect();
    of_pairs(units, units, &pairs)
}

/// Each subject once, in the order in which they are compared: point, scheme, stream, viewer.
fn subjects(units: &[Unit<'_>]) -> Vec<Subject> {
    let all: HashSet<Subject> = units.iter().map(Unit::subject).collect();
    let mut all = Vec::from_iter(all);
    all.sort_by(|a, b| {
        let point = a.parameters.cmp(&b.parameters).then_with(|| a.scheme.cmp(&b.scheme));
        point.then_with(|| natural(&a.stream, &b.stream)).then_with(|| natural(&a.viewer, &b.viewer))
    });
    all
}

/// The fit and complete units of each subject.
fn sound<'u>(units: &[Unit<'u>]) -> HashMap<Subject, Vec<Unit<'u>>> {
    let mut sound: HashMap<Subject, Vec<Unit<'u>>> = HashMap::new();
    for unit in units.iter().filter(|unit| unit.is_sound()) {
        sound.entry(unit.subject()).or_default().push(*unit);
    }
    sound
}

fn of_pairs(base: &[Unit<'_>], other: &[Unit<'_>], pairs: &[(Subject, Subject)]) -> Differences {
    let (of_base, of_other) = (sound(base), sound(other));
    let figures = |units: &HashMap<Subject, Vec<Unit<'_>>>, subject: &Subject| -> Vec<(String, Sample)> {
        samples(units.get(subject).map_or(&[], Vec::as_slice))
    };
    let of_pair = |(first, second): &(Subject, Subject)| -> Vec<DifferenceRow> {
        let others = figures(&of_other, second);
        let rows = figures(&of_base, first).into_iter().filter_map(|(metric, sample)| {
            let (_, with) = others.iter().find(|(name, _)| *name == metric)?;
            row(first, second, metric, &sample, with)
        });
        rows.collect()
    };
    let rows = parallel::map(pairs, of_pair).into_iter().flatten().collect();
    let left_out = |units: &[Unit<'_>]| units.iter().filter(|unit| !unit.is_sound()).count();
    let same = std::ptr::eq(base, other);
    Differences { rows, left_out: left_out(base) + if same { 0 } else { left_out(other) }, unmatched: Vec::new() }
}

fn row(base: &Subject, other: &Subject, metric: String, first: &Sample, second: &Sample) -> Option<DifferenceRow> {
    let (base_value, other_value) = (first.estimate()?.value, second.estimate()?.value);
    let difference = first.difference(second)?;
    let verdict = match difference.interval {
        None => Verdict::Unknown,
        Some((low, high)) if low == 0.0 && high == 0.0 => Verdict::Equal,
        Some((low, high)) if low <= 0.0 && high >= 0.0 => Verdict::Chance,
        Some(_) => Verdict::Real,
    };
    let count = |sample: &Sample| u32::try_from(sample.trials()).unwrap_or(u32::MAX);
    Some(DifferenceRow {
        base: base.clone(),
        other: other.clone(),
        metric,
        base_value: to_microseconds(base_value),
        other_value: to_microseconds(other_value),
        difference: to_microseconds(difference.value),
        low_95: difference.interval.map(|(low, _)| to_microseconds(low)),
        high_95: difference.interval.map(|(_, high)| to_microseconds(high)),
        base_trials: count(first),
        other_trials: count(second),
        verdict,
    })
}

/// Writes the differences as CSV (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_differences(path: &Path, rows: &[DifferenceRow]) -> Result<(), TableError> {
    let columns = vec![
        column("scheme", rows, |r| r.base.scheme.name()),
        column("other_scheme", rows, |r| r.other.scheme.name()),
        column("stream", rows, |r| r.base.stream.as_str()),
        column("viewer", rows, |r| r.base.viewer.as_str()),
        column("metric", rows, |r| r.metric.as_str()),
        column("base_value", rows, |r| r.base_value),
        column("other_value", rows, |r| r.other_value),
        column("difference", rows, |r| r.difference),
        column("low_95", rows, |r| r.low_95),
        column("high_95", rows, |r| r.high_95),
        column("base_trials", rows, |r| r.base_trials),
        column("other_trials", rows, |r| r.other_trials),
        column("verdict", rows, |r| r.verdict.name()),
    ];
    let names: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.base.parameters.iter().map(|(name, _)| name)).collect();
    let parameters = names.iter().map(|name| {
        let values: Vec<Option<&str>> = rows.iter().map(|row| row.base.parameters.get(name)).collect();
        Series::new(format!("{PARAMETER}{name}").into(), values).into()
    });
    let columns: Vec<Column> = columns.into_iter().chain(parameters).collect();
    write_csv(path, rows.len(), columns)
}

/// The differences as an aligned table for each viewer. `base` and `other` are headings for the two sides.
#[must_use]
pub fn differences_text(rows: &[DifferenceRow], base: &str, other: &str) -> String {
    let mut text = String::new();
    for group in rows.chunk_by(|a, b| a.base == b.base && a.other == b.other) {
        let Some(first) = group.first() else { continue };
        let (a, b) = (&first.base, &first.other);
        let what =
            if a == b { a.scheme.to_string() } else { format!("{}, then {}", a.scheme, b.scheme) } + &a.point();
        let trials = (group.iter().map(|r| r.base_trials).max(), group.iter().map(|r| r.other_trials).max());
        text += &format!(
            "{what}, viewer {} of stream {}: {} and {} trials\n",
            a.viewer,
            a.stream,
            trials.0.unwrap_or(0),
            trials.1.unwrap_or(0)
        );
        let mut lines = vec![["metric", base, other, "difference", "95 % interval", "", "is"].map(str::to_owned)];
        lines.extend(group.iter().map(|row| {
            let [base, other, difference, interval, percent] = row.cells();
            [row.metric.clone(), base, other, difference, interval, percent, row.verdict.name().into()]
        }));
        text += &aligned(&lines);
        text.push('\n');
    }
    text
}

/// Differences of a single figure as one aligned table, a line for each viewer. Headings as for [`differences_text`].
#[must_use]
pub fn differences_of_one(rows: &[DifferenceRow], base: &str, other: &str) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let headings = ["of", "trials", base, other, "difference", "95 % interval", "", "is"];
    let lines = rows.iter().map(|row| {
        let (a, b) = (&row.base, &row.other);
        let [base, other, difference, interval, percent] = row.cells();
        let scheme = if a == b { a.scheme.to_string() } else { format!("{}, then {}", a.scheme, b.scheme) };
        let of = format!("{scheme}{}, {} of {}", a.point(), a.viewer, a.stream);
        let trials = format!("{} and {}", row.base_trials, row.other_trials);
        [of, trials, base, other, difference, interval, percent, row.verdict.name().into()]
    });
    let lines: Vec<[String; 8]> = std::iter::once(headings.map(str::to_owned)).chain(lines).collect();
    format!("{}\n{}\n", first.metric, aligned(&lines))
}

/// Rows in columns of one width each; the first and the last begin at the left, the others end at the right.
fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).enumerate().map(|(i, (cell, width))| {
            let blanks = " ".repeat(width - cell.chars().count());
            if i == 0 || i == N - 1 { format!("{cell}{blanks}") } else { format!("{blanks}{cell}") }
        });
        text += &format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

impl DifferenceRow {
    /// Both values, the difference, its interval, and what it is in percent of the first.
    fn cells(&self) -> [String; 5] {
        let interval = self.low_95.zip(self.high_95);
        let interval = interval.map(|(low, high)| format!("{} to {}", signed(low), signed(high)));
        let percent = (self.base_value != 0.0 && self.difference != 0.0)
            .then(|| format!("{:+.1} %", self.difference / self.base_value.abs() * 100.0));
        [
            plain(self.base_value),
            plain(self.other_value),
            signed(self.difference),
            interval.unwrap_or_else(|| "-".into()),
            percent.unwrap_or_default(),
        ]
    }
}

/// Three decimals at most, and no more than tell something.
fn plain(value: f64) -> String {
    let decimals = if value.abs() >= 1000.0 || value == value.trunc() {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        3
    };
    format!("{value:.decimals$}")
}

fn signed(value: f64) -> String {
    if value == 0.0 { "0".into() } else { format!("{}{}", if value > 0.0 { "+" } else { "" }, plain(value)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]
    use super::super::rows::{FrameRow, SummaryRow};
    use super::super::summary::{ViewerFacts, summarise};
    use super::super::tests::{frame, record};
    use super::super::units;
    use super::*;
    use crate::plan::delivery::Via;

    /// So many trials of a scheme, the delays of whose frames are about `delay_ms`.
    fn trials(scheme: &str, count: u32, delay_ms: f64) -> (Vec<SummaryRow>, Vec<FrameRow>) {
        let (mut summary, mut frames) = (Vec::new(), Vec::new());
        for n in 1..=count {
            let id = format!("{scheme}-{n}");
            let rows: Vec<_> =
                (0..10).map(|i| frame(&id, "hv1", i, Some(delay_ms + f64::from(i + n)), Via::Cdn)).collect();
            let facts = ViewerFacts {
                stream: "hb".into(),
                viewer: "hv1".into(),
                born: 10,
                captured: true,
                ..ViewerFacts::default()
            };
            summary.extend(summarise(&record(&id), &[facts], &rows));
            frames.extend(rows);
        }
        (summary, frames)
    }

    fn verdict(differences: &Differences, metric: &str) -> Verdict {
        differences.rows.iter().find(|row| row.metric == metric).unwrap().verdict
    }

    #[test]
    fn real_differences_are_told_from_chance() {
        let (a, b) = (trials("direct", 5, 300.0), trials("direct", 5, 340.0));
        let (base, other) = (units(&a.0, &a.1, &[]), units(&b.0, &b.1, &[]));
        let differences = compare(&base, &other);
        assert_eq!(verdict(&differences, "delay_p50_ms"), Verdict::Real);
        assert_eq!(verdict(&differences, "missing"), Verdict::Equal);
        let row = &differences.rows[0];
        assert_eq!((row.metric.as_str(), row.difference, row.base_trials), ("delay_p50_ms", 40.0, 5));
        assert_eq!(verdict(&compare(&base, &base.clone()), "delay_p50_ms"), Verdict::Chance);
        assert_eq!(verdict(&compare(&base, &other[..1]), "delay_p50_ms"), Verdict::Unknown);
        let text = differences_text(&differences.rows, "first", "second");
        assert!(text.starts_with("direct, viewer hv1 of stream hb: 5 and 5 trials\n"), "{text}");
        assert!(text.lines().nth(2).unwrap().contains("+40 "), "{text}");
    }

    #[test]
    fn what_only_one_side_has_is_told() {
        let (a, b) = (trials("direct", 2, 300.0), trials("bypass", 2, 240.0));
        let differences = compare(&units(&a.0, &a.1, &[]), &units(&b.0, &b.1, &[]));
        let expected = [
            "direct, viewer hv1 of stream hb: the second has none",
            "bypass, viewer hv1 of stream hb: the first has none",
        ];
        assert_eq!((differences.rows, differences.unmatched), (Vec::new(), expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn schemes_of_one_run_are_compared_with_the_first() {
        let (mut summary, mut frames) = trials("direct", 3, 300.0);
        let bypass = trials("bypass", 3, 240.0);
        summary.extend(bypass.0);
        frames.extend(bypass.1);
        summary[0].fit = false;
        let units = units(&summary, &frames, &[]);
        let differences = compare_schemes(&units, None);
        assert_eq!((differences.left_out, differences.unmatched.len()), (1, 0));
        let row = &differences.rows[0];
        assert_eq!((row.base.scheme, row.other.scheme), (Scheme::Direct, Scheme::Bypass));
        assert_eq!((row.base_trials, row.other_trials, row.verdict), (2, 3, Verdict::Real));
        let turned = compare_schemes(&units, Some(Scheme::Bypass));
        assert_eq!((turned.rows[0].base.scheme, turned.rows[0].difference), (Scheme::Bypass, -row.difference));
        // One figure: one table.
        let rows: Vec<_> = differences.rows.iter().filter(|row| row.metric == "delay_p50_ms").cloned().collect();
        let text = differences_of_one(&rows, "first", "then");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["delay_p50_ms"]);
        assert_eq!(lines[1][..4], ["of", "trials", "first", "then"], "{text}");
        assert_eq!(lines[2][..7], ["direct,", "then", "bypass,", "hv1", "of", "hb", "2"], "{text}");
        assert_eq!(text.trim_end().lines().count(), 3, "{text}");
    }
}
