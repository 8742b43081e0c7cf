//! What happened to the network and the audience while a stream was on, as marks on pictures over time: by the plan,
//! which says when.

use plotters::style::RGBColor;

use super::chart::{Entry, Swatch};
use crate::plan::{Departure, Trial};

/// What happened to a link or a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A link became another one, or began to follow a trace.
    LinkChange,
    /// A viewer came that had not been there from the beginning.
    Join,
    /// A viewer left, and took leave of its peers.
    Leave,
    /// A viewer crashed: it went silent.
    Crash,
}

/// When something happened, on the trial's timeline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) at_s: f64,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::LinkChange, Kind::Join, Kind::Leave, Kind::Crash];

    pub(super) fn colour(self) -> RGBColor {
        match self {
            Kind::LinkChange => RGBColor(120, 60, 160),
            Kind::Join => RGBColor(0, 130, 60),
            Kind::Leave => RGBColor(110, 110, 110),
            Kind::Crash => RGBColor(190, 0, 30),
        }
    }

    fn words(self, count: usize) -> String {
        match (self, count) {
            (Kind::LinkChange, 1) => "a link changes".to_owned(),
            (Kind::LinkChange, n) => format!("links change ({n} times)"),
            (Kind::Join, 1) => "a viewer joins".to_owned(),
            (Kind::Join, n) => format!("viewers join ({n})"),
            (Kind::Leave, 1) => "a viewer leaves".to_owned(),
            (Kind::Leave, n) => format!("viewers leave ({n})"),
            (Kind::Crash, 1) => "a viewer crashes".to_owned(),
            (Kind::Crash, n) => format!("viewers crash ({n})"),
        }
    }
}

/// What is planned to happen in any of these trials, in the order of time. What all of them share is there once.
pub(super) fn of<'t>(trials: impl Iterator<Item = &'t Trial>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = trials.flat_map(of_trial).collect();
    marks.sort_by(|a, b| a.at_s.total_cmp(&b.at_s).then(a.kind.cmp(&b.kind)));
    marks.dedup();
    marks
}

fn of_trial(trial: &Trial) -> Vec<Mark> {
    let mark = |kind, at: std::time::Duration| Mark { kind, at_s: at.as_secs_f64() };
    let mut marks: Vec<Mark> = trial.link_changes.iter().map(|change| mark(Kind::LinkChange, change.at)).collect();
    // Both directions of a link, or several links, at one moment are one stroke.
    marks.dedup();
    for (viewer, _) in trial.viewers() {
        for (number, spell) in trial.spells(viewer).into_iter().enumerate() {
            // Who comes first comes by the recipe's timeline, with or without an audience that changes.
            if number > 0 || spell.from > trial.timeline.broadcast_at {
                marks.push(mark(Kind::Join, spell.from));
            }
            marks.extend(spell.end.map(|end| match end.how {
                Departure::Leave => mark(Kind::Leave, end.at),
                Departure::Crash => mark(Kind::Crash, end.at),
            }));
        }
    }
    marks
}

/// An entry of the legend for each kind that there is.
pub(super) fn legend(marks: &[Mark]) -> impl Iterator<Item = Entry> {
    Kind::ALL.into_iter().filter_map(|kind| {
        let count = marks.iter().filter(|mark| mark.kind == kind).count();
        (count > 0).then(|| Entry { swatch: Swatch::Stroke(kind.colour()), label: kind.words(count) })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Change, Directions, LinkChange, Parting, Setting, Spell};
    use crate::table::tests::trial;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn marks_are_what_the_plan_says_once_for_all_trials() {
        let change = |at, directions| LinkChange {
            at: seconds(at),
            link: 0,
            directions,
            change: Change::Set(Setting { bandwidth: Some(1), ..Setting::default() }),
        };
        let mut plan = trial("relay-1", &["hv1", "hv2"]);
        let begin = plan.timeline.broadcast_at;
        plan.link_changes =
            vec![change(20, Directions::Up), change(20, Directions::Down), change(30, Directions::Up)];
        let end = |at, how| Some(Parting { at: seconds(at), how });
        let spells = vec![
            Spell { from: begin.saturating_sub(seconds(1)), end: end(25, Departure::Leave) },
            Spell { from: seconds(40), end: end(50, Departure::Crash) },
        ];
        plan.audience.planned.insert("hv1".to_owned(), spells);
        let other = Trial { id: "direct-1".to_owned(), ..plan.clone() };
        let marks = of([&plan, &other].into_iter());
        let told: Vec<(Kind, f64)> = marks.iter().map(|mark| (mark.kind, mark.at_s)).collect();
        let expected = [
            (Kind::LinkChange, 20.0),
            (Kind::Leave, 25.0),
            (Kind::LinkChange, 30.0),
            (Kind::Join, 40.0),
            (Kind::Crash, 50.0),
        ];
        assert_eq!(told, expected);
        let labels: Vec<String> = legend(&marks).map(|entry| entry.label).collect();
        assert_eq!(labels, ["links change (2 times)", "a viewer joins", "a viewer leaves", "a viewer crashes"]);
        assert_eq!(of([&trial("direct-1", &["hv1"])].into_iter()), [], "nothing happens in most trials");
    }
}
