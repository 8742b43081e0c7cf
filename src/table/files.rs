//! Rows ↔ Parquet and CSV, through polars.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{Column, DataFrame, DataType, NamedFrom, PolarsResult, Schema, Series};
use polars_io::csv::read::CsvReadOptions;
use polars_io::csv::write::CsvWriter;
use polars_io::parquet::read::ParquetReader;
use polars_io::parquet::write::ParquetWriter;
use polars_io::{SerReader, SerWriter};

use super::TableError;
use super::estimate::{estimates, units};
use super::rows::{EstimateRow, FrameRow, PingRow, PlayoutRow, SummaryRow, Via};
use crate::plan::Scheme;
use crate::store::{RunDir, TrialDir, write_atomic};

/// Columns of `summary.csv` that are text whatever they look like.
pub(super) const SUMMARY_TEXTS: &[&str] = &["trial", "scheme", "stream", "viewer", "note"];
/// The same of `estimates.csv`.
pub(super) const ESTIMATE_TEXTS: &[&str] = &["scheme", "stream", "viewer", "metric"];
/// The same of `playout.csv`.
pub(super) const PLAYOUT_TEXTS: &[&str] = &["trial", "scheme", "stream", "viewer"];

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
) -> Result<(), TableError> {
    write_frames(&trial.frames(), frames)?;
    write_pings(&trial.pings(), pings)?;
    write_playouts(&trial.playouts(), playouts)?;
    write_summary(&trial.summary(), summary)
}

/// The tables of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tables {
    /// `frames.parquet`.
    pub frames: Vec<FrameRow>,
    /// `pings.parquet`.
    pub pings: Vec<PingRow>,
    /// `playout.csv`.
    pub playouts: Vec<PlayoutRow>,
    /// `summary.csv`.
    pub summary: Vec<SummaryRow>,
    /// `estimates.csv`.
    pub estimates: Vec<EstimateRow>,
}

impl Tables {
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
        write_estimates(&run.estimates(), &self.estimates)?;
        write_summary(&run.summary(), &self.summary)
    }
}

/// Makes the run's tables from those of its trials, in the order given, and writes them. Trials without tables yet are left out; of those
/// whose tables are gone, the rows that the run's tables had stay.
///
/// # Errors
/// Any [`TableError`]; a table that could not be made anew is as it was before.
pub fn gather<'a>(run: &RunDir, trials: impl IntoIterator<Item = &'a str>) -> Result<Tables, TableError> {
    let tables = Tables::of_trials(run, trials)?;
    tables.write(run)?;
    Ok(tables)
}

/// The rows of all trials. Those of a trial without the table are taken from `whole`, the run's own: a trial's folder may have been deleted
/// to save space.
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
    write_parquet(path, rows.len(), frame_columns(rows))
}

pub(super) fn frame_columns(rows: &[FrameRow]) -> Vec<Column> {
    vec![
        column("trial", rows, |r| r.trial.as_str()),
        column("scheme", rows, |r| r.scheme.name()),
        column("repetition", rows, |r| r.repetition),
        column("stream", rows, |r| r.stream.as_str()),
        column("viewer", rows, |r| r.viewer.as_str()),
        column("index", rows, |r| r.index),
        column("timestamp_ms", rows, |r| r.timestamp_ms),
        column("size_bytes", rows, |r| r.size_bytes),
        column("keyframe", rows, |r| r.keyframe),
        column("id", rows, |r| r.id.as_str()),
        column("birth_ns", rows, |r| r.birth_ns),
        column("arrival_ns", rows, |r| r.arrival_ns),
        column("via", rows, |r| r.via.map(Via::name)),
        column("copies", rows, |r| r.copies),
        column("delay_ms", rows, |r| r.delay_ms),
        column("floor_ms", rows, |r| r.floor_ms),
        column("excess_ms", rows, |r| r.excess_ms),
        column("time_s", rows, |r| r.time_s),
        column("late", rows, |r| r.late),
        column("server", rows, |r| r.server.as_deref()),
        column("sent_ns", rows, |r| r.sent_ns),
        column("cdn_arrival_ns", rows, |r| r.cdn_arrival_ns),
        column("cdn_departure_ns", rows, |r| r.cdn_departure_ns),
        column("queue_ms", rows, |r| r.queue_ms),
        column("uplink_ms", rows, |r| r.uplink_ms),
        column("dwell_ms", rows, |r| r.dwell_ms),
        column("downlink_ms", rows, |r| r.downlink_ms),
        column("transfer_ms", rows, |r| r.transfer_ms),
    ]
}

