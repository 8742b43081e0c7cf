//! The tables of a stored run; or of a sweep, where the tables of the trials are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::TableError;
use super::digest::{Digests, FrameFigure};
use super::effect::Effects;
use super::estimate::{estimates, units_of_digests};
use super::files::{
    read_audience, read_frames, read_pings, read_playouts, read_reattachments, read_summary, read_trunks,
    write_audience, write_effects, write_estimates, write_models, write_summary,
};
use super::model::{Side, models_of};
use super::rows::{
    AudienceRow, EstimateRow, FrameRow, ModelRow, PingRow, PlayoutRow, ReattachmentRow, SummaryRow, TrunkRow,
};
use crate::parallel;
use crate::plan::Point;
use crate::store::{FileRecord, Manifest, RunDir, TrialDir, TrialRecord};

/// The small tables of a whole sweep. Frames are looked at a group of repetitions at a time, so that memory does not
/// grow with the number of points.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SweepTables {
    /// A row for each trial and viewer.
    pub summary: Vec<SummaryRow>,
    /// A row for each trial and stream.
    pub audience: Vec<AudienceRow>,
    /// A row for each figure of each point and viewer.
    pub estimates: Vec<EstimateRow>,
    /// Which parameter moves the excess how much.
    pub effects: Effects,
    /// What the model foretold, where there are predicted trials beside measured ones.
    pub models: Vec<ModelRow>,
}

impl SweepTables {
    /// Those of these trials, scheme by scheme and point by point.
    ///
    /// # Errors
    /// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
    pub fn of<'a>(
        run: &RunDir,
        trials: impl IntoIterator<Item = (&'a str, &'a Point)>,
    ) -> Result<SweepTables, TableError> {
        let mut groups: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (id, point) in trials {
            groups.entry(point.group()).or_default().push(id);
        }
        let groups: Vec<Vec<&str>> = groups.into_values().collect();
        let of_group = |ids: &Vec<&str>| -> Result<_, TableError> {
            let (mut summary, mut audience, mut playouts) = (Vec::new(), Vec::new(), Vec::new());
            let mut digests = Digests::default();
            for trial in ids.iter().map(|id| run.trial(id)) {
                let stored = of_trial(&trial)?;
                summary.extend(as_stored(&trial.summary(), &stored, read_summary)?.unwrap_or_default());
                audience.extend(as_stored(&trial.audience(), &stored, read_audience)?.unwrap_or_default());
                playouts.extend(as_stored(&trial.playouts(), &stored, read_playouts)?.unwrap_or_default());
                let read = |path: &Path| Digests::read(path, &FrameFigure::ESTIMATED);
                digests.extend(as_stored(&trial.frames(), &stored, read)?.unwrap_or_default(), |trial| trial);
            }
            let units = units_of_digests(&summary, &digests, &playouts);
            let (estimates, side) = (estimates(&units), Side::of(&units));
            Ok((summary, audience, estimates, side))
        };
        let (mut all, mut sides) = (SweepTables::default(), Vec::new());
        for tables in parallel::map(&groups, of_group) {
            let (summary, audience, estimates, side) = tables?;
            sides.extend(side);
            all.summary.extend(summary);
            all.audience.extend(audience);
            all.estimates.extend(estimates);
        }
        all.effects = Effects::of(&all.summary);
        all.models = models_of(sides);
        Ok(all)
    }

    /// Writes them beside the trials, for people, each whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Store`].
    pub fn write(&self, run: &RunDir) -> Result<(), TableError> {
        write_summary(&run.summary(), &self.summary)?;
        write_audience(&run.audience(), &self.audience)?;
        write_estimates(&run.estimates(), &self.estimates)?;
        write_effects(&run.effects(), &self.effects.rows)?;
        write_models(&run.models(), &self.models)
    }
}

/// Where the tables of a run are. A run has tables of all its trials; of a sweep, which may still run and has many
/// trials, they are put together from those of its trials each time, in its order.
#[derive(Debug)]
pub struct StoredTables {
    run: RunDir,
    /// The run's own tables, as they were stored.
    files: Files,
    /// The folders of the trials to read; of a run that is no sweep they are not looked at.
    trials: Vec<TrialDir>,
}

impl StoredTables {
    /// The tables of a run; of a sweep, those of all trials in its manifest.
    #[must_use]
    pub fn of(run: &RunDir, manifest: &Manifest) -> StoredTables {
        let trials = manifest.trials.iter().filter(|_| run.is_sweep()).map(|record| run.trial(&record.id));
        StoredTables { run: run.clone(), files: manifest.files.clone(), trials: trials.collect() }
    }

