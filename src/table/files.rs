//! Writes rows as Parquet and CSV and reads them again, through polars.

use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::SerWriter;
use polars_io::csv::write::CsvWriter;
use polars_io::parquet::write::ParquetWriter;

use super::TableError;
use super::broadcasts::broadcasts_text;
use super::estimate::{estimates, units};
use super::field::{Row, Table};
use super::rows::{
    AudienceRow, BroadcastRow, CrowdRow, EffectRow, EstimateRow, FrameRow, ModelRow, PingRow, PlayoutRow,
    ReattachmentRow, ShownRow, SummaryRow, TrunkRow,
};
use super::spells::reattachments_text;
use super::text::{audience_text, crowds_text, estimates_text, screens_text, summary_text};
use super::trunks::trunks_text;
use crate::store::{RunDir, StoreError, TrialDir, write_atomic};

/// Writes the tables of one trial into its folder, each whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_trial(
    trial: &TrialDir,
    frames: &[FrameRow],
    pings: &[PingRow],
    summary: &[SummaryRow],
    playouts: &[PlayoutRow],
    audience: &[AudienceRow],
) -> Result<(), TableError> {
    write_frames(&trial.frames(), frames)?;
    write_pings(&trial.pings(), pings)?;
    write_playouts(&trial.playouts(), playouts)?;
    write_audience(&trial.audience(), audience)?;
    write_summary(&trial.summary(), summary)
}

/// The tables of a run, each as rows; those of all its trials one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tables {
    /// `frames.parquet`: a row for each frame and viewer.
    pub frames: Vec<FrameRow>,
    /// `pings.parquet`: a row for each ping and each further answer.
    pub pings: Vec<PingRow>,
    /// `playout.csv`: a row for each viewer and buffer.
    pub playouts: Vec<PlayoutRow>,
    /// `audience.csv`: a row for each stream.
    pub audience: Vec<AudienceRow>,
    /// `reattachments.parquet`: a row for each time that a viewer's source went.
    pub reattachments: Vec<ReattachmentRow>,
    /// `trunks.csv`: a row for each direction of each link between switches; empty on one switch.
    pub trunks: Vec<TrunkRow>,
    /// `shown.parquet`: a row for each frame and viewer with a screen.
    pub shown: Vec<ShownRow>,
    /// `broadcasts.csv`: a row for each stream; empty if ffmpeg makes them all.
    pub broadcasts: Vec<BroadcastRow>,
    /// `crowds.csv`: a row for each trial predicted for a crowd.
    pub crowds: Vec<CrowdRow>,
    /// `summary.csv`: a row for each viewer of each stream.
    pub summary: Vec<SummaryRow>,
    /// `estimates.csv`: a row for each figure over the repetitions.
    pub estimates: Vec<EstimateRow>,
}

impl Tables {
    /// What people are told at the end of a run: a text for each table that has something to tell, with a blank line
    /// between.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let first = Some(summary_text(&self.summary, width));
        let texts = [
            crowds_text(&self.crowds, width),
            first,
            screens_text(&self.summary, width),
            audience_text(&self.audience, width),
            trunks_text(&self.trunks),
            broadcasts_text(&self.broadcasts),
            reattachments_text(&self.reattachments),
            estimates_text(&self.estimates),
        ];
        texts.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// Puts those of its trials together, in the order given. Trials without tables yet are left out.
    ///
    /// # Errors
    /// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
    pub fn of_trials<'a>(run: &RunDir, trials: impl IntoIterator<Item = &'a str>) -> Result<Tables, TableError> {
        let trials: Vec<(&str, TrialDir)> = trials.into_iter().map(|id| (id, run.trial(id))).collect();
        let mut tables = Tables {
            frames: concatenated(&trials, TrialDir::frames, &run.frames(), read_frames, |row| &row.trial)?,
            pings: concatenated(&trials, TrialDir::pings, &run.pings(), read_pings, |row| &row.trial)?,
            playouts: concatenated(&trials, TrialDir::playouts, &run.playouts(), read_playouts, |row| &row.trial)?,
            audience: concatenated(&trials, TrialDir::audience, &run.audience(), read_audience, |row| &row.trial)?,
            reattachments: concatenated(
                &trials,
                TrialDir::reattachments,
                &run.reattachments(),
                read_reattachments,
                |row| &row.trial,
            )?,
            trunks: concatenated(&trials, TrialDir::trunks, &run.trunks(), read_trunks, |row| &row.trial)?,
            shown: concatenated(&trials, TrialDir::shown, &run.shown(), read_shown, |row| &row.trial)?,
            broadcasts: concatenated(&trials, TrialDir::broadcasts, &run.broadcasts(), read_broadcasts, |row| {
                &row.trial
            })?,
            crowds: concatenated(&trials, TrialDir::crowds, &run.crowds(), read_crowds, |row| &row.trial)?,
            summary: concatenated(&trials, TrialDir::summary, &run.summary(), read_summary, |row| &row.trial)?,
            estimates: Vec::new(),
        };
        tables.estimates = estimates(&units(&tables.summary, &tables.frames, &tables.playouts));
        Ok(tables)
    }

    /// Writes them into the run's folder, each whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Store`].
    pub fn write(&self, run: &RunDir) -> Result<(), TableError> {
        write_frames(&run.frames(), &self.frames)?;
        write_pings(&run.pings(), &self.pings)?;
        write_playouts(&run.playouts(), &self.playouts)?;
        write_audience(&run.audience(), &self.audience)?;
        write_estimates(&run.estimates(), &self.estimates)?;
        write_if_any(&run.reattachments(), &self.reattachments)?;
        write_trunks(&run.trunks(), &self.trunks)?;
        write_shown(&run.shown(), &self.shown)?;
        write_broadcasts(&run.broadcasts(), &self.broadcasts)?;
        write_crowds(&run.crowds(), &self.crowds)?;
        write_summary(&run.summary(), &self.summary)
    }
}

