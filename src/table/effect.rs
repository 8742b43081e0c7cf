//! How much each parameter changes the excess: the answer of a sweep.
//!
//! An effect is the change by another value of one parameter, all else being equal: trials are paired that have
//! the same scheme, the same values of all other parameters, the same repetition and so the same seed. A trial's
//! figure is the mean over its viewers. The scheme is a parameter too. The effect of one parameter may differ
//! with the value of a second: the difference of the two effects is an *interaction*, and is paired in the same way.

mod jackknife;
mod sentence;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use sentence::{Sentence, effects_text};

use self::jackknife::{Difference, Mean};
use super::rows::{EffectRow, SummaryRow};
use super::summary::to_microseconds;
use crate::plan::{Measure, Scheme, natural};

/// What the scheme is called among the parameters.
pub(super) const SCHEME: &str = "scheme";
const CONFIDENCE: f64 = 0.95;

/// A figure that effects are computed of: its column in the summary, and its value in a row.
type Metric = (&'static str, fn(&SummaryRow) -> Option<f64>);
const METRICS: [Metric; 2] = [("excess_p50_ms", |row| row.excess_p50_ms), ("excess_p95_ms", |row| row.excess_p95_ms)];

/// A value for each of [`METRICS`].
type Values = [Option<f64>; METRICS.len()];

/// What parameters do to the excess: the effects and interactions of a sweep.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects {
    /// The rows of `effects.csv`: effects scheme by scheme and parameter by parameter, then interactions.
    pub rows: Vec<EffectRow>,
    /// Trials that effects are computed from, whether or not they count.
    pub trials: usize,
    /// Those of them that are in no effect because they are unfit or partial.
    pub left_out: usize,
    /// The others are unfit: there are no pairs of sound ones.
    pub unfit: bool,
    /// All trials were predicted.
    pub predicted: bool,
    /// Trials that were predicted beside those that were measured, and are in no effect.
    pub beside: usize,
}

/// A trial, or a difference of two: where it is, and its figures.
#[derive(Clone)]
struct Observation {
    /// The place of its value among those of each factor; `None`: it has none, or it does not matter any more.
    at: Vec<Option<usize>>,
    repetition: u32,
    values: Values,
}

/// Two observations that differ in one factor alone.
struct Pair {
    rest: Vec<Option<usize>>,
    repetition: u32,
    from: Values,
    to: Values,
}

/// Something that is varied: the scheme first, then the parameters by their names.
struct Factor {
    name: String,
    /// Its values: schemes as they are declared, numbers by size, words as they are counted.
    values: Vec<String>,
    /// All of them are numbers.
    numbers: bool,
}

impl Factor {
    /// The values that the first one is compared with where there is room for little: of numbers the highest.
    fn main(&self) -> impl Iterator<Item = usize> {
        let first = if self.numbers { self.values.len() - 1 } else { 1 };
        first..self.values.len()
    }
}

impl Effects {
    /// Those of trials; lines of one trial follow each other.
    #[must_use]
    pub fn of(summary: &[SummaryRow]) -> Effects {
        let trials = summary.chunk_by(|a, b| a.trial == b.trial);
        let (predicted, measured): (Vec<&[SummaryRow]>, Vec<_>) =
            trials.partition(|rows| rows[0].point.is_predicted());
        // A mean over both would be neither's.
        match (measured.is_empty(), predicted.len()) {
            (true, 0) => Effects::default(),
            (true, _) => Effects { predicted: true, ..Effects::of_trials(&predicted) },
            (false, beside) => Effects { beside, ..Effects::of_trials(&measured) },
        }
    }

    fn of_trials(trials: &[&[SummaryRow]]) -> Effects {
        let sound = |rows: &&&[SummaryRow]| rows.iter().all(|row| row.fit && !row.partial);
        let whole = |rows: &&&[SummaryRow]| rows.iter().all(|row| !row.partial);
        let used: Vec<&[SummaryRow]> = trials.iter().filter(sound).copied().collect();
        let rows = effects(&used);
        let all = trials.len();
        if !rows.is_empty() || used.len() == all {
            let left_out = all - used.len();
            return Effects { rows, trials: all, left_out, ..Effects::default() };
        }
        // What a machine measured that was too busy is better than nothing, as long as it is called that.
        let used: Vec<&[SummaryRow]> = trials.iter().filter(whole).copied().collect();
        let rows: Vec<EffectRow> = effects(&used).into_iter().map(|row| EffectRow { unfit: true, ..row }).collect();
        let unfit = !rows.is_empty();
        Effects { rows, trials: all, left_out: all - used.len(), unfit, ..Effects::default() }
    }

    /// Whether anything but the scheme was varied.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        self.rows.iter().any(|row| row.parameter != SCHEME)
    }
}