/// Reads what [`write_frames`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_frames(path: &Path) -> Result<Vec<FrameRow>, TableError> {
    let table = Table::parquet(path)?;
    let (trial, scheme, stream) = (table.text("trial")?, table.schemes()?, table.text("stream")?);
    let (viewer, id, via) = (table.text("viewer")?, table.text("id")?, table.optional_text("via")?);
    let (repetition, index) = (table.u32("repetition")?, table.u64("index")?);
    let (timestamp_ms, size_bytes) = (table.u32("timestamp_ms")?, table.u32("size_bytes")?);
    let (keyframe, late, copies) = (table.bool("keyframe")?, table.bool("late")?, table.u32("copies")?);
    let (birth_ns, arrival_ns) = (table.i64("birth_ns")?, table.optional_i64("arrival_ns")?);
    let (delay_ms, floor_ms) = (table.optional_f64("delay_ms")?, table.optional_f64("floor_ms")?);
    let (excess_ms, time_s) = (table.optional_f64("excess_ms")?, table.f64("time_s")?);
    let server = if table.has("server") { table.optional_text("server")? } else { vec![None; table.rows()] };
    let (sent_ns, cdn_arrival_ns) = (table.added_i64("sent_ns")?, table.added_i64("cdn_arrival_ns")?);
    let cdn_departure_ns = table.added_i64("cdn_departure_ns")?;
    let (queue_ms, uplink_ms) = (table.added_f64("queue_ms")?, table.added_f64("uplink_ms")?);
    let (dwell_ms, downlink_ms) = (table.added_f64("dwell_ms")?, table.added_f64("downlink_ms")?);
    let transfer_ms = table.added_f64("transfer_ms")?;
    let via = via
        .into_iter()
        .map(|name| match name.as_deref() {
            None => Ok(None),
            Some("cdn") => Ok(Some(Via::Cdn)),
            Some("peer") => Ok(Some(Via::Peer)),
            Some(other) => Err(table.wrong("via", format!("{other:?} is neither cdn nor peer"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((0..table.rows())
        .map(|i| FrameRow {
            trial: trial[i].clone(),
            scheme: scheme[i],
            repetition: repetition[i],
            stream: stream[i].clone(),
            viewer: viewer[i].clone(),
            index: index[i],
            timestamp_ms: timestamp_ms[i],
            size_bytes: size_bytes[i],
            keyframe: keyframe[i],
            id: id[i].clone(),
            birth_ns: birth_ns[i],
            arrival_ns: arrival_ns[i],
            via: via[i],
            copies: copies[i],
            delay_ms: delay_ms[i],
            floor_ms: floor_ms[i],
            excess_ms: excess_ms[i],
            time_s: time_s[i],
            late: late[i],
            server: server[i].clone(),
            sent_ns: sent_ns[i],
            cdn_arrival_ns: cdn_arrival_ns[i],
            cdn_departure_ns: cdn_departure_ns[i],
            queue_ms: queue_ms[i],
            uplink_ms: uplink_ms[i],
            dwell_ms: dwell_ms[i],
            downlink_ms: downlink_ms[i],
            transfer_ms: transfer_ms[i],
        })
        .collect())
}

/// Writes `pings.parquet` (zstd), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_pings(path: &Path, rows: &[PingRow]) -> Result<(), TableError> {
    write_parquet(path, rows.len(), ping_columns(rows))
}

pub(super) fn ping_columns(rows: &[PingRow]) -> Vec<Column> {
    vec![
        column("trial", rows, |r| r.trial.as_str()),
        column("scheme", rows, |r| r.scheme.name()),
        column("repetition", rows, |r| r.repetition),
        column("from", rows, |r| r.from.as_str()),
        column("to", rows, |r| r.to.as_str()),
        column("seq", rows, |r| r.seq),
        column("sent_ns", rows, |r| r.sent_ns),
        column("time_s", rows, |r| r.time_s),
        column("rtt_ms", rows, |r| r.rtt_ms),
        column("duplicate", rows, |r| r.duplicate),
    ]
}

/// Reads what [`write_pings`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_pings(path: &Path) -> Result<Vec<PingRow>, TableError> {
    let table = Table::parquet(path)?;
    let (trial, scheme, repetition) = (table.text("trial")?, table.schemes()?, table.u32("repetition")?);
    let (from, to, seq) = (table.text("from")?, table.text("to")?, table.u32("seq")?);
    let (sent_ns, time_s) = (table.optional_i64("sent_ns")?, table.f64("time_s")?);
    let (rtt_ms, duplicate) = (table.optional_f64("rtt_ms")?, table.bool("duplicate")?);
    Ok((0..table.rows())
        .map(|i| PingRow {
            trial: trial[i].clone(),
            scheme: scheme[i],
            repetition: repetition[i],
            from: from[i].clone(),
            to: to[i].clone(),
            seq: seq[i],
            sent_ns: sent_ns[i],
            time_s: time_s[i],
            rtt_ms: rtt_ms[i],
            duplicate: duplicate[i],
        })
        .collect())
}

/// Writes `summary.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_summary(path: &Path, rows: &[SummaryRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), summary_columns(rows))
}

pub(super) fn summary_columns(rows: &[SummaryRow]) -> Vec<Column> {
    vec![
        column("trial", rows, |r| r.trial.as_str()),
        column("scheme", rows, |r| r.scheme.name()),
        column("repetition", rows, |r| r.repetition),
        column("stream", rows, |r| r.stream.as_str()),
        column("viewer", rows, |r| r.viewer.as_str()),
        column("frames", rows, |r| r.frames),
        column("missing", rows, |r| r.missing),
        column("duplicate", rows, |r| r.duplicate),
        column("late", rows, |r| r.late),
        column("startup_delay_ms", rows, |r| r.startup_delay_ms),
        column("delay_p50_ms", rows, |r| r.delay_p50_ms),
        column("delay_p95_ms", rows, |r| r.delay_p95_ms),
        column("delay_p99_ms", rows, |r| r.delay_p99_ms),
        column("delay_max_ms", rows, |r| r.delay_max_ms),
        column("floor_p50_ms", rows, |r| r.floor_p50_ms),
        column("excess_p50_ms", rows, |r| r.excess_p50_ms),
        column("excess_p95_ms", rows, |r| r.excess_p95_ms),
        column("excess_max_ms", rows, |r| r.excess_max_ms),
        column("cdn_bytes", rows, |r| r.cdn_bytes),
        column("peer_bytes", rows, |r| r.peer_bytes),
        column("peer_offload", rows, |r| r.peer_offload),
        column("handover_gap_ms", rows, |r| r.handover_gap_ms),
        column("partial", rows, |r| r.partial),
        column("fit", rows, |r| r.fit),
        column("note", rows, |r| r.note.as_str()),
        column("jitter_ms", rows, |r| r.jitter_ms),
        column("server_egress_bytes", rows, |r| r.server_egress_bytes),
        column("retransmission_rate", rows, |r| r.retransmission_rate),
        column("delay_mean_ms", rows, |r| r.delay_mean_ms),
        column("queue_mean_ms", rows, |r| r.queue_mean_ms),
        column("uplink_mean_ms", rows, |r| r.uplink_mean_ms),
        column("dwell_mean_ms", rows, |r| r.dwell_mean_ms),
        column("downlink_mean_ms", rows, |r| r.downlink_mean_ms),
        column("transfer_mean_ms", rows, |r| r.transfer_mean_ms),
    ]
}

/// Reads what [`write_summary`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_summary(path: &Path) -> Result<Vec<SummaryRow>, TableError> {
    let table = Table::csv(path, SUMMARY_TEXTS)?;
    let (trial, scheme, stream) = (table.text("trial")?, table.schemes()?, table.text("stream")?);
    let (viewer, note) = (table.text("viewer")?, table.optional_text("note")?);
    let (repetition, frames, missing) =
        (table.u32("repetition")?, table.u32("frames")?, table.optional_u32("missing")?);
    let (duplicate, late) = (table.optional_u32("duplicate")?, table.optional_u32("late")?);
    let startup_delay_ms = table.optional_f64("startup_delay_ms")?;
    let (delay_p50_ms, delay_p95_ms) = (table.optional_f64("delay_p50_ms")?, table.optional_f64("delay_p95_ms")?);
    let (delay_p99_ms, delay_max_ms) = (table.optional_f64("delay_p99_ms")?, table.optional_f64("delay_max_ms")?);
    let (floor_p50_ms, excess_p50_ms) = (table.optional_f64("floor_p50_ms")?, table.optional_f64("excess_p50_ms")?);
    let (excess_p95_ms, excess_max_ms) = (table.optional_f64("excess_p95_ms")?, table.optional_f64("excess_max_ms")?);
    let (cdn_bytes, peer_bytes) = (table.optional_u64("cdn_bytes")?, table.optional_u64("peer_bytes")?);
    let (peer_offload, handover_gap_ms) =
        (table.optional_f64("peer_offload")?, table.optional_f64("handover_gap_ms")?);
    let (partial, fit) = (table.bool("partial")?, table.bool("fit")?);
    let (jitter_ms, delay_mean_ms) = (table.added_f64("jitter_ms")?, table.added_f64("delay_mean_ms")?);
    let server_egress_bytes = table.added_u64("server_egress_bytes")?;
    let retransmission_rate = table.added_f64("retransmission_rate")?;
    let (queue_mean_ms, uplink_mean_ms) = (table.added_f64("queue_mean_ms")?, table.added_f64("uplink_mean_ms")?);
    let (dwell_mean_ms, downlink_mean_ms) = (table.added_f64("dwell_mean_ms")?, table.added_f64("downlink_mean_ms")?);
    let transfer_mean_ms = table.added_f64("transfer_mean_ms")?;
    Ok((0..table.rows())
        .map(|i| SummaryRow {
            trial: trial[i].clone(),
            scheme: scheme[i],
            repetition: repetition[i],
            stream: stream[i].clone(),
            viewer: viewer[i].clone(),
            frames: frames[i],
            missing: missing[i],
            duplicate: duplicate[i],
            late: late[i],
            startup_delay_ms: startup_delay_ms[i],
            delay_p50_ms: delay_p50_ms[i],
            delay_p95_ms: delay_p95_ms[i],
            delay_p99_ms: delay_p99_ms[i],
            delay_max_ms: delay_max_ms[i],
            floor_p50_ms: floor_p50_ms[i],
            excess_p50_ms: excess_p50_ms[i],
            excess_p95_ms: excess_p95_ms[i],
            excess_max_ms: excess_max_ms[i],
            cdn_bytes: cdn_bytes[i],
            peer_bytes: peer_bytes[i],
            peer_offload: peer_offload[i],
            handover_gap_ms: handover_gap_ms[i],
            partial: partial[i],
            fit: fit[i],
            note: note[i].clone().unwrap_or_default(),
            jitter_ms: jitter_ms[i],
            server_egress_bytes: server_egress_bytes[i],
            retransmission_rate: retransmission_rate[i],
            delay_mean_ms: delay_mean_ms[i],
            queue_mean_ms: queue_mean_ms[i],
            uplink_mean_ms: uplink_mean_ms[i],
            dwell_mean_ms: dwell_mean_ms[i],
            downlink_mean_ms: downlink_mean_ms[i],
            transfer_mean_ms: transfer_mean_ms[i],
        })
        .collect())
}

