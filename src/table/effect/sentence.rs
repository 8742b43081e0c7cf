//! Effects as a person would say them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::rows::EffectRow;
use super::{Effects, SCHEME};
use crate::plan::{Measure, Scheme};

/// Sentences that a terminal is shown of each kind.
const ON_A_TERMINAL: usize = 12;
/// A ratio from here on is worth telling, and its inverse too.
const TELLING: f64 = 1.5;

/// What one change of one parameter does.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// The scheme that it is said of; `None`: of all.
    pub scheme: Option<Scheme>,
    /// The sentence, with a full stop.
    pub text: String,
    /// It can be told from chance; `None`: too few repetitions to tell.
    pub real: Option<bool>,
    /// By how many ms it moves what it moves most.
    size_ms: f64,
}

impl Effects {
    /// A sentence for each effect, the largest first, and those that cannot be told from chance at the end. Of a
    /// parameter whose values are numbers it is that of going from the lowest to the highest.
    #[must_use]
    pub fn sentences(&self) -> Vec<Sentence> {
        let names = Names::of(&self.rows);
        let last = last_numbers(&self.rows);
        let is_main = |row: &EffectRow| {
            let last = last.get(row.parameter.as_str()).copied().flatten();
            last.is_none_or(|last| last == row.to)
        };
        let said = self.each(|row| row.given.is_none() && is_main(row));
        sorted(said.iter().map(|rows| effect(rows, &names)).collect())
    }

    /// A sentence for each parameter on whose value the effect of another one depends, as far as that can be told
    /// from chance; the largest first.
    #[must_use]
    pub fn dependences(&self) -> Vec<Sentence> {
        let names = Names::of(&self.rows);
        let said = self.each(|row| row.given.is_some());
        sorted(said.iter().filter_map(|rows| dependence(rows, &names)).collect())
    }

    /// The parameters, those with the largest effects on any figure first; without the scheme.
    #[must_use]
    pub fn largest(&self) -> Vec<&str> {
        let mut sizes: BTreeMap<&str, f64> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.given.is_none() && row.parameter != SCHEME) {
            let size = sizes.entry(&row.parameter).or_insert(0.0);
            *size = size.max(row.difference_ms.abs());
        }
        let mut sizes: Vec<(&str, f64)> = sizes.into_iter().collect();
        sizes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        sizes.into_iter().map(|(name, _)| name).collect()
    }

    /// What the figures rest on.
    #[must_use]
    pub fn basis(&self) -> String {
        let Effects { trials, left_out, unfit, .. } = self;
        let used = trials - left_out;
        let made = if self.predicted { "PREDICTED, not measured, " } else { "" };
        let beside = match self.beside {
            0 => String::new(),
            count => format!("; {count} predicted ones are not among them"),
        };
        match (unfit, left_out) {
            (true, _) => format!(
                "ALL {trials} trials are UNFIT or partial: this is what {used} unfit ones say, and it may be the machine's doing, not the network's{beside}"
            ),
            (false, 0) => format!("{made}from {trials} trials{beside}"),
            (false, _) => {
                format!("{made}from {used} of {trials} trials; {left_out} left out as unfit or partial{beside}")
            }
        }
    }

    /// The rows of each change that are meant: one for each figure, which follow each other.
    fn each(&self, meant: impl Fn(&EffectRow) -> bool) -> Vec<&[EffectRow]> {
        let key = |row: &EffectRow| {
            (row.scheme, row.parameter.clone(), row.to.clone(), row.given.clone(), row.given_to.clone())
        };
        self.rows.chunk_by(|a, b| key(a) == key(b)).filter(|rows| meant(&rows[0])).collect()
    }
}