fn effects(trials: &[&[SummaryRow]]) -> Vec<EffectRow> {
    let factors = factors(trials);
    let observations = observations(trials, &factors);
    let (mut rows, mut interactions) = (Vec::new(), Vec::new());
    for (number, factor) in factors.iter().enumerate() {
        let mains: BTreeSet<usize> = factor.main().collect();
        for (to, pairs) in pairs(&observations, number) {
            for (scheme, pairs) in by_scheme(number, pairs) {
                let named = Named { factors: &factors, scheme, factor: number, to, given: None };
                rows.extend(named.rows(&pairs));
                if !mains.contains(&to) {
                    continue;
                }
                let differences: Vec<Observation> = pairs.iter().map(Pair::difference).collect();
                // An interaction of two factors is the same whichever of them is looked at first.
                for (second, other) in factors.iter().enumerate().skip(number + 1) {
                    let of_main = self::pairs(&differences, second).into_iter();
                    let mains: BTreeSet<usize> = other.main().collect();
                    interactions.extend(
                        of_main
                            .filter(|(to, _)| mains.contains(to))
                            .map(|(second_to, pairs)| (Named { given: Some((second, second_to)), ..named }, pairs)),
                    );
                }
            }
        }
    }
    // Many are looked at, and those that are none are not to look like some: all of them together are wrong once in
    // twenty sweeps (Bonferroni).
    #[allow(clippy::cast_precision_loss)]
    let confidence = 1.0 - (1.0 - CONFIDENCE) / (interactions.len() * METRICS.len()).max(1) as f64;
    rows.extend(interactions.iter().flat_map(|(named, pairs)| named.rows_at(pairs, confidence)));
    rows
}

/// What has two values or more, the scheme first; where it does not vary, it has one.
fn factors(trials: &[&[SummaryRow]]) -> Vec<Factor> {
    let points = || trials.iter().map(|rows| &rows[0].point);
    let schemes: BTreeSet<Scheme> = points().map(|point| point.scheme).collect();
    let scheme = schemes.iter().map(|scheme| scheme.to_string()).collect();
    let mut factors = vec![Factor { name: SCHEME.to_owned(), values: scheme, numbers: false }];
    let mut parameters: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in points().flat_map(|point| point.parameters.iter()) {
        parameters.entry(name).or_default().insert(value);
    }
    for (name, values) in parameters.into_iter().filter(|(_, values)| values.len() > 1) {
        let measures: Option<Vec<(f64, &str)>> =
            values.iter().map(|value| Measure::read(value).map(|measure| (measure.value, *value))).collect();
        let numbers = measures.is_some();
        let values: Vec<String> = match measures {
            Some(mut measures) => {
                measures.sort_by(|a, b| a.0.total_cmp(&b.0));
                measures.into_iter().map(|(_, value)| value.to_owned()).collect()
            }
            None => {
                let mut values: Vec<&str> = values.into_iter().collect();
                values.sort_by(|a, b| natural(a, b));
                values.into_iter().map(str::to_owned).collect()
            }
        };
        factors.push(Factor { name: name.to_owned(), values, numbers });
    }
    factors
}

fn observations(trials: &[&[SummaryRow]], factors: &[Factor]) -> Vec<Observation> {
    let places: Vec<HashMap<&str, usize>> = factors
        .iter()
        .map(|factor| factor.values.iter().enumerate().map(|(place, value)| (value.as_str(), place)).collect())
        .collect();
    let observation = |rows: &&[SummaryRow]| {
        let point = &rows[0].point;
        let of_parameters = factors.iter().zip(&places).skip(1);
        let at = std::iter::once(places[0].get(point.scheme.name()).copied())
            .chain(of_parameters.map(|(factor, places)| places.get(point.parameters.get(&factor.name)?).copied()));
        let values = METRICS.map(|(_, value)| mean(rows.iter().filter_map(value)));
        Observation { at: at.collect(), repetition: point.repetition, values }
    };
    trials.iter().map(observation).collect()
}

#[allow(clippy::cast_precision_loss)]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The observations with the factor's first value, paired with those of each other value.
fn pairs(observations: &[Observation], factor: usize) -> BTreeMap<usize, Vec<Pair>> {
    let rest = |observation: &Observation| {
        let mut rest = observation.at.clone();
        rest[factor] = None;
        rest
    };
    let first = observations.iter().filter(|observation| observation.at[factor] == Some(0));
    let first: HashMap<(Vec<Option<usize>>, u32), Values> =
        first.map(|observation| ((rest(observation), observation.repetition), observation.values)).collect();
    let mut pairs: BTreeMap<usize, Vec<Pair>> = BTreeMap::new();
    for observation in observations {
        let Some(to) = observation.at[factor].filter(|to| *to > 0) else { continue };
        let key = (rest(observation), observation.repetition);
        if let Some(from) = first.get(&key) {
            let pair = Pair { rest: key.0, repetition: key.1, from: *from, to: observation.values };
            pairs.entry(to).or_default().push(pair);
        }
    }
    pairs
}

