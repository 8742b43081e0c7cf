//! Stored runs in memory: what pictures are made from.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value as Json;

use super::{Family, PlotError};
use crate::plan::Trial;
use crate::store::{Manifest, RunDir};
use crate::table::{
    self, AudienceRow, BUFFERS_S, FrameRow, PingRow, PlayoutRow, StoredTables, SummaryRow, TableError, Unit,
    ViewerFacts, audiences, play, summarise,
};

/// A stored run: its manifest and those of its tables that the pictures asked for need.
#[derive(Debug)]
pub struct Loaded {
    /// Its folder.
    pub path: PathBuf,
    /// What was run.
    pub manifest: Manifest,
    /// `frames.parquet`; empty, here and below, if there is none.
    pub frames: Vec<FrameRow>,
    /// `pings.parquet`.
    pub pings: Vec<PingRow>,
    /// `summary.csv`; made from the frames if there is none.
    pub summary: Vec<SummaryRow>,
    /// `playout.csv`; made from the frames where an older livectl wrote none.
    pub playouts: Vec<PlayoutRow>,
    /// `audience.csv`; made from summary and frames where an older livectl wrote none, but for what only captures tell.
    pub audience: Vec<AudienceRow>,
    json: OnceLock<HashMap<String, Json>>,
    nodes: OnceLock<HashMap<String, String>>,
}

impl Loaded {
    /// Reads what the families given need of a run.
    ///
    /// # Errors
    /// [`PlotError::Store`] if it is no run, [`PlotError::Table`] if a table is damaged.
    pub fn read(path: &Path, families: &[Family]) -> Result<Loaded, PlotError> {
        let run = RunDir::open(path)?;
        let manifest = Manifest::load(&run)?;
        let tables = StoredTables::of(&run, &manifest);
        let pings = if families.contains(&Family::Delay) { tables.pings()?.unwrap_or_default() } else { vec![] };
        let frames = tables.frames()?.unwrap_or_default();
        if !families.iter().any(|family| family.compares()) {
            return Ok(Loaded { frames, pings, ..Loaded::without_tables(path, manifest) });
        }
        let summary = tables.summary()?.unwrap_or_default();
        let playouts = tables.playouts()?.unwrap_or_default();
        let audience = tables.audience()?.unwrap_or_default();
        Ok(Loaded::of_tables(path, manifest, frames, pings, summary, playouts, audience))
    }

    fn without_tables(path: &Path, manifest: Manifest) -> Loaded {
        Loaded {
            path: path.to_owned(),
            manifest,
            frames: Vec::new(),
            pings: Vec::new(),
            summary: Vec::new(),
            playouts: Vec::new(),
            audience: Vec::new(),
            json: OnceLock::new(),
            nodes: OnceLock::new(),
        }
    }

    /// A run whose tables were read one by one. An empty summary or playout table is made from the frames, and the audience's lines of trials that have
    /// none are made from both.
    #[must_use]
    pub fn of_tables(
        path: &Path,
        manifest: Manifest,
        frames: Vec<FrameRow>,
        pings: Vec<PingRow>,
        mut summary: Vec<SummaryRow>,
        mut playouts: Vec<PlayoutRow>,
        mut audience: Vec<AudienceRow>,
    ) -> Loaded {
        if summary.is_empty() {
            summary = summary_of(&manifest, &frames);
        }
        if playouts.is_empty() {
            playouts = playouts_of(&summary, &frames);
        }
        audience.extend(audience_of(&manifest, &audience, &summary, &frames));
        Loaded { frames, pings, summary, playouts, audience, ..Loaded::without_tables(path, manifest) }
    }

    /// A run that lies nowhere.
    #[cfg(test)]
    pub(super) fn of(manifest: Manifest, frames: Vec<FrameRow>) -> Loaded {
        let nowhere = Path::new("nowhere");
        Loaded::of_tables(nowhere, manifest, frames, Vec::new(), Vec::new(), Vec::new(), Vec::new())
    }

    /// As much of it as pictures of [audiences](Family::Audience) need: without frames, pings and what the fitness watch saw.
    #[must_use]
    pub fn of_audience(self) -> Loaded {
        let Loaded { path, mut manifest, summary, audience, .. } = self;
        manifest.trials.iter_mut().for_each(|record| record.fitness = Json::Null);
        Loaded { summary, audience, ..Loaded::without_tables(&path, manifest) }
    }