/// Makes the run's tables from those of its trials, in the order given, and writes them. Trials without tables yet
/// are left out; of those whose tables are gone, the rows that the run's tables had stay.
///
/// # Errors
/// Any [`TableError`]; a table that could not be made again is as it was before.
pub fn gather<'a>(run: &RunDir, trials: impl IntoIterator<Item = &'a str>) -> Result<Tables, TableError> {
    let tables = Tables::of_trials(run, trials)?;
    tables.write(run)?;
    Ok(tables)
}

/// The rows of all trials. Those of a trial without the table are taken from `whole`, the run's own: a trial's folder
/// may have been deleted to save space.
fn concatenated<T: Clone>(
    trials: &[(&str, TrialDir)],
    of: impl Fn(&TrialDir) -> PathBuf,
    whole: &Path,
    read: impl Fn(&Path) -> Result<Vec<T>, TableError>,
    trial_of: impl Fn(&T) -> &String,
) -> Result<Vec<T>, TableError> {
    let mut all = Vec::new();
    let mut stored: Option<Vec<T>> = None;
    for (id, trial) in trials {
        let file = of(trial);
        if file.exists() {
            all.extend(read(&file)?);
            continue;
        }
        let stored = match &mut stored {
            Some(stored) => stored,
            none if whole.exists() => none.insert(read(whole)?),
            none => none.insert(Vec::new()),
        };
        all.extend(stored.iter().filter(|row| trial_of(row) == id).cloned());
    }
    Ok(all)
}

/// Writes `frames.parquet` (zstd), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_frames(path: &Path, rows: &[FrameRow]) -> Result<(), TableError> {
    write_parquet(path, rows.len(), FrameRow::columns(rows))
}

/// Reads what [`write_frames`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_frames(path: &Path) -> Result<Vec<FrameRow>, TableError> {
    FrameRow::read(&Table::parquet(path)?)
}

/// Writes `pings.parquet` (zstd), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_pings(path: &Path, rows: &[PingRow]) -> Result<(), TableError> {
    write_parquet(path, rows.len(), PingRow::columns(rows))
}

/// Reads what [`write_pings`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_pings(path: &Path) -> Result<Vec<PingRow>, TableError> {
    PingRow::read(&Table::parquet(path)?)
}

/// Writes `summary.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_summary(path: &Path, rows: &[SummaryRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), SummaryRow::columns(rows))
}

/// Reads what [`write_summary`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_summary(path: &Path) -> Result<Vec<SummaryRow>, TableError> {
    SummaryRow::read(&Table::csv(path, &SummaryRow::texts())?)
}

/// Writes `playout.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_playouts(path: &Path, rows: &[PlayoutRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), PlayoutRow::columns(rows))
}

/// Reads what [`write_playouts`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_playouts(path: &Path) -> Result<Vec<PlayoutRow>, TableError> {
    PlayoutRow::read(&Table::csv(path, &PlayoutRow::texts())?)
}

/// Writes `audience.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_audience(path: &Path, rows: &[AudienceRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), AudienceRow::columns(rows))
}

/// Reads what [`write_audience`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_audience(path: &Path) -> Result<Vec<AudienceRow>, TableError> {
    AudienceRow::read(&Table::csv(path, &AudienceRow::texts())?)
}

/// Writes `reattachments.parquet` (zstd), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_reattachments(path: &Path, rows: &[ReattachmentRow]) -> Result<(), TableError> {
    write_parquet(path, rows.len(), ReattachmentRow::columns(rows))
}

/// The same where there are any, or were: a run in which nobody goes has no such table.
pub(super) fn write_if_any(path: &Path, rows: &[ReattachmentRow]) -> Result<(), TableError> {
    if rows.is_empty() && !path.exists() { Ok(()) } else { write_reattachments(path, rows) }
}

/// Reads what [`write_reattachments`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_reattachments(path: &Path) -> Result<Vec<ReattachmentRow>, TableError> {
    ReattachmentRow::read(&Table::parquet(path)?)
}

