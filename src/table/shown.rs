//! Frames on viewers' screens: from the moment at which a picture was taken to that at which it was seen (glass to
//! glass), and what that is made of.

use super::rows::{FrameRow, ShownRow};
use super::summary::{ascending, milliseconds, quantile, to_microseconds};
use crate::trace::{Screen, StreamScreens};

/// A frame that is on the screen for as many intervals, or that comes again, was there twice: it stood in for the
/// next.
const TWICE: f64 = 1.5;

/// What a viewer's screen showed of the frames that it was owed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ScreenFacts {
    /// Frames that were on the viewer's screen.
    pub shown: u32,
    /// Frames that were not, after the first that was. Those whose own clock is not known are not counted.
    pub never: u32,
    /// Frames before the first that was on it; without the same.
    pub never_start: u32,
    /// Frames that stood there for one and a half frame intervals, or came again.
    pub twice: u32,
    /// Frames that were shown more than an interval later after their picture was taken than the median.
    pub late: u32,
    /// Median and 95th percentile of the time from taking a picture to showing it, in ms.
    pub delay_ms: Option<(f64, f64)>,
    /// Means of that, of the part before the birth and of the part after the arrival, over the frames of which all
    /// three are known, in ms.
    pub delay_mean_ms: Option<f64>,
    /// Mean of the part before the birth: see `delay_mean_ms`.
    pub encode_mean_ms: Option<f64>,
    /// Mean of the part after the arrival: see `delay_mean_ms`.
    pub player_mean_ms: Option<f64>,
    /// Median of the part before the birth: source and encoder, in ms.
    pub encode_p50_ms: Option<f64>,
    /// Median and 95th percentile of the part after the arrival: what the player holds back, decodes and draws, in
    /// ms.
    pub player_ms: Option<(f64, f64)>,
    /// By how much a frame may have been there before it was seen, 95th percentile in ms.
    pub unsure_p95_ms: Option<f64>,
}

/// A row for each frame of a viewer with a screen; `frames` are those that it was owed, in order.
pub(super) fn shown_rows(streams: &[(&str, &StreamScreens)], frames: &[FrameRow]) -> Vec<ShownRow> {
    let row = |frame: &FrameRow| {
        let (_, of_stream) = streams.iter().find(|(stream, _)| *stream == frame.stream)?;
        let screen = of_stream.screens.get(&frame.viewer)?;
        let clock_ns = usize::try_from(frame.index).ok().and_then(|index| *of_stream.clock_ns.get(index)?);
        Some(shown_row(frame, clock_ns, screen))
    };
    frames.iter().filter_map(row).collect()
}

fn shown_row(frame: &FrameRow, clock_ns: Option<i64>, screen: &Screen) -> ShownRow {
    let shown = screen.frames.get(&frame.index);
    let shown_ns = shown.map(|shown| shown.first.first_ns);
    let between = |from: Option<i64>, to: Option<i64>| from.zip(to).map(|(from, to)| milliseconds(to - from));
    ShownRow {
        trial: frame.trial.clone(),
        point: frame.point.clone(),
        stream: frame.stream.clone(),
        viewer: frame.viewer.clone(),
        index: frame.index,
        clock_ns,
        birth_ns: frame.birth_ns,
        arrival_ns: frame.arrival_ns,
        shown_ns,
        unsure_ms: shown.map(|shown| milliseconds(shown.first.first_ns - shown.first.before_ns)),
        shown_for_ms: shown.map(|shown| milliseconds(shown.for_ns)),
        times: shown.map_or(0, |shown| shown.times),
        encode_ms: between(clock_ns, Some(frame.birth_ns)),
        network_ms: frame.delay_ms,
        player_ms: between(frame.arrival_ns, shown_ns),
        shown_delay_ms: between(clock_ns, shown_ns),
    }
}

