//! The answer of a sweep, before everything else on its page: how much each parameter changes the excess.

use serde::Serialize;

use super::column::{Cell, Column, figure, metric_name, where_any, words};
use crate::table::{EffectRow, Effects, Sentence};

/// Effects that are said; the others are in the table.
const MOST_LINES: usize = 24;
/// The same of effects that depend on another parameter.
const MOST_DEPENDENCES: usize = 12;

/// What the intervals are, and what they do not hold.
const MEANING: &str = "Each line is the change of one parameter alone: trials with all else in common, the repetition and its seed too, are compared in \
    pairs, and the differences averaged over the values of the other parameters. A trial's figure is the mean over its viewers. In brackets 95 % confidence \
    intervals, by Student's t over the repetitions, whatever the points of a repetition have in common; with fewer than three repetitions there is none. They \
    hold for these values of the parameters and this machine, not for values in between or beyond, and of twenty without effect, one seems to have one.";

/// How dependences are chosen.
const DEPENDENCES: &str = "These differ from chance even though many were tested: without any interaction, one sweep in twenty would have a line here.";

/// What the page says first.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    basis: String,
    doubtful: bool,
    lines: Vec<Line>,
    more: usize,
    dependences: Vec<Line>,
    more_dependences: usize,
    meaning: &'static str,
    meaning_of_dependences: &'static str,
}

#[derive(Debug, Serialize)]
struct Line {
    /// For its colour; empty: it is said of all schemes.
    scheme: String,
    text: String,
    /// It cannot be told from chance.
    chance: bool,
}

/// `None`: nothing but the scheme was varied, so that there is nothing to say that is not said elsewhere.
pub(super) fn part(effects: &Effects) -> Option<Part> {
    let line = |sentence: Sentence| Line {
        scheme: sentence.scheme.map(|scheme| scheme.to_string()).unwrap_or_default(),
        text: sentence.text,
        chance: sentence.real == Some(false),
    };
    let of = |sentences: Vec<Sentence>, most: usize| -> (Vec<Line>, usize) {
        let more = sentences.len().saturating_sub(most);
        (sentences.into_iter().take(most).map(line).collect(), more)
    };
    let (lines, more) = of(effects.sentences(), MOST_LINES);
    let (dependences, more_dependences) = of(effects.dependences(), MOST_DEPENDENCES);
    effects.has_parameters().then(|| Part {
        basis: effects.basis(),
        doubtful: effects.unfit,
        lines,
        more,
        dependences,
        more_dependences,
        meaning: MEANING,
        meaning_of_dependences: DEPENDENCES,
    })
}

/// The columns of the table.
pub(super) const EFFECTS: &[Column<EffectRow>] = &[
    words("scheme", "scheme", "In which scheme; a dash: it is the scheme that differs.", |r| {
        Cell::words(r.scheme.map(|scheme| scheme.to_string()).unwrap_or_default()).doubtful_if(r.unfit)
    }),
    words("parameter", "parameter", "The parameter that differs, all else being the same; the scheme is one.", |r| {
        Cell::words(&r.parameter)
    }),
    words("from", "from", "Its value that others are compared with: the lowest, or the first.", |r| {
        Cell::words(&r.from)
    }),
    words("to", "to", "Its other value.", |r| Cell::words(&r.to)),
    where_any(words(
        "given",
        "depending on",
        "For an interaction: the parameter on whose value the effect may depend.",
        |r| Cell::words(r.given.clone().unwrap_or_default()),
    )),
    where_any(words(
        "given_from",
        "its first value",
        "Of an interaction: the value of that parameter to begin with.",
        |r| Cell::words(r.given_from.clone().unwrap_or_default()),
    )),
    where_any(words("given_to", "its other value", "Of an interaction: the other value of that parameter.", |r| {
        Cell::words(r.given_to.clone().unwrap_or_default())
    })),
    words("metric", "figure", "The figure of a trial: the mean over its viewers.", |r| {
        Cell::words(metric_name(&r.metric))
    }),
    figure(
        "from_ms",
        "before",
        "ms",
        "The figure at the first value, on average over the other parameters' values; of an interaction the effect at the first value of the other parameter.",
        |r| Cell::milliseconds(Some(r.from_ms)),
    ),
    figure("to_ms", "after", "ms", "The same at the other value.", |r| Cell::milliseconds(Some(r.to_ms))),
    figure("difference_ms", "difference", "ms", "The effect, or the interaction: after − before.", |r| {
        Cell::milliseconds(Some(r.difference_ms))
    }),
    figure(
        "low_95",
        "at least",
        "ms",
        "Where its 95 % confidence interval begins, by Student's t over the repetitions; a dash: fewer than three.",
        |r| Cell::milliseconds(r.low_95),
    ),
    figure("high_95", "at most", "ms", "Where its 95 % confidence interval ends.", |r| Cell::milliseconds(r.high_95)),
    figure("ratio", "ratio", "", "The geometric mean of after / before.", |r| Cell::number(r.ratio, 2)),
    words("real", "real", "Whether it differs from chance; a dash: too few repetitions to say.", |r| {
        Cell::words(r.real.map_or("", |real| if real { "yes" } else { "no" }))
    }),
    figure("points", "points", "", "Sets of the other parameters' values that it is the mean of.", |r| {
        Cell::count(u64::from(r.points))
    }),
    figure("repetitions", "repetitions", "", "Repetitions that it is of.", |r| Cell::count(u64::from(r.repetitions))),
    figure("pairs", "pairs", "", "Pairs of trials; of an interaction pairs of pairs.", |r| {
        Cell::count(u64::from(r.pairs))
    }),
];
