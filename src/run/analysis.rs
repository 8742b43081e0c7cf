//! One trial's files become its tables, and the run's tables are made anew.

use std::collections::BTreeMap;

use crate::plan::Trial;
use crate::store::{TrialDir, TrialRecord};
use crate::table::{self, FrameRow, TableError, ViewerFacts};
use crate::trace::{self, DumpCheck, ViewerTrace};

/// Viewer → when its player was started, in nanoseconds of CLOCK_REALTIME.
pub type Players = BTreeMap<String, i64>;

/// Reads what a trial left, writes its tables, and returns what a reader should know: what could not be read, and whether
/// players wrote what the encoder emitted.
///
/// # Errors
/// [`TableError`] when tables cannot be written.
pub fn trial(
    dir: &TrialDir,
    trial: &Trial,
    record: &TrialRecord,
    players: &Players,
) -> Result<Vec<String>, TableError> {
    let mut problems = Vec::new();
    let (mut frames, mut viewers) = (Vec::new(), Vec::new());
    match trace::read_trial(dir.path()) {
        Ok(found) => {
            problems.extend(found.problems);
            for viewer in &found.viewers {
                frames.extend(rows(record, viewer));
                viewers.push(facts(viewer, players));
                problems.extend(dump_problems(viewer));
            }
        }
        Err(error) => problems.push(error.to_string()),
    }
    table::mark_late(&mut frames);

    let mut pings = Vec::new();
    for train in &trial.pings {
        match trace::ping::read(&dir.ping(&train.from, &train.to)) {
            Ok(log) => pings.extend(table::ping_rows(trial, train, record.zero_ns, &log)),
            Err(error) => problems.push(error.to_string()),
        }
    }
    let summary = table::summarise(record, &viewers, &frames);
    table::write_trial(dir, &frames, &pings, &summary)?;
    Ok(problems)
}

fn rows(record: &TrialRecord, viewer: &ViewerTrace) -> Vec<FrameRow> {
    let zero = record.zero_ns;
    viewer
        .frames
        .iter()
        .map(|frame| FrameRow {
            trial: record.id.clone(),
            scheme: record.scheme,
            repetition: record.repetition,
            stream: viewer.stream.clone(),
            viewer: viewer.viewer.clone(),
            index: u32::try_from(frame.index).unwrap_or(u32::MAX),
            timestamp_ms: frame.timestamp_ms,
            size_bytes: frame.size,
            keyframe: frame.keyframe,
            id: frame.id.to_string(),
            birth_ns: frame.birth_ns,
            arrival_ns: frame.arrival.as_ref().map(|a| a.time_ns),
            via: frame.arrival.as_ref().map(|a| match a.via {
                trace::Via::Cdn => table::Via::Cdn,
                trace::Via::Peer(_) => table::Via::Peer,
            }),
            copies: frame.copies,
            delay_ms: frame.delay_ns().map(ms),
            floor_ms: frame.floor.map(|floor| floor.as_secs_f64() * 1e3),
            excess_ms: frame.excess_ns().map(ms),
            // Without a timeline, time counts from the first birth.
            time_s: ms(frame.birth_ns - zero.or(viewer.frames.first().map(|f| f.birth_ns)).unwrap_or(0)) / 1e3,
            late: false,
        })
        .collect()
}

fn facts(viewer: &ViewerTrace, players: &Players) -> ViewerFacts {
    ViewerFacts {
        stream: viewer.stream.clone(),
        viewer: viewer.viewer.clone(),
        started_ns: players.get(&viewer.viewer).copied(),
        cdn_bytes: viewer.cdn_bytes,
        peer_bytes: viewer.peer_bytes,
    }
}

#[allow(clippy::cast_precision_loss)]
fn ms(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}

/// What the players wrote, against what the encoder emitted.
fn dump_problems(viewer: &ViewerTrace) -> Vec<String> {
    let mut problems = Vec::new();
    for (what, dump) in [("CDN", &viewer.cdn_dump), ("peer", &viewer.peer_dump)] {
        let Some(DumpCheck { foreign, problem, .. }) = dump else { continue };
        if *foreign > 0 {
            let name = &viewer.viewer;
            problems.push(format!("{name}: the {what} dump holds {foreign} payloads that the encoder never emitted"));
        }
        problems.extend(problem.iter().map(|p| format!("{}: the {what} dump: {p}", viewer.viewer)));
    }
    problems
}
