//! A viewer's frames spell by spell: what a buffer could not have covered, and how long viewers were without the
//! stream after their source had gone.

use std::collections::BTreeMap;

use super::rows::{FrameRow, ReattachmentRow};
use super::summary::{ascending, count, milliseconds, quantile, to_microseconds};
use crate::plan::Departure;
use crate::trace::Reattachment;

/// The playout buffer that is to cover what goes wrong, in milliseconds.
pub const COVER_MS: f64 = 2000.0;

/// What was missing or late over all spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Coverage {
    /// Frames that never arrived, before the first of their spell that did.
    pub(super) missing_start: u32,
    /// Frames from that one on which came later than [`COVER_MS`] after their birth, or never. Where none arrived in
    /// a spell, all of it.
    pub(super) uncovered: u32,
}

/// How long viewers were without the stream after their source had gone.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Reattached {
    pub(super) count: u32,
    /// Those who never had a frame from anyone else.
    pub(super) never: u32,
    pub(super) p50_ms: Option<f64>,
    pub(super) p95_ms: Option<f64>,
    /// 95th percentile of the times after sources that left.
    pub(super) leave_p95_ms: Option<f64>,
    /// 95th percentile of the times after sources that crashed.
    pub(super) crash_p95_ms: Option<f64>,
}

/// The frames of each spell, in the order of spells. Tables of an older livectl have one, without a number.
pub(super) fn by_spell<'a>(frames: &[&'a FrameRow]) -> Vec<Vec<&'a FrameRow>> {
    let mut spells: BTreeMap<Option<u32>, Vec<&FrameRow>> = BTreeMap::new();
    for frame in frames {
        spells.entry(frame.spell).or_default().push(frame);
    }
    spells.into_values().collect()
}

pub(super) fn coverage(frames: &[&FrameRow]) -> Coverage {
    let mut all = Coverage::default();
    for spell in by_spell(frames) {
        let first = spell.iter().filter(|r| r.arrival_ns.is_some()).min_by_key(|r| r.arrival_ns);
        let begins_ns = first.map_or(i64::MIN, |r| r.birth_ns);
        let (before, from): (Vec<&FrameRow>, Vec<&FrameRow>) = spell.iter().partition(|r| r.birth_ns < begins_ns);
        all.missing_start += count(before.iter().filter(|r| r.arrival_ns.is_none()));
        all.uncovered += count(from.iter().filter(|r| r.delay_ms.is_none_or(|delay| delay > COVER_MS)));
    }
    all
}

/// How the other went and how long it took, in milliseconds; `None`: for ever.
type Took = (Departure, Option<f64>);

pub(super) fn took(one: &Reattachment) -> Took {
    (one.how, one.to.as_ref().map(|(_, after_ns)| milliseconds(*after_ns)))
}

/// A line for each trial in which viewers were left by those that they had the stream from; `None` if there is none.
#[must_use]
pub fn reattachments_text(rows: &[ReattachmentRow]) -> Option<String> {
    let line = |trial: &[ReattachmentRow]| {
        let all = reattached(&trial.iter().map(|row| (row.how, row.ms)).collect::<Vec<_>>());
        let name = trial.first().map(|row| row.trial.as_str()).unwrap_or_default();
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        format!(
            "{name}: {} times a viewer's source went away, {} times for good; next frame after {} / {} ms (p50 / p95), \
             p95 after a leave {}, after a crash {} ms\n",
            all.count,
            all.never,
            ms(all.p50_ms),
            ms(all.p95_ms),
            ms(all.leave_p95_ms),
            ms(all.crash_p95_ms)
        )
    };
    let text: String = rows.chunk_by(|a, b| a.trial == b.trial).map(line).collect();
    (!text.is_empty()).then_some(text)
}

/// A quantile in which whoever was never reattached took longer than any other has no value.
pub(super) fn reattached(all: &[Took]) -> Reattached {
    let quantile_of = |p: f64, how: Option<Departure>| {
        let mine = all.iter().filter(|(went, _)| how.is_none_or(|how| *went == how));
        let times = mine.map(|(_, took)| took.unwrap_or(f64::INFINITY));
        quantile(&ascending(times), p).filter(|ms| ms.is_finite()).map(to_microseconds)
    };
    Reattached {
        count: count(all.iter()),
        never: count(all.iter().filter(|(_, took)| took.is_none())),
        p50_ms: quantile_of(0.5, None),
        p95_ms: quantile_of(0.95, None),
        leave_p95_ms: quantile_of(0.95, Some(Departure::Leave)),
        crash_p95_ms: quantile_of(0.95, Some(Departure::Crash)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::tests::frame;
    use super::*;
    use crate::plan::delivery::Via;

    fn rows(delays: &[(u32, Option<f64>)]) -> Vec<FrameRow> {
        let row = |(index, (spell, delay)): (u32, &(u32, Option<f64>))| FrameRow {
            spell: Some(*spell),
            ..frame("relay-1", "hv1", index, *delay, Via::Peer)
        };
        (0..).zip(delays).map(row).collect()
    }

    fn covered(delays: &[(u32, Option<f64>)]) -> (u32, u32) {
        let rows = rows(delays);
        let Coverage { missing_start, uncovered } = coverage(&rows.iter().collect::<Vec<_>>());
        (missing_start, uncovered)
    }

    #[test]
    fn what_a_buffer_covers() {
        let (late, good) = (Some(2000.1), Some(2000.0));
        assert_eq!(covered(&[(1, good), (1, late), (1, None), (1, good)]), (0, 2));
        // Each spell has its own beginning.
        assert_eq!(covered(&[(1, None), (1, good), (1, None), (2, None), (2, None), (2, good)]), (3, 1));
        // The first to arrive is not the first that was born: those before were caught up with, or never came.
        assert_eq!(covered(&[(1, Some(5000.0)), (1, None), (1, Some(100.0)), (1, late)]), (1, 1));
        assert_eq!(covered(&[(1, good), (2, None), (2, None)]), (0, 2), "nothing at all is no late start");
        assert_eq!(covered(&[]), (0, 0));
    }

    #[test]
    fn who_was_never_reattached_took_longest() {
        let one = |how, ms: Option<i64>| {
            let to = ms.map(|ms| ("hv2".to_owned(), ms * 1_000_000));
            took(&Reattachment { from: "hv1".into(), how, at_ns: 7, to })
        };
        let (leave, crash) = (Departure::Leave, Departure::Crash);
        let all = [one(leave, Some(100)), one(leave, Some(300)), one(crash, Some(900)), one(crash, None)];
        let found = reattached(&all);
        assert_eq!((found.count, found.never, found.p50_ms, found.p95_ms), (4, 1, Some(600.0), None));
        assert_eq!((found.leave_p95_ms, found.crash_p95_ms), (Some(290.0), None));
        assert_eq!(reattached(&all[..3]).crash_p95_ms, Some(900.0));
        assert_eq!(reattached(&[]), Reattached::default());
    }
}
