//! The answer of a sweep, before everything else that is said of it: which parameter moves the excess how much.

use serde::Serialize;

use crate::table::{Effects, Sentence};

/// Effects that are said; the others are in the table.
const MOST_LINES: usize = 24;
/// The same of effects that depend on another parameter.
const MOST_DEPENDENCES: usize = 12;

/// What the intervals are, and what they do not hold.
const MEANING: &str = "Each line is the change of one parameter alone: trials that have all else in common, the repetition and its seed too, are compared in \
    pairs, and the differences averaged over the values of the other parameters. A trial's figure is the mean over its viewers. In brackets 95 % confidence \
    intervals, by Student's t over the repetitions, whatever the points of a repetition have in common; with fewer than three repetitions there is none. They \
    hold for these values of the parameters and this machine, not for values in between or beyond, and of twenty effects that are none, one looks like one.";

/// How dependences are chosen.
const DEPENDENCES: &str = "These can be told from chance although so many were looked at: if nothing depended on anything, one sweep in twenty would have a line here.";

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
