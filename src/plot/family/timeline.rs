//! The two pictures over time, each of one run: their data, and what of it fits in a few lines.

use std::collections::BTreeMap;

use super::{Plate, count};
use crate::plan::Stream;
use crate::plot::key::{Asked, Condition};
use crate::plot::loaded::Loaded;
use crate::plot::pictures::{self, Subject};
use crate::plot::{Picture, PlotError, View};
use crate::table::{self, Figures, FrameRow, PingDelay, quantile};

/// The picture of the delays that pings see, over time.
pub(in crate::plot) fn delay(run: &Loaded, view: &View, picture: &Picture) -> Result<Plate, PlotError> {
    // Rows of a trial follow each other.
    let of_trials = run.pings.chunk_by(|a, b| a.trial == b.trial);
    let plans = of_trials.filter_map(|rows| Some((run.plan(&rows[0].trial)?, rows)));
    let mut delays: Vec<PingDelay> = plans.flat_map(|(trial, rows)| table::ping_delays(trial, rows)).collect();
    delays.retain(|d| chosen(run, &view.only, &d.trial, &d.broadcaster, &d.viewer));
    let frames: Vec<FrameRow> = chosen_frames(run, view).cloned().collect();
    let streaming = pictures::streaming_interval(&run.manifest, &frames);
    let chart = pictures::delay_chart(&subject(run, view), &delays, streaming, picture)
        .map_err(|e| without(e, run.pings.is_empty(), "pings.parquet", delays.is_empty() && !view.only.is_empty()))?;
    let points = Figures::default()
        .texts("trial", delays.iter().map(|d| d.trial.clone()))
        .texts("scheme", delays.iter().map(|d| d.point.scheme.to_string()))
        .counts("repetition", delays.iter().map(|d| u64::from(d.point.repetition)))
        .texts("broadcaster", delays.iter().map(|d| d.broadcaster.clone()))
        .texts("viewer", delays.iter().map(|d| d.viewer.clone()))
        .texts("via", delays.iter().map(|d| d.via.name().to_owned()))
        .numbers("time_s", delays.iter().map(|d| d.time_s))
        .numbers("delay_ms", delays.iter().map(|d| d.delay_ms));
    let caption = "The delay from broadcaster to viewer as pings see it: half of their round trips, along the way that the scheme's video takes."
        .to_owned();
    Ok(Plate { chart, caption, table: phases(&delays, streaming), points: Some(points) })
}

/// The picture of each frame's delay, over its birth.
pub(in crate::plot) fn frame_delay(run: &Loaded, view: &View, picture: &Picture) -> Result<Plate, PlotError> {
    let frames: Vec<FrameRow> = chosen_frames(run, view).cloned().collect();
    let streaming = pictures::streaming_interval(&run.manifest, &frames);
    let chart = pictures::frame_delay_chart(&subject(run, view), &frames, streaming, picture).map_err(|e| {
        without(e, run.frames.is_empty(), "frames.parquet", frames.is_empty() && !view.only.is_empty())
    })?;
    let points = Figures::default()
        .texts("trial", frames.iter().map(|f| f.trial.clone()))
        .texts("scheme", frames.iter().map(|f| f.point.scheme.to_string()))
        .counts("repetition", frames.iter().map(|f| u64::from(f.point.repetition)))
        .texts("stream", frames.iter().map(|f| f.stream.clone()))
        .texts("viewer", frames.iter().map(|f| f.viewer.clone()))
        .texts("via", frames.iter().map(|f| f.via.map(|via| via.name().to_owned())))
        .numbers("time_s", frames.iter().map(|f| f.time_s))
        .numbers("delay_ms", frames.iter().map(|f| f.delay_ms))
        .numbers("floor_ms", frames.iter().map(|f| f.floor_ms));
    let caption = "The delay of each frame from its birth to its arrival, over its birth, and the floor: the least that the network allows; strokes \
                   at the upper edge are frames that never arrived, strokes on the time axis what happened then by the plan."
        .to_owned();
    Ok(Plate { chart, caption, table: viewers(&frames), points: Some(points) })
}

fn without(error: PlotError, nothing: bool, table: &str, none_chosen: bool) -> PlotError {
    match error {
        PlotError::Empty { picture, .. } if nothing => {
            PlotError::Empty { picture, why: format!("the run has no {table}") }
        }
        PlotError::Empty { picture, .. } if none_chosen => {
            PlotError::Empty { picture, why: "nothing in the run meets the conditions of --where".to_owned() }
        }
        other => other,
    }
}

