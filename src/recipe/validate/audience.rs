//! Viewers that come and go during the stream.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::file::{ChurnFile, MoveFile, TimelineFile};
use super::super::problem::Finding;
use super::super::text::{At, Span, Text};
use super::super::unit::{Moment, Share};
use super::super::word::shown;
use super::when::{moment, written_moment};
use super::{Notes, out_of_bounds, unknown_node};
use crate::plan::{Audience, Churn, Departure, LEAST_SPELL, Network, Parting, Role, Spell, Stream, Timeline, Video};

/// Viewers that come back in a trial at most: each has programs, logs and a dump of its own.
const MOST_RETURNS: usize = 2000;

/// What it must fit to.
pub(super) struct Known<'a> {
    pub(super) network: &'a Network,
    pub(super) streams: &'a [Stream],
    pub(super) video: &'a Video,
    pub(super) timeline: &'a Timeline,
}

impl Known<'_> {
    /// When there is nothing to see any more.
    fn over(&self) -> Duration {
        (self.timeline.broadcast_at + self.video.duration()).min(self.timeline.end)
    }

    /// Names of the viewers and when they start to watch.
    fn viewers(&self) -> impl Iterator<Item = (&str, Duration)> {
        let viewers = self.streams.iter().flat_map(|stream| &stream.viewers).enumerate();
        viewers.map(|(before, viewer)| (viewer.as_str(), self.timeline.view_at(before)))
    }
}

/// What a viewer does at a moment.
struct Step {
    at: Duration,
    /// `None`: it comes.
    goes: Option<Departure>,
    span: Span,
}

/// Reads who comes and goes, and about how often somebody comes again in a trial. `None`: something is wrong.
pub(super) fn validate_audience(
    written: Option<&TimelineFile>,
    known: &Known<'_>,
    notes: &mut Notes<'_>,
) -> Option<(Audience, usize)> {
    let before = notes.errors.len();
    let moves = written.and_then(|w| w.audience.get()).map(Vec::as_slice).unwrap_or_default();
    let mut steps: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
    for entry in moves {
        if let Some((viewer, step)) = validate_move(entry, known, notes) {
            steps.entry(viewer).or_default().push(step);
        }
    }
    if notes.errors.len() > before {
        return None;
    }
    let mut planned = BTreeMap::new();
    for (viewer, view_at) in known.viewers() {
        let Some(mut steps) = steps.remove(viewer) else { continue };
        // Stable: of two at once the later written is the one too many.
        steps.sort_by_key(|step| step.at);
        if let Some(spells) = spells(viewer, view_at, &steps, notes) {
            planned.insert(viewer.to_owned(), spells);
        }
    }
    let moved = known.viewers().count() - planned.len();
    let churn = match written.and_then(|w| w.churn.get()) {
        Some(churn) => Some(validate_churn(churn, known, moved, notes)?),
        None => None,
    };
    let audience = Audience { planned, churn, drawn: BTreeMap::new() };
    let returns = audience.returns() + churn.map_or(0, |churn| churn.returns(moved).ceil() as usize);
    (notes.errors.len() == before).then_some((audience, returns))
}

/// An entry as far as it can be told without the others: whose it is and what it does.
fn validate_move<'a>(
    At { value: entry, span }: &At<MoveFile>,
    known: &'a Known<'_>,
    notes: &mut Notes<'_>,
) -> Option<(&'a str, Step)> {
    let words = [
        ("leave", Some(Departure::Leave), &entry.leave),
        ("crash", Some(Departure::Crash), &entry.crash),
        ("join", None, &entry.join),
    ];
    let mut said = words.iter().filter_map(|(key, goes, text)| Some((*key, *goes, text.get()?)));
    let (first, second) = (said.next(), said.next());
    let Some((key, goes, text)) = first else {
        let finding = Finding::new(span, "audience: an entry names no viewer", "who comes or goes?");
        notes.error(finding.help("add `leave: hv1`, `crash: hv1` or `join: hv1`"));
        return None;
    };
    if let Some((other, _, twice)) = second {
        let message = format!("audience: an entry has both `{key}` and `{other}`");
        let finding = Finding::new(&twice.span, message, format!("`{other}`")).also(&text.span, format!("`{key}`"));
        notes.error(finding.help("write an entry for each"));
        return None;
    }
    let at = notes.read("at", &entry.at);
    let name = notes.read(key, text)?.0;
    let Some((viewer, _)) = known.viewers().find(|(viewer, _)| *viewer == name) else {
        let viewers = known.viewers().map(|(viewer, _)| viewer).collect();
        notes.error(match known.network.host(&name) {
            None => unknown_node(key, "viewer", &text.text, &text.span, viewers),
            Some(host) => {
                let finding = Finding::new(&text.span, format!("{key}: {} is no viewer", shown(&name)), "no viewer");
                finding.help(match host.role {
                    Role::Broadcaster => {
                        "a broadcaster stays until its stream has ended: `broadcast: { until: … }`".to_owned()
                    }
                    _ => "only viewers come and go".to_owned(),
                })
            }
        });
        return None;
    };
    let (at, over, begin) = (at?.0, known.over(), known.timeline.view_at);
    if at < begin || at >= over {
        let (label, why) = if at < begin {
            ("too early", format!("before viewers start ({})", Moment(begin)))
        } else {
            ("too late", format!("when the stream is over ({})", Moment(over)))
        };
        let message = format!("at: {viewer} comes or goes at {}, {why}", Moment(at));
        let help = format!("write a moment from {} on and before {}", Moment(begin), Moment(over));
        notes.error(Finding::new(&entry.at.span, message, label).help(help));
        return None;
    }
    Some((viewer, Step { at, goes, span: text.span.clone() }))
}