/// Writes `shown.parquet` (zstd), whole or not at all, where there are any rows, or were: few viewers have a screen.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_shown(path: &Path, rows: &[ShownRow]) -> Result<(), TableError> {
    if rows.is_empty() && !path.exists() {
        return Ok(());
    }
    write_parquet(path, rows.len(), ShownRow::columns(rows))
}

/// Reads what [`write_shown`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_shown(path: &Path) -> Result<Vec<ShownRow>, TableError> {
    ShownRow::read(&Table::parquet(path)?)
}

/// Writes `trunks.csv` (RFC 4180, empty fields for null), whole or not at all, where there are any rows, or were:
/// most networks have one switch.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_trunks(path: &Path, rows: &[TrunkRow]) -> Result<(), TableError> {
    if rows.is_empty() && !path.exists() {
        return Ok(());
    }
    write_csv(path, rows.len(), TrunkRow::columns(rows))
}

/// Reads what [`write_trunks`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_trunks(path: &Path) -> Result<Vec<TrunkRow>, TableError> {
    TrunkRow::read(&Table::csv(path, &TrunkRow::texts())?)
}

/// Writes `broadcasts.csv` (RFC 4180, empty fields for null), whole or not at all, where there are any rows, or were:
/// mostly ffmpeg broadcasts.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_broadcasts(path: &Path, rows: &[BroadcastRow]) -> Result<(), TableError> {
    if rows.is_empty() && !path.exists() {
        return Ok(());
    }
    write_csv(path, rows.len(), BroadcastRow::columns(rows))
}

/// Reads what [`write_broadcasts`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_broadcasts(path: &Path) -> Result<Vec<BroadcastRow>, TableError> {
    BroadcastRow::read(&Table::csv(path, &BroadcastRow::texts())?)
}

/// Writes `crowds.csv` (RFC 4180, empty fields for null), whole or not at all, where there are any rows, or were.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_crowds(path: &Path, rows: &[CrowdRow]) -> Result<(), TableError> {
    if rows.is_empty() && !path.exists() {
        return Ok(());
    }
    write_csv(path, rows.len(), CrowdRow::columns(rows))
}

/// Reads what [`write_crowds`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_crowds(path: &Path) -> Result<Vec<CrowdRow>, TableError> {
    CrowdRow::read(&Table::csv(path, &CrowdRow::texts())?)
}

/// Writes `estimates.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_estimates(path: &Path, rows: &[EstimateRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), EstimateRow::columns(rows))
}

/// Reads what [`write_estimates`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_estimates(path: &Path) -> Result<Vec<EstimateRow>, TableError> {
    EstimateRow::read(&Table::csv(path, &EstimateRow::texts())?)
}

/// Writes `model.csv` (RFC 4180, empty fields for null), whole or not at all. Without rows there is no such table, and one of before goes.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_models(path: &Path, rows: &[ModelRow]) -> Result<(), TableError> {
    if rows.is_empty() {
        return match std::fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { doing: "remove", path: path.to_owned(), source }.into())
            }
            _ => Ok(()),
        };
    }
    write_csv(path, rows.len(), ModelRow::columns(rows))
}

/// Reads what [`write_models`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_models(path: &Path) -> Result<Vec<ModelRow>, TableError> {
    ModelRow::read(&Table::csv(path, &ModelRow::texts())?)
}

/// Writes `effects.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_effects(path: &Path, rows: &[EffectRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), EffectRow::columns(rows))
}

/// Reads what [`write_effects`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_effects(path: &Path) -> Result<Vec<EffectRow>, TableError> {
    EffectRow::read(&Table::csv(path, &EffectRow::texts())?)
}

pub(super) fn column<'a, T, V>(name: &str, rows: &'a [T], value: impl Fn(&'a T) -> V) -> Column
where
    Series: NamedFrom<Vec<V>, [V]>,
{
    Series::new(name.into(), rows.iter().map(value).collect::<Vec<V>>()).into()
}

pub(super) fn write_csv(path: &Path, height: usize, columns: Vec<Column>) -> Result<(), TableError> {
    let mut bytes = Vec::new();
    DataFrame::new(height, columns)
        .and_then(|mut frame| CsvWriter::new(&mut bytes).finish(&mut frame))
        .map_err(|e| TableError::Make { path: path.to_owned(), why: e.to_string() })?;
    Ok(write_atomic(path, &bytes)?)
}

pub(super) fn write_parquet(path: &Path, height: usize, columns: Vec<Column>) -> Result<(), TableError> {
    let mut bytes = Vec::new();
    DataFrame::new(height, columns)
        .and_then(|mut frame| ParquetWriter::new(&mut bytes).finish(&mut frame))
        .map_err(|e| TableError::Make { path: path.to_owned(), why: e.to_string() })?;
    Ok(write_atomic(path, &bytes)?)
}