    /// Those of some trials of a sweep; a run has its tables whole.
    #[must_use]
    pub fn of_trials<'a>(run: &RunDir, trials: impl IntoIterator<Item = &'a str>) -> StoredTables {
        StoredTables {
            run: run.clone(),
            files: Files::new(),
            trials: trials.into_iter().map(|id| run.trial(id)).collect(),
        }
    }

    /// Reads `frames.parquet`, and keeps no more of it than these figures.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn digests(&self, figures: &[FrameFigure]) -> Result<Option<Digests>, TableError> {
        let read = |path: &Path| Digests::read(path, figures).map(|digests| vec![digests]);
        let parts = self.read(RunDir::frames, TrialDir::frames, read)?;
        Ok(parts.map(|parts| {
            let mut all = Digests::default();
            parts.into_iter().for_each(|part| all.extend(part, |trial| trial));
            all
        }))
    }

    /// Reads `frames.parquet`. `None`, here and below: there is none.
    ///
    /// # Errors
    /// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`]; here and below.
    pub fn frames(&self) -> Result<Option<Vec<FrameRow>>, TableError> {
        self.read(RunDir::frames, TrialDir::frames, read_frames)
    }

    /// Reads `pings.parquet`.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn pings(&self) -> Result<Option<Vec<PingRow>>, TableError> {
        self.read(RunDir::pings, TrialDir::pings, read_pings)
    }

    /// Reads `summary.csv`.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn summary(&self) -> Result<Option<Vec<SummaryRow>>, TableError> {
        self.read(RunDir::summary, TrialDir::summary, read_summary)
    }

    /// Reads `playout.csv`.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn playouts(&self) -> Result<Option<Vec<PlayoutRow>>, TableError> {
        self.read(RunDir::playouts, TrialDir::playouts, read_playouts)
    }

    /// Reads `audience.csv`.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn audience(&self) -> Result<Option<Vec<AudienceRow>>, TableError> {
        self.read(RunDir::audience, TrialDir::audience, read_audience)
    }

    /// Reads `reattachments.parquet`.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn reattachments(&self) -> Result<Option<Vec<ReattachmentRow>>, TableError> {
        self.read(RunDir::reattachments, TrialDir::reattachments, read_reattachments)
    }

    /// Reads `trunks.csv`.
    ///
    /// # Errors
    /// As [`StoredTables::frames`].
    pub fn trunks(&self) -> Result<Option<Vec<TrunkRow>>, TableError> {
        self.read(RunDir::trunks, TrialDir::trunks, read_trunks)
    }

    fn read<T: Send>(
        &self,
        whole: impl Fn(&RunDir) -> PathBuf,
        part: impl Fn(&TrialDir) -> PathBuf + Sync,
        read: impl Fn(&Path) -> Result<Vec<T>, TableError> + Sync,
    ) -> Result<Option<Vec<T>>, TableError> {
        if !self.run.is_sweep() {
            return as_stored(&whole(&self.run), &self.files, &read);
        }
        let part_of = |trial: &TrialDir| as_stored(&part(trial), &of_trial(trial)?, &read);
        let mut all: Option<Vec<T>> = None;
        for rows in parallel::map(&self.trials, part_of) {
            if let Some(rows) = rows? {
                all.get_or_insert_default().extend(rows);
            }
        }
        Ok(all)
    }
}

/// Files by their names, as they were stored.
pub(super) type Files = BTreeMap<String, FileRecord>;

/// The files of a trial as its record has them; none if there is no record.
fn of_trial(trial: &TrialDir) -> Result<Files, TableError> {
    Ok(TrialRecord::load(trial)?.map(|record| record.files).unwrap_or_default())
}

/// Reads a table if it is there, and what was stored: rows that are missing would make a figure wrong, and nobody would know.
pub(super) fn as_stored<T>(
    path: &Path,
    stored: &Files,
    read: impl Fn(&Path) -> Result<T, TableError>,
) -> Result<Option<T>, TableError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(stored) = stored.get(&name) else { return path.exists().then(|| read(path)).transpose() };
    let damaged = |why: String| Err(TableError::Damaged { path: path.to_owned(), why });
    if !path.exists() {
        return damaged("it was stored and is gone".to_owned());
    }
    match stored.altered(path) {
        Some(why) => damaged(why),
        None => read(path).map(Some),
    }
}