/// What that comes to for one viewer, at so many pictures a second. `None`: it has no rows, since it has no screen
/// that was read.
pub(super) fn screen_facts(rows: &[&ShownRow], fps: u32) -> Option<ScreenFacts> {
    let first = rows.iter().position(|row| row.shown_ns.is_some()).unwrap_or(rows.len());
    (!rows.is_empty()).then_some(())?;
    let interval_ms = 1e3 / f64::from(fps.max(1));
    let count = |rows: &[&ShownRow], of: &dyn Fn(&ShownRow) -> bool| {
        u32::try_from(rows.iter().filter(|row| of(row)).count()).unwrap_or(u32::MAX)
    };
    let figures = |of: fn(&ShownRow) -> Option<f64>| ascending(rows.iter().filter_map(|row| of(row)));
    let at = |sorted: &[f64], p| quantile(sorted, p).map(to_microseconds);
    let both = |sorted: &[f64]| at(sorted, 0.5).zip(at(sorted, 0.95));
    let (delays, players) = (figures(|row| row.shown_delay_ms), figures(|row| row.player_ms));
    let median = quantile(&delays, 0.5);
    let is_late =
        |row: &ShownRow| row.shown_delay_ms.zip(median).is_some_and(|(delay, p50)| delay > p50 + interval_ms);
    let is_twice = |row: &ShownRow| row.times > 1 || row.shown_for_ms.is_some_and(|ms| ms >= TWICE * interval_ms);
    let (before, after) = rows.split_at(first);
    let whole = || rows.iter().filter(|row| row.shown_delay_ms.is_some() && row.player_ms.is_some());
    let mean = |of: fn(&ShownRow) -> Option<f64>| {
        #[allow(clippy::cast_precision_loss)]
        let count = whole().count() as f64;
        (count > 0.0).then(|| to_microseconds(whole().filter_map(|row| of(row)).sum::<f64>() / count))
    };
    Some(ScreenFacts {
        shown: count(rows, &|row| row.shown_ns.is_some()),
        never: count(after, &|row| row.clock_ns.is_some() && row.shown_ns.is_none()),
        never_start: count(before, &|row| row.clock_ns.is_some()),
        twice: count(rows, &is_twice),
        late: count(rows, &is_late),
        delay_ms: both(&delays),
        delay_mean_ms: mean(|row| row.shown_delay_ms),
        encode_mean_ms: mean(|row| row.encode_ms),
        player_mean_ms: mean(|row| row.player_ms),
        encode_p50_ms: at(&figures(|row| row.encode_ms), 0.5),
        player_ms: both(&players),
        unsure_p95_ms: at(&figures(|row| row.unsure_ms), 0.95),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::log::{Looks, Showing};
    use crate::plan::delivery::Via;
    use crate::table::tests::frame;
    use crate::trace::Shown;

    const MS: i64 = 1_000_000;

    /// Ten frames, 40 ms apart, each born 5 ms after its picture was taken and 20 ms on its way.
    fn frames() -> Vec<FrameRow> {
        let one = |n: i64| FrameRow {
            birth_ns: n * 40 * MS + 5 * MS,
            arrival_ns: Some(n * 40 * MS + 25 * MS),
            delay_ms: Some(20.0),
            ..frame("direct-1", "hv1", n as u32, Some(20.0), Via::Cdn)
        };
        (0..10).map(one).collect()
    }

    /// Frame by frame: how long after its arrival it was seen, for how long it was there, and how often it came.
    fn screen(seen: &[(u64, i64, i64, u32)]) -> StreamScreens {
        let shown = |(index, after_ms, for_ms, times): &(u64, i64, i64, u32)| {
            let first_ns = *index as i64 * 40 * MS + (25 + after_ms) * MS;
            let clock_ns = *index as i64 * 40 * MS;
            let first = Showing { clock_ns, before_ns: first_ns - MS / 2, first_ns, last_ns: first_ns + for_ms * MS };
            (*index, Shown { first, for_ns: for_ms * MS, times: *times })
        };
        let screen = Screen { frames: seen.iter().map(shown).collect(), looks: Looks::default(), strange: 0 };
        StreamScreens {
            clock_ns: (0..10).map(|n| Some(n * 40 * MS)).collect(),
            screens: BTreeMap::from([("hv1".to_owned(), screen)]),
        }
    }

    #[test]
    fn what_was_on_a_screen_is_counted_and_its_parts_add_up() {
        // The first two come before the player has begun; 5 is dropped, and 4 stands in for it; 7 comes again; 9 is
        // late.
        let seen = [
            (2, 10, 40, 1),
            (3, 10, 40, 1),
            (4, 10, 80, 1),
            (6, 10, 40, 1),
            (7, 10, 40, 2),
            (8, 10, 40, 1),
            (9, 60, 40, 1),
        ];
        let streams = screen(&seen);
        let rows = shown_rows(&[("hb", &streams)], &frames());
        assert_eq!(rows.len(), 10);
        for row in rows.iter().filter(|row| row.shown_ns.is_some()) {
            let parts = row.encode_ms.unwrap() + row.network_ms.unwrap() + row.player_ms.unwrap();
            assert!((parts - row.shown_delay_ms.unwrap()).abs() < 1e-9, "{row:?}");
        }
        let facts = screen_facts(&rows.iter().collect::<Vec<_>>(), 25).unwrap();
        assert_eq!((facts.shown, facts.never, facts.never_start, facts.twice, facts.late), (7, 1, 2, 2, 1));
        assert_eq!(
            (facts.delay_ms.unwrap().0, facts.encode_p50_ms, facts.player_ms.unwrap().0),
            (35.0, Some(5.0), 10.0)
        );
        let means = [facts.encode_mean_ms, facts.player_mean_ms, facts.delay_mean_ms].map(Option::unwrap);
        assert!((means[0] + 20.0 + means[1] - means[2]).abs() < 0.01, "{means:?}");
        assert_eq!(facts.unsure_p95_ms, Some(0.5));
    }

    #[test]
    fn a_viewer_without_a_screen_has_no_facts_and_one_that_saw_nothing_says_so() {
        assert_eq!(shown_rows(&[("hb", &StreamScreens::default())], &frames()), []);
        assert_eq!(screen_facts(&[], 25), None);
        let streams = screen(&[]);
        let rows = shown_rows(&[("hb", &streams)], &frames());
        let facts = screen_facts(&rows.iter().collect::<Vec<_>>(), 25).unwrap();
        assert_eq!((facts.shown, facts.never, facts.never_start, facts.delay_ms), (0, 0, 10, None));
    }
}