/// Writes `playout.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_playouts(path: &Path, rows: &[PlayoutRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), playout_columns(rows))
}

pub(super) fn playout_columns(rows: &[PlayoutRow]) -> Vec<Column> {
    vec![
        column("trial", rows, |r| r.trial.as_str()),
        column("scheme", rows, |r| r.scheme.name()),
        column("repetition", rows, |r| r.repetition),
        column("stream", rows, |r| r.stream.as_str()),
        column("viewer", rows, |r| r.viewer.as_str()),
        column("buffer_s", rows, |r| r.buffer_s),
        column("startup_delay_ms", rows, |r| r.startup_delay_ms),
        column("stalls", rows, |r| r.stalls),
        column("stalled_ms", rows, |r| r.stalled_ms),
        column("longest_stall_ms", rows, |r| r.longest_stall_ms),
        column("continuity", rows, |r| r.continuity),
    ]
}

/// Reads what [`write_playouts`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_playouts(path: &Path) -> Result<Vec<PlayoutRow>, TableError> {
    let table = Table::csv(path, PLAYOUT_TEXTS)?;
    let (trial, scheme, stream) = (table.text("trial")?, table.schemes()?, table.text("stream")?);
    let (viewer, repetition, buffer_s) = (table.text("viewer")?, table.u32("repetition")?, table.f64("buffer_s")?);
    let (startup_delay_ms, stalls) = (table.optional_f64("startup_delay_ms")?, table.optional_u32("stalls")?);
    let (stalled_ms, longest_stall_ms) = (table.optional_f64("stalled_ms")?, table.optional_f64("longest_stall_ms")?);
    let continuity = table.optional_f64("continuity")?;
    Ok((0..table.rows())
        .map(|i| PlayoutRow {
            trial: trial[i].clone(),
            scheme: scheme[i],
            repetition: repetition[i],
            stream: stream[i].clone(),
            viewer: viewer[i].clone(),
            buffer_s: buffer_s[i],
            startup_delay_ms: startup_delay_ms[i],
            stalls: stalls[i],
            stalled_ms: stalled_ms[i],
            longest_stall_ms: longest_stall_ms[i],
            continuity: continuity[i],
        })
        .collect())
}

