//! Stored runs in memory: what pictures are made from.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value as Json;

use super::key::{Asked, Condition};
use super::{Family, PlotError, View, family, gallery};
use crate::plan::{ENGINE, Trial};
use crate::store::{self, Made, Manifest, RunDir, TrialRecord};
use crate::table::{
    self, AudienceRow, BUFFERS_S, Digests, FrameRow, PingRow, PlayoutRow, StoredTables, SummaryRow, TableError, Unit,
    ViewerFacts, audiences, play, summarise,
};

/// Trials of a sweep whose every frame is drawn over time.
pub(super) const MOST_OVER_TIME: usize = 24;

/// A stored run: its manifest and those of its tables that the pictures asked for need.
#[derive(Debug)]
pub struct Loaded {
    /// Folder of the run.
    pub path: PathBuf,
    /// The run's manifest: its recipe, plan, machine and trials.
    pub manifest: Manifest,
    /// `frames.parquet`; empty, here and below, if there is none.
    pub frames: Vec<FrameRow>,
    /// `pings.parquet`, as `frames`.
    pub pings: Vec<PingRow>,
    /// `summary.csv`; made from the frames if there is none.
    pub summary: Vec<SummaryRow>,
    /// `playout.csv`; made from the frames where an older livectl wrote none.
    pub playouts: Vec<PlayoutRow>,
    /// `audience.csv`; made from summary and frames where an older livectl wrote none, but for what only captures
    /// tell.
    pub audience: Vec<AudienceRow>,
    /// In place of the frames, of a sweep.
    pub digests: Option<Digests>,
    /// Its trials are those of a sweep.
    is_sweep: bool,
    json: OnceLock<HashMap<String, Json>>,
    nodes: OnceLock<HashMap<String, String>>,
    /// Where each trial is among the records, and among the plans.
    places: OnceLock<HashMap<String, Places>>,
}

/// Where a trial is among the records, and among the plans.
type Places = (Option<usize>, Option<usize>);

impl Loaded {
    /// Reads what the families given need of a run for that view. A sweep may have many trials. Of its frames no more
    /// is kept than the figures that are drawn; pictures over time, which have every frame in them, are of its first
    /// trials that the view means.
    ///
    /// # Errors
    /// [`PlotError::Store`] if it is no run, [`PlotError::Table`] if a table is damaged.
    pub fn read(path: &Path, families: &[Family], view: &View) -> Result<Loaded, PlotError> {
        let run = RunDir::open(path)?;
        let manifest = Manifest::load_brief(&run)?;
        let tables = StoredTables::of(&run, &manifest);
        let figures = family::frame_figures(families, view.metric.as_deref());
        let compares = families.iter().any(|family| family.compares());
        let over_time = families.iter().any(|family| !family.compares());
        if run.is_sweep() {
            let mut loaded = Loaded::without_tables(path, manifest);
            if over_time {
                let tables = loaded.over_time(&run, families, view);
                (loaded.frames, loaded.pings) =
                    (tables.frames()?.unwrap_or_default(), tables.pings()?.unwrap_or_default());
            }
            if compares {
                loaded.summary = tables.summary()?.unwrap_or_default();
            }
            if families.iter().any(|family| matches!(family, Family::Audience | Family::Offload)) {
                loaded.audience = tables.audience()?.unwrap_or_default();
            }
            if compares && family::needs_playouts(families, view.metric.as_deref()) {
                loaded.playouts = tables.playouts()?.unwrap_or_default();
            }
            if let Some(figures) = figures {
                loaded.digests = tables.digests(&figures)?;
            }
            return Ok(loaded);
        }
        let pings = if families.contains(&Family::Delay) { tables.pings()?.unwrap_or_default() } else { vec![] };
        if !compares {
            let frames = tables.frames()?.unwrap_or_default();
            return Ok(Loaded { frames, pings, ..Loaded::without_tables(path, manifest) });
        }
        let (summary, playouts, audience) = (tables.summary()?, tables.playouts()?, tables.audience()?);
        // What older livectls did not write is made from the frames.
        let whole = summary.is_some() && playouts.is_some() && audience.is_some();
        let frames = if over_time || figures.is_some() || !whole { tables.frames()? } else { None };
        let (frames, summary) = (frames.unwrap_or_default(), summary.unwrap_or_default());
        let (playouts, audience) = (playouts.unwrap_or_default(), audience.unwrap_or_default());
        Ok(Loaded::of_tables(path, manifest, frames, pings, summary, playouts, audience))
    }

    /// The tables of the trials whose every frame is drawn.
    pub(crate) fn over_time(&self, run: &RunDir, families: &[Family], view: &View) -> StoredTables {
        StoredTables::of_trials(run, self.few(families, view))
    }

    /// A run without its tables: whoever needs them reads them one by one.
    pub(crate) fn of_manifest(path: &Path, manifest: Manifest) -> Loaded {
        Loaded::without_tables(path, manifest)
    }

    /// The trials whose every frame is drawn. Of a sweep those are the first ones that the view means, or a picture
    /// would be one blot.
    fn few(&self, families: &[Family], view: &View) -> Vec<&str> {
        let meant = |trial: &&Trial| self.means(trial, view);
        let trials = || self.manifest.plan.trials.iter().filter(meant);
        let peers = families.iter().any(|family| family.of_trials());
        let with_peers = trials().filter(|trial| peers && trial.point.scheme.has_peers()).take(gallery::MOST_TRIALS);
        let mut known = HashSet::new();
        let apart = self.apart(view);
        let over_time = trials().filter(|trial| self.means(trial, &apart)).take(MOST_OVER_TIME);
        let few = over_time.chain(with_peers).map(|trial| trial.id.as_str());
        few.filter(|id| known.insert(*id)).collect()
    }