/// What a viewer's steps come to, one after the other. `None`: they do not follow from each other.
fn spells(viewer: &str, view_at: Duration, steps: &[Step], notes: &mut Notes<'_>) -> Option<Vec<Spell>> {
    let mut spells: Vec<Spell> = Vec::new();
    // A viewer whose first entry is `join` is not there before.
    let mut here = steps.first().filter(|step| step.goes.is_some()).map(|_| view_at);
    let mut before: Option<(Duration, Option<&Span>)> = here.map(|from| (from, None));
    for step in steps {
        let (at, verb) = (Moment(step.at), if step.goes.is_some() { "goes" } else { "comes" });
        let wrong = |message: String, label: &str| {
            let finding = Finding::new(&step.span, message, label);
            match before {
                Some((_, Some(span))) => finding.also(span, "the entry before"),
                _ => finding,
            }
        };
        if let Some((last, span)) = before {
            let since = step.at.checked_sub(last);
            let error = match since {
                Some(Duration::ZERO) if span.is_some() => Some(
                    wrong(format!("audience: {viewer} comes or goes twice at {at}"), "again")
                        .help("keep one of them"),
                ),
                Some(since) if since >= LEAST_SPELL => None,
                Some(_) if span.is_some() => Some(
                    wrong(format!("audience: {viewer} {verb} at {at}, too soon after {}", Moment(last)), "too soon")
                        .help(format!("leave {} in between: programs take their time", Moment(LEAST_SPELL))),
                ),
                _ => Some(
                    wrong(
                        format!("audience: {viewer} {verb} at {at}, and starts to watch at {}", Moment(last)),
                        "too soon",
                    )
                    .help(format!("let it stay for {} at least", Moment(LEAST_SPELL))),
                ),
            };
            if let Some(error) = error {
                notes.error(error);
                return None;
            }
        }
        match (here, step.goes) {
            (Some(from), Some(how)) => {
                spells.push(Spell { from, end: Some(Parting { at: step.at, how }) });
                here = None;
            }
            (None, None) => here = Some(step.at),
            (Some(_), None) => {
                let error = wrong(format!("join: {viewer} comes at {at}, and is there already"), "it is there");
                notes.error(error.help("let it leave or crash before"));
                return None;
            }
            (None, Some(how)) => {
                let error = wrong(format!("{}: {viewer} goes at {at}, and is not there", how.name()), "it is away");
                notes.error(error.help("let it join before"));
                return None;
            }
        }
        before = Some((step.at, Some(&step.span)));
    }
    spells.extend(here.map(|from| Spell { from, end: None }));
    Some(spells)
}

/// `moved`: how many viewers it moves.
fn validate_churn(
    At { value: written, span }: &At<ChurnFile>,
    known: &Known<'_>,
    moved: usize,
    notes: &mut Notes<'_>,
) -> Option<Churn> {
    let stay = mean("stay", &written.stay, notes);
    let away = mean("away", &written.away, notes);
    let crash = notes.read_or("crash", &written.crash, Share(0.0));
    let from = moment("from", &written.from, notes);
    let until = moment("until", &written.until, notes);
    let (stay, away, Share(crash), from, until) = (stay?, away?, crash?, from?, until?);
    let over = known.over();
    let from_or = from.map_or(known.timeline.broadcast_at, |m| m.0);
    let until_or = until.map_or(over, |m| m.0);
    let before = notes.errors.len();
    if let Some(text) = written.crash.get()
        && crash > 1.0
    {
        notes.error(out_of_bounds("crash", &text.text, &text.span, "100 % at most"));
    }
    if let Some(text) = written.until.get()
        && until_or > over
    {
        let message = format!(
            "until: viewers come and go until {}, when the stream is over ({})",
            Moment(until_or),
            Moment(over)
        );
        notes.error(Finding::new(&text.span, message, "too late").help("write an earlier `until`, or leave it out"));
    }
    if from_or >= until_or {
        let place = written.from.get().or(written.until.get()).map_or(span, |text| &text.span);
        let message = format!("from: churn begins at {}, when it is over ({})", Moment(from_or), Moment(until_or));
        notes.error(Finding::new(place, message, "too late").help("`from` is the earlier moment"));
    }
    let churn = Churn { stay, away, crash, from: from_or, until: until_or };
    if notes.errors.len() == before && churn.returns(moved) > MOST_RETURNS as f64 {
        let message = format!("churn: {moved} viewers would come again {:.0} times", churn.returns(moved));
        let finding = Finding::new(&written.stay.span, message, "too often");
        notes.error(finding.help(format!("{MOST_RETURNS} times is the most; let them stay longer")));
    }
    (notes.errors.len() == before).then_some(churn)
}

/// A mean time that is not shorter than any of the times may be.
fn mean(key: &str, text: &Text<Moment>, notes: &mut Notes<'_>) -> Option<Duration> {
    let Moment(time) = written_moment(key, text, notes)?;
    if time < LEAST_SPELL {
        notes.error(out_of_bounds(key, &text.text, &text.span, &format!("{} at least", Moment(LEAST_SPELL))));
        return None;
    }
    Some(time)
}