/// Writes `estimates.csv` (RFC 4180, empty fields for null), whole or not at all.
///
/// # Errors
/// [`TableError::Store`].
pub fn write_estimates(path: &Path, rows: &[EstimateRow]) -> Result<(), TableError> {
    write_csv(path, rows.len(), estimate_columns(rows))
}

pub(super) fn estimate_columns(rows: &[EstimateRow]) -> Vec<Column> {
    vec![
        column("scheme", rows, |r| r.scheme.name()),
        column("stream", rows, |r| r.stream.as_str()),
        column("viewer", rows, |r| r.viewer.as_str()),
        column("metric", rows, |r| r.metric.as_str()),
        column("trials", rows, |r| r.trials),
        column("left_out", rows, |r| r.left_out),
        column("value", rows, |r| r.value),
        column("low_95", rows, |r| r.low_95),
        column("high_95", rows, |r| r.high_95),
    ]
}

/// Reads what [`write_estimates`] wrote.
///
/// # Errors
/// [`TableError::Read`], [`TableError::Damaged`], [`TableError::Column`].
pub fn read_estimates(path: &Path) -> Result<Vec<EstimateRow>, TableError> {
    let table = Table::csv(path, ESTIMATE_TEXTS)?;
    let (scheme, stream, viewer) = (table.schemes()?, table.text("stream")?, table.text("viewer")?);
    let (metric, trials, left_out) = (table.text("metric")?, table.u32("trials")?, table.u32("left_out")?);
    let (value, low_95, high_95) =
        (table.f64("value")?, table.optional_f64("low_95")?, table.optional_f64("high_95")?);
    Ok((0..table.rows())
        .map(|i| EstimateRow {
            scheme: scheme[i],
            stream: stream[i].clone(),
            viewer: viewer[i].clone(),
            metric: metric[i].clone(),
            trials: trials[i],
            left_out: left_out[i],
            value: value[i],
            low_95: low_95[i],
            high_95: high_95[i],
        })
        .collect())
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

/// A table as read, with what is said of its columns when they are wrong.
pub(super) struct Table<'a> {
    path: &'a Path,
    pub(super) frame: DataFrame,
}

