//! What [`trace`](crate::trace) read, as rows: the one place that knows both.

use super::rows::{FrameRow, PingRow, SummaryRow, Via};
use super::summary::{ViewerFacts, mark_late, summarise};
use super::{TableError, ping_rows, write_trial};
use crate::store::{TrialDir, TrialRecord};
use crate::trace::{self, FrameDelay, TrialTrace, ViewerTrace, ping};

/// The tables of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// One for each frame of each stream at each viewer whose packets were captured.
    pub frames: Vec<FrameRow>,
    /// One for each ping.
    pub pings: Vec<PingRow>,
    /// One for each viewer of each stream.
    pub summary: Vec<SummaryRow>,
    /// What is missing or cannot be read, for people; empty: everything was there.
    pub problems: Vec<String>,
}

/// Computes a trial's tables from the files in its folder. `player_started` tells when a viewer's player was started, in nanoseconds of CLOCK_REALTIME.
///
/// What is missing or damaged is named in [`Analysis::problems`], and the rest is computed without it.
///
/// # Errors
/// [`TableError::Trace`] if the folder has no plan.
pub fn analyse(
    trial: &TrialDir,
    record: &TrialRecord,
    player_started: impl Fn(&str) -> Option<i64>,
) -> Result<Analysis, TableError> {
    let trace = trace::read_trial(trial.path())?;
    let mut problems = trace.problems.clone();
    let zero_ns = record.zero_ns.or_else(|| planned_zero_ns(&trace));
    let mut pings = Vec::new();
    for train in &trace.trial.pings {
        match ping::read(&trial.ping(&train.from, &train.to)) {
            Ok(log) => {
                let name = format!("ping/{}-{}.txt", train.from, train.to);
                if let Some(first) = log.unreadable.first() {
                    let count = log.unreadable.len();
                    problems.push(format!("{name}: {count} lines cannot be read; the first is {first:?}"));
                }
                pings.extend(ping_rows(&trace.trial, train, zero_ns, &log));
            }
            Err(e) => problems.push(e.to_string()),
        }
    }
    let mut frames = frame_rows(&trace, zero_ns);
    mark_late(&mut frames);
    let viewers: Vec<ViewerFacts> = trace.viewers.iter().map(|v| viewer_facts(&trace, v, &player_started)).collect();
    let summary = summarise(record, &viewers, &frames);
    Ok(Analysis { frames, pings, summary, problems })
}

impl Analysis {
    /// Writes the tables into the trial's folder, each whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Store`].
    pub fn write(&self, trial: &TrialDir) -> Result<(), TableError> {
        write_trial(trial, &self.frames, &self.pings, &self.summary)
    }
}

/// A viewer of whom nothing was captured has no rows: there, "did not arrive" would be a guess.
fn frame_rows(trace: &TrialTrace, zero_ns: Option<i64>) -> Vec<FrameRow> {
    let captured = trace.viewers.iter().filter(|v| is_captured(v));
    captured.flat_map(|viewer| viewer.frames.iter().map(|frame| frame_row(trace, viewer, frame, zero_ns))).collect()
}

fn frame_row(trace: &TrialTrace, viewer: &ViewerTrace, frame: &FrameDelay, zero_ns: Option<i64>) -> FrameRow {
    FrameRow {
        trial: trace.trial.id.clone(),
        scheme: trace.trial.scheme,
        repetition: trace.trial.repetition,
        stream: viewer.stream.clone(),
        viewer: viewer.viewer.clone(),
        index: frame.index,
        timestamp_ms: frame.timestamp_ms,
        size_bytes: frame.size,
        keyframe: frame.keyframe,
        id: frame.id.to_string(),
        birth_ns: frame.birth_ns,
        arrival_ns: frame.arrival.map(|a| a.time_ns),
        via: frame.arrival.map(|a| match a.via {
            trace::Via::Cdn => Via::Cdn,
            trace::Via::Peer(_) => Via::Peer,
        }),
        copies: frame.copies,
        delay_ms: frame.delay_ns().map(milliseconds),
        floor_ms: frame.floor.map(|floor| floor.as_secs_f64() * 1e3),
        excess_ms: frame.excess_ns().map(milliseconds),
        time_s: milliseconds(frame.birth_ns.saturating_sub(zero_ns.unwrap_or(frame.birth_ns))) / 1e3,
        late: false,
    }
}

