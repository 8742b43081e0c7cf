//! When viewers were there: what they are owed, and who had to find the stream again because another viewer left.

use crate::plan::{Departure, Spell, Trial};

use super::Told;

/// A frame born so shortly before its viewer went may be on its way still.
const ON_ITS_WAY_NS: i64 = 2_000_000_000;

/// A viewer's spell as it was. Moments are nanoseconds of CLOCK_REALTIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// Which of its spells, from 1.
    pub spell: u32,
    /// When its player was started.
    pub from_ns: i64,
    /// When and how it went, unless it stayed until the stream had ended.
    pub end: Option<(i64, Departure)>,
}

/// What became of a viewer when the one that it had the stream from went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reattachment {
    /// Host that the viewer had the stream from, and that went away.
    pub from: String,
    /// Whether it left or crashed.
    pub how: Departure,
    /// When it went, in nanoseconds of CLOCK_REALTIME.
    pub at_ns: i64,
    /// Who gave it the next frame that did not come from the one that went, and how many nanoseconds later that
    /// arrived; `None`: nobody did.
    pub to: Option<(String, i64)>,
}

/// The spells of a viewer: what happened where it was told, else what was planned, counted from `zero_ns`. Where not
/// even that is known it is taken to have been there all the time.
#[must_use]
pub fn stays(trial: &Trial, viewer: &str, told: &Told, zero_ns: Option<i64>) -> Vec<Stay> {
    let planned = |at: std::time::Duration| zero_ns?.checked_add(i64::try_from(at.as_nanos()).ok()?);
    let stay = |(number, Spell { from, end }): (u32, Spell)| {
        let (started, departed) = (told.players_started_ns.get(&number), told.departed_ns.get(&number));
        // It went before its player could start.
        if started.is_none() && departed.is_some() {
            return None;
        }
        let from_ns = started.copied().or_else(|| planned(from)).unwrap_or(i64::MIN);
        let end = end.map(|end| (departed.copied().or_else(|| planned(end.at)).unwrap_or(i64::MAX), end.how));
        Some(Stay { spell: number, from_ns, end })
    };
    (1..).zip(trial.spells(viewer)).filter_map(stay).collect()
}

impl Stay {
    /// When it ended; the end of time if the viewer stayed.
    #[must_use]
    pub fn until_ns(&self) -> i64 {
        self.end.map_or(i64::MAX, |(at_ns, _)| at_ns)
    }

    /// Whether the viewer was there at that moment.
    #[must_use]
    pub fn holds(&self, time_ns: i64) -> bool {
        (self.from_ns..self.until_ns()).contains(&time_ns)
    }

    /// Whether a frame that was born and arrived then is one that the viewer should have in this spell: it was born
    /// while the viewer was there, and either arrived before the viewer went or had two seconds for it.
    #[must_use]
    pub fn owes(&self, birth_ns: i64, arrival_ns: Option<i64>) -> bool {
        let had_time = birth_ns.saturating_add(ON_ITS_WAY_NS) <= self.until_ns();
        self.holds(birth_ns) && (had_time || arrival_ns.is_some_and(|at| at <= self.until_ns()))
    }
}