impl<'a> Table<'a> {
    pub(super) fn parquet(path: &'a Path) -> Result<Table<'a>, TableError> {
        Table::read(path, |bytes| ParquetReader::new(Cursor::new(bytes)).finish())
    }

    /// `texts` are columns that are text whatever they look like: a viewer may be called `7`.
    pub(super) fn csv(path: &'a Path, texts: &[&str]) -> Result<Table<'a>, TableError> {
        let schema: Schema = texts.iter().map(|name| ((*name).into(), DataType::String)).collect();
        Table::read(path, |bytes| {
            CsvReadOptions::default()
                .with_has_header(true)
                .with_infer_schema_length(None)
                .with_schema_overwrite(Some(Arc::new(schema)))
                .into_reader_with_file_handle(Cursor::new(bytes))
                .finish()
        })
    }

    fn read(path: &'a Path, parse: impl FnOnce(Vec<u8>) -> PolarsResult<DataFrame>) -> Result<Self, TableError> {
        let damaged = |why| TableError::Damaged { path: path.to_owned(), why };
        // Into memory, not mapped: a file that somebody cuts short meanwhile would kill the process.
        let bytes = crate::file::read(path).map_err(|source| TableError::Read { path: path.to_owned(), source })?;
        // polars asserts things of a file that a damaged one does not keep.
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(bytes)));
        match parsed {
            Ok(Ok(frame)) => Ok(Table { path, frame }),
            Ok(Err(e)) => Err(damaged(e.to_string())),
            Err(_) => Err(damaged("it contradicts itself".to_owned())),
        }
    }

    fn rows(&self) -> usize {
        self.frame.height()
    }

    fn wrong(&self, column: &str, why: impl Into<String>) -> TableError {
        TableError::Column { path: self.path.to_owned(), column: column.to_owned(), why: why.into() }
    }