/// The effects for a terminal, a sentence a line; `None`: no parameter was varied.
#[must_use]
pub fn effects_text(effects: &Effects) -> Option<String> {
    if !effects.has_parameters() {
        return None;
    }
    let mut text = format!("what moves the excess, {}:\n", effects.basis());
    let mut add = |sentences: Vec<Sentence>, what: &str| {
        let more = sentences.len().saturating_sub(ON_A_TERMINAL);
        for sentence in sentences.iter().take(ON_A_TERMINAL) {
            text += &format!("  {}\n", sentence.text);
        }
        if more > 0 {
            text += &format!("  and {more} more {what} in effects.csv\n");
        }
    };
    add(effects.sentences(), "effects");
    add(effects.dependences(), "effects that depend on another parameter");
    Some(text)
}

fn sorted(mut sentences: Vec<Sentence>) -> Vec<Sentence> {
    sentences.sort_by(|a, b| {
        let told = |sentence: &Sentence| sentence.real == Some(false);
        told(a).cmp(&told(b)).then(b.size_ms.total_cmp(&a.size_ms)).then_with(|| a.text.cmp(&b.text))
    });
    sentences
}

/// The highest value of each parameter whose values are numbers.
fn last_numbers(rows: &[EffectRow]) -> BTreeMap<&str, Option<&str>> {
    let mut last: BTreeMap<&str, Option<(f64, &str)>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.given.is_none()) {
        let value =
            Measure::read(&row.from).and(Measure::read(&row.to)).map(|measure| (measure.value, row.to.as_str()));
        let known = last.entry(&row.parameter).or_insert(value);
        *known = known.zip(value).map(|(known, value)| if value.0 > known.0 { value } else { known });
    }
    last.into_iter().map(|(name, value)| (name, value.map(|(_, text)| text))).collect()
}

/// What parameters are called: a path by its last part, unless another one ends alike.
struct Names {
    whole: BTreeSet<String>,
    schemes: bool,
}

impl Names {
    fn of(rows: &[EffectRow]) -> Names {
        let ends = |row: &EffectRow| [Some(row.parameter.clone()), row.given.clone()];
        let all: BTreeSet<String> = rows.iter().flat_map(ends).flatten().collect();
        let alike = |name: &&String| all.iter().filter(|other| end(other) == end(name)).count() > 1;
        let whole = all.iter().filter(alike).cloned().collect();
        let schemes = rows.iter().filter_map(|row| row.scheme).collect::<BTreeSet<_>>();
        Names { whole, schemes: schemes.len() > 1 }
    }

    fn name<'n>(&self, name: &'n str) -> &'n str {
        if self.whole.contains(name) { name } else { end(name) }
    }

    /// `At bypass, ` where there are several schemes.
    fn at(&self, row: &EffectRow) -> String {
        row.scheme.filter(|_| self.schemes).map_or_else(String::new, |scheme| format!("At {scheme}, "))
    }

    /// `loss 2 % instead of 0 %`, `bypass instead of direct`.
    fn change(&self, row: &EffectRow) -> String {
        let name = if row.parameter == SCHEME { String::new() } else { format!("{} ", self.name(&row.parameter)) };
        format!("{name}{} instead of {}", row.to, row.from)
    }
}

