//! Frames on viewers' screens: from the moment at which a picture was taken to that at which it was seen (glass to glass), and what that is made of.

use super::rows::{FrameRow, ShownRow};
use super::summary::{ascending, milliseconds, quantile, to_microseconds};
use crate::trace::{Screen, StreamScreens};

/// A frame that is on the screen for as many intervals, or that comes again, was there twice: it stood in for the next.
const TWICE: f64 = 1.5;

/// What a viewer's screen showed of the frames that it was owed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ScreenFacts {
    /// Frames that were on it.
    pub shown: u32,
    /// Frames that were not, after the first that was.
    pub never: u32,
    /// Frames before that.
    pub never_start: u32,
    /// Frames that stood there for one and a half frame intervals, or came again.
    pub twice: u32,
    /// Frames that were shown more than an interval later after their picture was taken than the median.
    pub late: u32,
    /// Median and 95th percentile of the time from taking a picture to showing it, in ms.
    pub delay_ms: Option<(f64, f64)>,
    /// Means of that, of the part before the birth and of the part after the arrival, over the frames of which all three are known, in ms.
    pub delay_mean_ms: Option<f64>,
    /// See `delay_mean_ms`.
    pub encode_mean_ms: Option<f64>,
    /// See `delay_mean_ms`.
    pub player_mean_ms: Option<f64>,
    /// Median of the part before the birth: source and encoder, in ms.
    pub encode_p50_ms: Option<f64>,
    /// Median and 95th percentile of the part after the arrival: what the player holds back, decodes and draws, in ms.
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

/// What that comes to for one viewer, at so many pictures a second. `None`: it has no rows, since it has no screen that was read.
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
        never: count(after, &|row| row.shown_ns.is_none()),
        never_start: count(before, &|_| true),
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