    /// The column, turned into the type it should have: foreign tables may hold narrower numbers, and a CSV column of
    /// empty fields is text to polars.
    fn cast(&self, name: &str, to: &DataType) -> Result<Column, TableError> {
        let column = self.frame.column(name).map_err(|_| self.wrong(name, "it is missing"))?;
        // polars goes on to say how many values it did not print.
        let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
        column.strict_cast(to).map_err(|e| self.wrong(name, first_line(e.to_string())))
    }

    fn every<T>(&self, name: &str, values: Vec<Option<T>>) -> Result<Vec<T>, TableError> {
        let rows = values.len();
        let values: Vec<T> = values.into_iter().flatten().collect();
        match rows - values.len() {
            0 => Ok(values),
            holes => Err(self.wrong(name, format!("{holes} of {rows} values are null"))),
        }
    }

    fn optional_text(&self, name: &str) -> Result<Vec<Option<String>>, TableError> {
        let column = self.cast(name, &DataType::String)?;
        let values = column.str().map_err(|e| self.wrong(name, e.to_string()))?;
        Ok(values.iter().map(|v| v.map(str::to_owned)).collect())
    }

    fn text(&self, name: &str) -> Result<Vec<String>, TableError> {
        self.every(name, self.optional_text(name)?)
    }

    fn schemes(&self) -> Result<Vec<Scheme>, TableError> {
        let names = self.text("scheme")?;
        let scheme = |name: String| match name.as_str() {
            "direct" => Ok(Scheme::Direct),
            "bypass" => Ok(Scheme::Bypass),
            _ => Err(self.wrong("scheme", format!("this livectl does not know the scheme {name:?}"))),
        };
        names.into_iter().map(scheme).collect()
    }

    fn optional_i64(&self, name: &str) -> Result<Vec<Option<i64>>, TableError> {
        let column = self.cast(name, &DataType::Int64)?;
        let values = column.i64().map_err(|e| self.wrong(name, e.to_string()))?;
        Ok(values.iter().collect())
    }

    /// A column that older tables do not have.
    fn added_i64(&self, name: &str) -> Result<Vec<Option<i64>>, TableError> {
        if self.has(name) { self.optional_i64(name) } else { Ok(vec![None; self.rows()]) }
    }

    fn added_u64(&self, name: &str) -> Result<Vec<Option<u64>>, TableError> {
        if self.has(name) { self.optional_u64(name) } else { Ok(vec![None; self.rows()]) }
    }

    fn added_f64(&self, name: &str) -> Result<Vec<Option<f64>>, TableError> {
        if self.has(name) { self.optional_f64(name) } else { Ok(vec![None; self.rows()]) }
    }

    fn has(&self, name: &str) -> bool {
        self.frame.column(name).is_ok()
    }

    fn i64(&self, name: &str) -> Result<Vec<i64>, TableError> {
        self.every(name, self.optional_i64(name)?)
    }

    fn optional_u64(&self, name: &str) -> Result<Vec<Option<u64>>, TableError> {
        let column = self.cast(name, &DataType::UInt64)?;
        let values = column.u64().map_err(|e| self.wrong(name, e.to_string()))?;
        Ok(values.iter().collect())
    }

    fn u64(&self, name: &str) -> Result<Vec<u64>, TableError> {
        self.every(name, self.optional_u64(name)?)
    }

    fn optional_u32(&self, name: &str) -> Result<Vec<Option<u32>>, TableError> {
        let column = self.cast(name, &DataType::UInt32)?;
        let values = column.u32().map_err(|e| self.wrong(name, e.to_string()))?;
        Ok(values.iter().collect())
    }

    fn u32(&self, name: &str) -> Result<Vec<u32>, TableError> {
        self.every(name, self.optional_u32(name)?)
    }

    fn optional_f64(&self, name: &str) -> Result<Vec<Option<f64>>, TableError> {
        let column = self.cast(name, &DataType::Float64)?;
        let values = column.f64().map_err(|e| self.wrong(name, e.to_string()))?;
        // NaN is what some tools write for "nothing".
        Ok(values.iter().map(|v| v.filter(|v| v.is_finite())).collect())
    }

    fn f64(&self, name: &str) -> Result<Vec<f64>, TableError> {
        self.every(name, self.optional_f64(name)?)
    }

    fn bool(&self, name: &str) -> Result<Vec<bool>, TableError> {
        let column = self.cast(name, &DataType::Boolean)?;
        let values = column.bool().map_err(|e| self.wrong(name, e.to_string()))?;
        self.every(name, values.iter().collect())
    }
}