    /// How many trials that the view means are not in pictures over time.
    pub(super) fn not_over_time(&self, view: &View) -> usize {
        if !self.is_sweep {
            return 0;
        }
        let (trials, apart) = (self.manifest.plan.trials.iter(), self.apart(view));
        trials.filter(|trial| self.means(trial, &apart)).count().saturating_sub(MOST_OVER_TIME)
    }

    /// The view for pictures in which each frame is a point: where there are predicted trials beside measured ones, and
    /// nobody has said which are meant, only measured ones. They could not be told apart.
    pub(super) fn apart<'v>(&self, view: &'v View) -> Cow<'v, View> {
        let is_said = view.only.iter().any(|condition| condition.key().name() == ENGINE);
        if is_said || !matches!(self.manifest.made(), Made::Both { .. }) {
            return Cow::Borrowed(view);
        }
        let mut apart = view.clone();
        apart.only.push(Condition::measured());
        Cow::Owned(apart)
    }

    /// Whether the view means one of its viewers.
    pub(super) fn means(&self, trial: &Trial, view: &View) -> bool {
        let mut viewers =
            trial.streams.iter().flat_map(|s| s.viewers.iter().map(move |viewer| (s.name.as_str(), viewer)));
        view.only.is_empty()
            || viewers.any(|(stream, viewer)| {
                view.only.iter().all(|condition| condition.holds(Asked { run: self, trial, stream, viewer }))
            })
    }

    /// Whether all conditions hold for a viewer of a stream in a trial.
    pub(crate) fn meets(&self, only: &[Condition], trial: &str, stream: &str, viewer: &str) -> bool {
        let Some(trial) = self.plan(trial) else { return false };
        only.iter().all(|condition| condition.holds(Asked { run: self, trial, stream, viewer }))
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
            digests: None,
            is_sweep: RunDir::open(path).is_ok_and(|run| run.is_sweep()),
            json: OnceLock::new(),
            nodes: OnceLock::new(),
            places: OnceLock::new(),
        }
    }

    /// A run whose tables were read one by one. An empty summary or playout table is made from the frames, and the
    /// audience's lines of trials that have none are made from both.
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

    /// A run of these frames that lies in no folder.
    #[cfg(test)]
    pub(super) fn of(manifest: Manifest, frames: Vec<FrameRow>) -> Loaded {
        let nowhere = Path::new("nowhere");
        Loaded::of_tables(nowhere, manifest, frames, Vec::new(), Vec::new(), Vec::new(), Vec::new())
    }

    /// As much of it as pictures of [audiences](Family::Audience) need: without frames, pings and what the fitness
    /// watch saw.
    #[must_use]
    pub fn of_audience(self) -> Loaded {
        let Loaded { path, mut manifest, summary, audience, .. } = self;
        manifest.trials.iter_mut().for_each(|record| record.fitness = Json::Null);
        Loaded { summary, audience, ..Loaded::without_tables(&path, manifest) }
    }

    /// A unit for each viewer of each stream in each trial.
    #[must_use]
    pub fn units(&self) -> Vec<Unit<'_>> {
        match &self.digests {
            Some(digests) => table::units_of_digests(&self.summary, digests, &self.playouts),
            None if self.is_sweep => table::units(&self.summary, &[], &self.playouts),
            None => table::units(&self.summary, &self.frames, &self.playouts),
        }
    }

    fn place(&self, trial: &str) -> (Option<usize>, Option<usize>) {
        let places = self.places.get_or_init(|| {
            let mut places: HashMap<String, Places> = HashMap::new();
            for (place, record) in self.manifest.trials.iter().enumerate() {
                places.entry(record.id.clone()).or_default().0.get_or_insert(place);
            }
            for (place, trial) in self.manifest.plan.trials.iter().enumerate() {
                places.entry(trial.id.clone()).or_default().1.get_or_insert(place);
            }
            places
        });
        places.get(trial).copied().unwrap_or_default()
    }

    /// The record of a trial, found by its place among them.
    pub(super) fn record(&self, trial: &str) -> Option<&TrialRecord> {
        self.place(trial).0.and_then(|place| self.manifest.trials.get(place))
    }

    /// The plan of a trial, without a search.
    pub(super) fn plan(&self, trial: &str) -> Option<&Trial> {
        self.place(trial).1.and_then(|place| self.manifest.plan.trials.get(place))
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
pub fn load(paths: &[PathBuf], families: &[Family], view: &View) -> (Vec<Loaded>, Vec<(PathBuf, PlotError)>) {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len());
    let work = || {
        let mut mine = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(n) else { return mine };
            mine.push((n, Loaded::read(path, families, view)));
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

/// Takes the trials that an earlier run has already out of what is compared, and says of which runs. Pictures of single
/// runs still show them.
pub fn count_once(runs: &mut [Loaded]) -> Vec<String> {
    let repeated = store::repeated(runs.iter().map(|run| &run.manifest));
    let again = runs.iter_mut().zip(repeated).filter(|(_, trials)| !trials.is_empty());
    let without = again.map(|(run, trials)| {
        run.summary.retain(|row| !trials.contains(&row.trial));
        run.audience.retain(|row| !trials.contains(&row.trial));
        counted_once(&run.path, trials.len())
    });
    without.collect()
}

/// What is said of a run that has trials of another.
pub(crate) fn counted_once(path: &Path, trials: usize) -> String {
    let path = path.display();
    format!(
        "{path}: {trials} of its trials are in another of these runs, too (copied, or predicted again); counted once"
    )
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
    for unit in table::units(summary, frames, &[]) {
        let table::Frames::Rows(frames @ [_, ..]) = unit.frames else { continue };
        let frames: Vec<&FrameRow> = frames.iter().collect();
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