/// Whom the departures of others left without the stream. `arrivals` are the viewer's first copies of all frames, in
/// the order of time, with who gave them; `departures` are the others': who, when, how. Who was not there for two
/// more seconds, or whose stream ended in that time, had no need of another.
#[must_use]
pub fn reattachments(
    stays: &[Stay],
    arrivals: &[(i64, &str)],
    departures: &[(&str, i64, Departure)],
    stream_ended_ns: i64,
) -> Vec<Reattachment> {
    let reattachment = |(who, at_ns, how): &(&str, i64, Departure)| {
        let stay = stays.iter().find(|stay| stay.holds(*at_ns))?;
        if stay.until_ns().min(stream_ended_ns) < at_ns.saturating_add(ON_ITS_WAY_NS) {
            return None;
        }
        let next = arrivals.partition_point(|(time_ns, _)| time_ns <= at_ns);
        let (before, after) = arrivals.split_at(next);
        before.last().filter(|(time_ns, from)| stay.holds(*time_ns) && from == who)?;
        let found = after.iter().find(|(time_ns, from)| from != who && stay.holds(*time_ns));
        let to = found.map(|(time_ns, from)| ((*from).to_owned(), time_ns - at_ns));
        Some(Reattachment { from: (*who).to_owned(), how: *how, at_ns: *at_ns, to })
    };
    departures.iter().filter_map(reattachment).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const S: i64 = 1_000_000_000;

    fn stay(spell: u32, from_s: i64, end: Option<(i64, Departure)>) -> Stay {
        Stay { spell, from_ns: from_s * S, end: end.map(|(at, how)| (at * S, how)) }
    }

    #[test]
    fn who_is_not_there_misses_nothing() {
        let there = stay(1, 10, Some((20, Departure::Leave)));
        for (born, arrived, owed) in [
            (9 * S, Some(11 * S), false), // a backlog's
            (10 * S, None, true),
            (18 * S, None, true), // had two seconds
            (18 * S + 1, None, false),
            (19 * S, Some(19 * S + 1), true),
            (19 * S, Some(20 * S + 1), false), // for nobody
            (20 * S, Some(20 * S), false),
            (30 * S, Some(31 * S), false),
        ] {
            assert_eq!(there.owes(born, arrived), owed, "born {born}, arrived {arrived:?}");
        }
        assert!(stay(1, 10, None).owes(1000 * S, None));
    }

    #[test]
    fn what_happened_goes_before_what_was_planned() {
        let text = include_str!("../../recipes/multi.yaml").replace(
            "timeline:",
            "timeline:\n  audience: [{ at: 9 s, leave: hv1 }, { at: 12 s, join: hv1 }, { at: 15 s, crash: hv1 }, { at: 18 s, join: hv1 }]",
        );
        let plan = crate::recipe::from_str("multi.yaml", &text).unwrap().plan;
        let trial = &plan.trials[0];
        let view_ns = trial.timeline.view_at.as_nanos() as i64;
        let told = Told {
            players_started_ns: [(1, 103 * S), (2, 113 * S)].into(),
            departed_ns: [(1, 110 * S)].into(),
            ..Told::default()
        };
        let found = stays(trial, "hv1", &told, Some(100 * S));
        let expected = [
            stay(1, 103, Some((110, Departure::Leave))),
            stay(2, 113, Some((115, Departure::Crash))),
            stay(3, 118, None),
        ];
        assert_eq!(found, expected);
        let nothing = stays(trial, "hv2", &Told::default(), Some(100 * S));
        assert_eq!(nothing, [Stay { spell: 1, from_ns: 100 * S + view_ns, end: None }]);
        assert_eq!(stays(trial, "hv2", &Told::default(), None)[0].from_ns, i64::MIN);
        // Told to go before its agent was ready.
        let told = Told { departed_ns: [(2, 115 * S)].into(), ..told };
        let spells: Vec<u32> = stays(trial, "hv1", &told, Some(100 * S)).iter().map(|stay| stay.spell).collect();
        assert_eq!(spells, [1, 2, 3]);
        let told = Told { players_started_ns: [(1, 103 * S)].into(), ..told };
        let spells: Vec<u32> = stays(trial, "hv1", &told, Some(100 * S)).iter().map(|stay| stay.spell).collect();
        assert_eq!(spells, [1, 3]);
    }

    #[test]
    fn a_child_is_reattached_when_somebody_else_gives_it_the_next_frame() {
        let there = [stay(1, 0, Some((50, Departure::Leave)))];
        let arrivals = [(9 * S, "hs"), (10 * S, "hv1"), (11 * S, "hv1"), (12 * S, "hv2"), (48 * S, "hv2")];
        let found = |who: &'static str, at: i64, how, stream_ended: i64| {
            reattachments(&there, &arrivals, &[(who, at, how)], stream_ended * S)
        };
        let crash = Departure::Crash;
        let of = |to| vec![Reattachment { from: "hv1".into(), how: crash, at_ns: 10 * S + 5, to }];
        // What was on its way from the one that went does not count.
        assert_eq!(found("hv1", 10 * S + 5, crash, 60), of(Some(("hv2".into(), 2 * S - 5))));
        assert_eq!(found("hv2", 10 * S + 5, crash, 60), [], "it was nobody's parent");
        assert_eq!(found("hv1", 9 * S, crash, 60), [], "not yet its parent");
        assert_eq!(found("hv1", 10 * S + 5, crash, 11), [], "the stream ends");
        assert_eq!(found("hv2", 49 * S, crash, 60), [], "it goes itself");
        assert_eq!(found("hv2", 48 * S, crash, 60)[0].to, None, "nobody ever gave it anything");
        let absent = [stay(1, 0, Some((5, crash))), stay(2, 20, None)];
        assert_eq!(reattachments(&absent, &arrivals, &[("hv1", 10 * S + 5, crash)], 60 * S), []);
    }
}