/// Pairs of each scheme; those that differ in the scheme itself stay together.
fn by_scheme(factor: usize, pairs: Vec<Pair>) -> BTreeMap<Option<usize>, Vec<Pair>> {
    let mut schemes: BTreeMap<Option<usize>, Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        schemes.entry(pair.rest[0].filter(|_| factor > 0)).or_default().push(pair);
    }
    schemes
}

impl Pair {
    fn difference(&self) -> Observation {
        let mut values = Values::default();
        for ((value, from), to) in values.iter_mut().zip(self.from).zip(self.to) {
            *value = to.zip(from).map(|(to, from)| to - from);
        }
        Observation { at: self.rest.clone(), repetition: self.repetition, values }
    }
}

/// Which effect or interaction pairs are of: the scheme, the factor and the place of its other value.
#[derive(Clone, Copy)]
struct Named<'f> {
    factors: &'f [Factor],
    scheme: Option<usize>,
    factor: usize,
    to: usize,
    /// The second factor of an interaction, and its value.
    given: Option<(usize, usize)>,
}

impl Named<'_> {
    fn rows(&self, pairs: &[Pair]) -> Vec<EffectRow> {
        self.rows_at(pairs, CONFIDENCE)
    }

    /// A row for each figure; it is told from chance with the confidence given.
    fn rows_at(&self, pairs: &[Pair], confidence: f64) -> Vec<EffectRow> {
        (0..METRICS.len()).filter_map(|metric| self.row(pairs, metric, confidence)).collect()
    }

    fn row(&self, pairs: &[Pair], metric: usize, confidence: f64) -> Option<EffectRow> {
        let mut points: HashMap<&[Option<usize>], usize> = HashMap::new();
        let mut both: Vec<(usize, u32, f64, f64)> = Vec::new();
        for pair in pairs {
            let Some((from, to)) = pair.from[metric].zip(pair.to[metric]) else { continue };
            let next = points.len();
            both.push((*points.entry(&pair.rest).or_insert(next), pair.repetition, from, to));
        }
        let mean = |of: &dyn Fn(f64, f64) -> f64| {
            let difference = |(point, repetition, from, to): &(usize, u32, f64, f64)| Difference {
                point: *point,
                repetition: *repetition,
                value: of(*from, *to),
            };
            Mean::of(&both.iter().map(difference).collect::<Vec<_>>())
        };
        let difference = mean(&|from, to| to - from)?;
        let (from, to) = (mean(&|from, _| from)?, mean(&|_, to| to)?);
        // Of two effects, which may have different signs, a ratio tells nothing.
        let positive = self.given.is_none() && both.iter().all(|(_, _, from, to)| *from > 0.0 && *to > 0.0);
        let ratio = positive.then(|| mean(&|from, to| (to / from).ln())).flatten();
        let ratio_interval = ratio.and_then(|ratio| ratio.interval(CONFIDENCE));
        let interval = difference.interval(CONFIDENCE);
        let factor = &self.factors[self.factor];
        let given = self.given.map(|(factor, to)| (&self.factors[factor], to));
        let round = |value: f64| (value * 1e4).round() / 1e4;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(EffectRow {
            scheme: self.scheme.and_then(|scheme| self.factors[0].values[scheme].parse().ok()),
            parameter: factor.name.clone(),
            from: factor.values[0].clone(),
            to: factor.values[self.to].clone(),
            given: given.map(|(factor, _)| factor.name.clone()),
            given_from: given.map(|(factor, _)| factor.values[0].clone()),
            given_to: given.map(|(factor, to)| factor.values[to].clone()),
            metric: METRICS[metric].0.to_owned(),
            points: count(difference.points),
            repetitions: count(difference.repetitions),
            pairs: count(both.len()),
            from_ms: to_microseconds(from.value),
            to_ms: to_microseconds(to.value),
            difference_ms: to_microseconds(difference.value),
            low_95: interval.map(|(low, _)| to_microseconds(low)),
            high_95: interval.map(|(_, high)| to_microseconds(high)),
            ratio: ratio.map(|ratio| round(ratio.value.exp())),
            ratio_low_95: ratio_interval.map(|(low, _)| round(low.exp())),
            ratio_high_95: ratio_interval.map(|(_, high)| round(high.exp())),
            real: difference.is_real(confidence),
            unfit: false,
        })
    }
}