fn end(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `p95` of `excess_p95_ms`.
fn figure(row: &EffectRow) -> &str {
    row.metric.strip_prefix("excess_").and_then(|name| name.strip_suffix("_ms")).unwrap_or(&row.metric)
}

/// With one decimal, and no minus before 0.
fn tenth(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0 + 0.0
}

fn signed(ms: f64) -> String {
    format!("{:+.1} ms", tenth(ms)).replace('-', "−")
}

fn between(low: f64, high: f64) -> String {
    format!("{:.1} to {:.1}", tenth(low), tenth(high)).replace('-', "−")
}

fn size_of(rows: &[EffectRow]) -> f64 {
    rows.iter().map(|row| row.difference_ms.abs()).fold(0.0, f64::max)
}

/// Whether any of its figures is moved.
fn is_real(rows: &[EffectRow]) -> Option<bool> {
    let known: Vec<bool> = rows.iter().filter_map(|row| row.real).collect();
    (!known.is_empty()).then(|| known.contains(&true))
}

fn effect(rows: &[EffectRow], names: &Names) -> Sentence {
    let first = &rows[0];
    let subject = format!("{}{}", names.at(first), names.change(first));
    // The p95 is what hurts.
    let told = || rows.iter().rev();
    let unsure = |row: &EffectRow| {
        let interval = row.low_95.zip(row.high_95).map(|(low, high)| format!(" ({})", between(low, high)));
        format!("{} {}{}", figure(row), signed(row.difference_ms), interval.unwrap_or_default())
    };
    let real = is_real(rows);
    let text = if real == Some(false) {
        let figures: Vec<String> = told().map(unsure).collect();
        format!("{subject} changes nothing beyond chance: {}.", figures.join(", "))
    } else {
        let mut moved: Vec<String> = Vec::new();
        let mut verb = None;
        for row in told().filter(|row| row.real != Some(false)) {
            moved.push(what_moves(row, verb));
            verb = Some(is_less(row));
        }
        let rest: Vec<String> = told().filter(|row| row.real == Some(false)).map(unsure).collect();
        let rest = if rest.is_empty() { String::new() } else { format!("; within chance: {}", rest.join(", ")) };
        let moved = moved.join(" and ");
        format!("{subject} {}{rest}.", moved.strip_suffix(',').unwrap_or(&moved))
    };
    Sentence { scheme: first.scheme, text, real, size_ms: size_of(rows) }
}

/// `adds 38.1 ms (35.0 to 41.9) to the p95`; without the verb if that is the one before it.
fn what_moves(row: &EffectRow, before: Option<bool>) -> String {
    let (ms, less) = (row.difference_ms, is_less(row));
    let sides = row.low_95.zip(row.high_95).map(|(low, high)| if less { (-high, -low) } else { (low, high) });
    let interval = sides.map_or_else(String::new, |(low, high)| format!(" ({})", between(low, high)));
    let verb = match (less, before == Some(less)) {
        (_, true) => "",
        (true, _) => "takes ",
        (false, _) => "adds ",
    };
    let to = if less { "off" } else { "to" };
    let said = format!("{verb}{:.1} ms{interval} {to} the {}", ms.abs(), figure(row));
    match row.ratio.filter(|ratio| if less { *ratio <= 1.0 / TELLING } else { *ratio >= TELLING }) {
        Some(ratio) if less => format!("{said}, to {:.0} % of it,", ratio * 100.0),
        Some(ratio) => format!("{said}, to {ratio:.1} times as much,"),
        None => said,
    }
}

fn is_less(row: &EffectRow) -> bool {
    row.difference_ms < 0.0
}

/// `None`: it cannot be told from chance in any of its figures.
fn dependence(rows: &[EffectRow], names: &Names) -> Option<Sentence> {
    let row = rows.iter().rev().find(|row| row.real == Some(true))?;
    let (given, from, to) = (row.given.as_ref()?, row.given_from.as_ref()?, row.given_to.as_ref()?);
    let interval = row.low_95.zip(row.high_95).map(|(low, high)| format!(", {}", between(low, high)));
    let change = match row.parameter.as_str() {
        SCHEME => format!("what {} changes", names.change(row)),
        name => format!("what {} ({} instead of {}) changes", names.name(name), row.to, row.from),
    };
    let at = names.at(row);
    let change = if at.is_empty() { capital(&change) } else { change };
    let text = format!(
        "{at}{change} depends on {}: {} of the {} at {from}, {} at {to} (difference {}{}).",
        names.name(given),
        signed(row.from_ms),
        figure(row),
        signed(row.to_ms),
        signed(row.difference_ms),
        interval.unwrap_or_default(),
    );
    Some(Sentence { scheme: row.scheme, text, real: row.real, size_ms: size_of(rows) })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