/// The words around a picture of what was chosen: warnings are of trials that are in it.
fn subject(run: &Loaded, view: &View) -> Subject {
    let viewed = |trial: &str, stream: &Stream| {
        stream.viewers.iter().any(|viewer| chosen(run, &view.only, trial, &stream.name, viewer))
    };
    Subject::of_trials(&run.manifest, |id| {
        let trial = run.plan(id);
        view.only.is_empty() || trial.is_some_and(|trial| trial.streams.iter().any(|stream| viewed(id, stream)))
    })
}

fn chosen_frames<'r>(run: &'r Loaded, view: &'r View) -> impl Iterator<Item = &'r FrameRow> {
    run.frames.iter().filter(move |f| view.only.is_empty() || chosen(run, &view.only, &f.trial, &f.stream, &f.viewer))
}

fn chosen(run: &Loaded, only: &[Condition], trial: &str, stream: &str, viewer: &str) -> bool {
    let Some(trial) = run.plan(trial) else { return only.is_empty() };
    only.iter().all(|condition| condition.holds(Asked { run, trial, stream, viewer }))
}

/// Before, during and after streaming, for each trial and viewer.
fn phases(delays: &[PingDelay], streaming: Option<(f64, f64)>) -> Figures {
    let phase = |time_s: f64| match streaming {
        None => (0, "all"),
        Some((begin, _)) if time_s < begin => (0, "before"),
        Some((_, end)) if time_s <= end => (1, "during"),
        Some(_) => (2, "after"),
    };
    let mut rows: BTreeMap<_, Vec<Option<f64>>> = BTreeMap::new();
    for d in delays {
        rows.entry((d.point.scheme, d.point.repetition, &d.trial, &d.viewer, phase(d.time_s)))
            .or_default()
            .push(d.delay_ms);
    }
    let answered = |values: &[Option<f64>]| -> Vec<f64> { values.iter().flatten().copied().collect() };
    #[allow(clippy::cast_precision_loss)]
    let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    Figures::default()
        .texts("trial", rows.keys().map(|(_, _, trial, ..)| (*trial).clone()))
        .texts("viewer", rows.keys().map(|(.., viewer, _)| (*viewer).clone()))
        .texts("streaming", rows.keys().map(|(.., (_, phase))| (*phase).to_owned()))
        .counts("pings", rows.values().map(|values| count(values.len())))
        .counts("lost", rows.values().map(|values| count(values.iter().filter(|v| v.is_none()).count())))
        .numbers("delay_mean_ms", rows.values().map(|values| mean(&answered(values))))
        .numbers("delay_max_ms", rows.values().map(|values| answered(values).into_iter().max_by(f64::total_cmp)))
}

/// Quantiles of delay and floor for each trial and viewer.
fn viewers(frames: &[FrameRow]) -> Figures {
    let mut rows: BTreeMap<_, Vec<&FrameRow>> = BTreeMap::new();
    for f in frames {
        rows.entry((f.point.scheme, f.point.repetition, &f.trial, &f.viewer)).or_default().push(f);
    }
    let at = |rows: &[&FrameRow], value: fn(&FrameRow) -> Option<f64>, p| {
        let mut values: Vec<f64> = rows.iter().filter_map(|row| value(row)).collect();
        values.sort_unstable_by(f64::total_cmp);
        quantile(&values, p)
    };
    let delay = |p| rows.values().map(move |rows| at(rows, |f| f.delay_ms, p));
    Figures::default()
        .texts("trial", rows.keys().map(|(_, _, trial, _)| (*trial).clone()))
        .texts("viewer", rows.keys().map(|(.., viewer)| (*viewer).clone()))
        .counts("frames", rows.values().map(|rows| count(rows.len())))
        .counts("missing", rows.values().map(|rows| count(rows.iter().filter(|f| f.delay_ms.is_none()).count())))
        .numbers("delay_p50_ms", delay(0.5))
        .numbers("delay_p95_ms", delay(0.95))
        .numbers("delay_max_ms", delay(1.0))
        .numbers(
            "floor_p50_ms",
            rows.values().map(|rows| at(rows, |f| f.floor_ms.filter(|_| f.arrival_ns.is_some()), 0.5)),
        )
}