    /// A unit for each viewer of each stream in each trial.
    #[must_use]
    pub fn units(&self) -> Vec<Unit<'_>> {
        table::units(&self.summary, &self.frames, &self.playouts)
    }

    /// A trial's plan as `trial.json` has it.
    pub(super) fn plan_json(&self, trial: &str) -> Option<&Json> {
        let all = self.json.get_or_init(|| {
            let json = |trial: &Trial| Some((trial.id.clone(), serde_json::to_value(trial).ok()?));
            self.manifest.plan.trials.iter().filter_map(json).collect()
        });
        all.get(trial)
    }

    /// The machine that a trial ran on, if that is recorded.
    pub(super) fn node(&self, trial: &str) -> Option<&str> {
        let all = self.nodes.get_or_init(|| {
            let node = |record: &crate::store::TrialRecord| Some((record.id.clone(), record.node.clone()?));
            self.manifest.trials.iter().filter_map(node).collect()
        });
        all.get(trial).map(String::as_str)
    }
}

/// Reads runs, as many at a time as there are processors. What cannot be read is told beside its path.
#[must_use]
pub fn load(paths: &[PathBuf], families: &[Family]) -> (Vec<Loaded>, Vec<(PathBuf, PlotError)>) {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len());
    let work = || {
        let mut mine = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(n) else { return mine };
            mine.push((n, Loaded::read(path, families)));
        }
    };
    let mut all: Vec<(usize, Result<Loaded, PlotError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    all.sort_by_key(|(n, _)| *n);
    let (mut runs, mut failed) = (Vec::new(), Vec::new());
    for (n, outcome) in all {
        match outcome {
            Ok(run) => runs.push(run),
            Err(error) => failed.push((paths[n].clone(), error)),
        }
    }
    (runs, failed)
}

pub(super) fn if_there<T>(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<Vec<T>, TableError>,
) -> Result<Vec<T>, TableError> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}

/// The frames of each viewer of each stream in each trial; they follow each other.
fn viewers(frames: &[FrameRow]) -> impl Iterator<Item = &[FrameRow]> {
    frames.chunk_by(|a, b| (&a.viewer, &a.stream, &a.trial) == (&b.viewer, &b.stream, &b.trial))
}

fn summary_of(manifest: &Manifest, frames: &[FrameRow]) -> Vec<SummaryRow> {
    let rows = |rows: &[FrameRow]| -> Vec<SummaryRow> {
        let Some(record) = rows.first().and_then(|row| manifest.trial(&row.trial)) else { return Vec::new() };
        let facts = ViewerFacts {
            stream: rows[0].stream.clone(),
            viewer: rows[0].viewer.clone(),
            born: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            captured: true,
            ..ViewerFacts::default()
        };
        summarise(record, &[facts], rows)
    };
    viewers(frames).flat_map(rows).collect()
}

/// Those of the trials that `known` has none of.
fn audience_of(
    manifest: &Manifest,
    known: &[AudienceRow],
    summary: &[SummaryRow],
    frames: &[FrameRow],
) -> Vec<AudienceRow> {
    let known: HashSet<&str> = known.iter().map(|row| row.trial.as_str()).collect();
    // Rows of a trial follow each other.
    let frames: HashMap<&str, &[FrameRow]> =
        frames.chunk_by(|a, b| a.trial == b.trial).map(|rows| (rows[0].trial.as_str(), rows)).collect();
    let plans: HashMap<&str, &Trial> = manifest.plan.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
    let rows = |rows: &[SummaryRow]| -> Vec<AudienceRow> {
        let id = rows[0].trial.as_str();
        let Some((trial, record)) = plans.get(id).zip(manifest.trial(id)) else { return Vec::new() };
        audiences(record, trial, &[], rows, frames.get(id).copied().unwrap_or_default())
    };
    let trials = summary.chunk_by(|a, b| a.trial == b.trial).filter(|rows| !known.contains(rows[0].trial.as_str()));
    trials.flat_map(rows).collect()
}

/// Without the moment at which a player was started nobody knows its startup delay; the rest follows from the frames.
fn playouts_of(summary: &[SummaryRow], frames: &[FrameRow]) -> Vec<PlayoutRow> {
    let mut rows = Vec::new();
    for unit in table::units(summary, frames, &[]).iter().filter(|unit| !unit.frames.is_empty()) {
        let frames: Vec<&FrameRow> = unit.frames.iter().collect();
        #[allow(clippy::cast_precision_loss)]
        let milliseconds = |ns: i64| ns as f64 / 1e6;
        for buffer_s in BUFFERS_S {
            let played = play(&frames, buffer_s);
            rows.push(PlayoutRow {
                trial: unit.summary.trial.clone(),
                point: unit.summary.point.clone(),
                stream: unit.summary.stream.clone(),
                viewer: unit.summary.viewer.clone(),
                buffer_s,
                startup_delay_ms: None,
                stalls: played.map(|p| p.stalls),
                stalled_ms: played.map(|p| milliseconds(p.stalled_ns)),
                longest_stall_ms: played.map(|p| milliseconds(p.longest_ns)),
                continuity: played.map(|p| p.continuity),
            });
        }
    }
    rows
}