fn viewer_facts(
    trace: &TrialTrace,
    viewer: &ViewerTrace,
    player_started: &impl Fn(&str) -> Option<i64>,
) -> ViewerFacts {
    let births = trace.births.iter().find(|b| b.stream == viewer.stream).and_then(|b| b.births.as_ref());
    ViewerFacts {
        stream: viewer.stream.clone(),
        viewer: viewer.viewer.clone(),
        born: u32::try_from(births.map_or(0, |b| b.frames.len())).unwrap_or(u32::MAX),
        captured: is_captured(viewer),
        started_ns: player_started(&viewer.viewer),
        cdn_bytes: viewer.cdn_bytes,
        peer_bytes: viewer.peer_bytes,
    }
}

fn is_captured(viewer: &ViewerTrace) -> bool {
    viewer.cdn_bytes.is_some()
}

/// Where the record has no zero, the first birth is taken to be when the plan has it.
fn planned_zero_ns(trace: &TrialTrace) -> Option<i64> {
    let first = trace.births.iter().filter_map(|b| b.births.as_ref()?.frames.first()).map(|b| b.birth_ns).min()?;
    first.checked_sub(i64::try_from(trace.trial.timeline.broadcast_at.as_nanos()).ok()?)
}

#[allow(clippy::cast_precision_loss)]
fn milliseconds(ns: i64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::table::tests::trial;
    use crate::trace::{Births, FirstArrival, StreamBirths};
    use livectl_wire::birth::Register;
    use livectl_wire::flv::TagKind;
    use std::time::Duration;

    /// Two frames born at 20 s of CLOCK_REALTIME; the first came from a peer, the second never.
    fn trace() -> TrialTrace {
        let mut register = Register::default();
        let frames: Vec<_> = (0_u8..2)
            .map(|n| {
                register.birth(
                    TagKind::Video,
                    40 * u32::from(n),
                    &[0x12, n],
                    20_000_000_000 + 40_000_000 * i64::from(n),
                )
            })
            .collect();
        let delay = |n: usize, arrival| FrameDelay {
            index: frames[n].index,
            timestamp_ms: frames[n].timestamp_ms,
            size: frames[n].size,
            keyframe: frames[n].keyframe,
            id: frames[n].id,
            birth_ns: frames[n].birth_ns,
            arrival,
            copies: u32::from(arrival.is_some()),
            floor: Some(Duration::from_micros(210_500)),
        };
        let via = trace::Via::Peer("10.0.0.1:2000".parse().unwrap());
        let viewer = ViewerTrace {
            stream: "hb".into(),
            viewer: "hv1".into(),
            frames: vec![
                delay(0, Some(FirstArrival { time_ns: 20_215_250_001, first_byte_ns: 20_200_000_000, via })),
                delay(1, None),
            ],
            cdn_bytes: Some(0),
            peer_bytes: Some(4),
            repeated_bytes: Some(0),
            foreign: 0,
            cdn_dump: None,
            peer_dump: None,
        };
        let births = StreamBirths { stream: "hb".into(), births: Some(Births { frames, ..Births::default() }) };
        TrialTrace {
            trial: trial("bypass-1", &["hv1"]),
            births: vec![births],
            viewers: vec![viewer],
            problems: Vec::new(),
        }
    }

    #[test]
    fn frames_become_rows_in_milliseconds_and_seconds() {
        let rows = frame_rows(&trace(), Some(5_000_000_000));
        let first = &rows[0];
        assert_eq!((first.trial.as_str(), first.stream.as_str(), first.viewer.as_str()), ("bypass-1", "hb", "hv1"));
        assert_eq!((first.delay_ms, first.floor_ms), (Some(215.250_001), Some(210.5)));
        assert_eq!((first.excess_ms, first.via, first.time_s), (Some(4.750_001), Some(Via::Peer), 15.0));
        assert_eq!((first.keyframe, first.id.len(), first.arrival_ns), (true, 32, Some(20_215_250_001)));
        let lost = &rows[1];
        assert_eq!(
            (lost.index, lost.arrival_ns, lost.delay_ms, lost.excess_ms, lost.via),
            (1, None, None, None, None)
        );
    }

    #[test]
    fn without_a_zero_the_plan_says_when_the_first_frame_was_born() {
        assert_eq!(planned_zero_ns(&trace()), Some(5_000_000_000));
    }

    #[test]
    fn a_viewer_not_captured_has_facts_but_no_rows() {
        let mut trace = trace();
        let facts = viewer_facts(&trace, &trace.viewers[0], &|viewer: &str| (viewer == "hv1").then_some(7));
        assert_eq!((facts.born, facts.captured, facts.started_ns, facts.peer_bytes), (2, true, Some(7), Some(4)));
        trace.viewers[0].cdn_bytes = None;
        assert_eq!(frame_rows(&trace, None), []);
        assert!(!viewer_facts(&trace, &trace.viewers[0], &|_: &str| None).captured);
    }
}
