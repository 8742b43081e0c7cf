//! Frames and pings as tables: the only room that knows polars.
//!
//! A trial's rows are written beside its captures; the run's own tables are made from those of its trials, again
//! after each trial ([`gather`]). So a trial that fails later takes nothing away from those before it.
//!
//! # Columns
//! A name ends in its unit: `_ns` nanoseconds (of CLOCK_REALTIME for moments), `_ms` milliseconds, `_s` seconds on
//! the trial's timeline, `_bytes`. What does not exist is null, never 0 and never NaN: the delay of a frame that did
//! not arrive, the round trip of a ping without an answer. The row types say what each column is; their field names
//! are the columns'.
//!
//! # Quantiles
//! p50, p95, p99 are [`quantile`]s of the frames that arrived.

mod analysis;
mod audience;
mod broadcasts;
mod compare;
mod difference;
mod digest;
mod doubt;
mod effect;
mod estimate;
mod field;
mod figures;
mod files;
mod model;
mod nodes;
mod ping_delay;
mod ping_phases;
mod playout;
mod rows;
pub mod shown;
mod spells;
mod stored;
mod student;
mod summary;
mod text;
mod trunks;

use std::path::PathBuf;

pub use analysis::{Analysis, Observed, analyse, tabulate};
pub use audience::{StreamFacts, audiences};
pub use compare::{
    DifferenceRow, Differences, Subject, Verdict, compare, compare_schemes, differences_of_one, differences_text,
    write_differences,
};
pub use difference::Comparison;
pub use digest::{Digest, Digests, FrameFigure, Frames};
pub use doubt::doubts;
pub use effect::{Effects, Sentence, effects_text};
pub use estimate::{
    Estimate, Metric, RESAMPLES, Sample, Unit, estimates, figure_of_trial, frames_behind, metrics, sample, samples,
    trial_metrics, units, units_of_digests,
};
pub use field::Note;
pub use figures::Figures;
pub use files::{
    Tables, gather, read_audience, read_broadcasts, read_crowds, read_effects, read_estimates, read_frames,
    read_models, read_pings, read_playouts, read_reattachments, read_shown, read_summary, read_trunks,
    write_audience, write_broadcasts, write_crowds, write_effects, write_estimates, write_frames, write_models,
    write_pings, write_playouts, write_reattachments, write_shown, write_summary, write_trial, write_trunks,
};
pub use model::{AIMS, Aim, models, models_text};
pub use nodes::{NodeEffect, node_effect};
pub use ping_delay::{PAIRING_TOLERANCE_S, PingDelay, half, half_sum, ping_delays, ping_rows};
pub use ping_phases::{Phase, PingPhase, ping_phases, ping_phases_text};
pub use playout::{BUFFERS_S, Playout, play, play_spells, playouts};
pub use rows::{
    AudienceRow, BroadcastRow, CrowdRow, EffectRow, EstimateRow, FrameRow, ModelRow, PingRow, PlayoutRow,
    ReattachmentRow, ShownRow, SummaryRow, TrunkRow,
};
pub use spells::COVER_MS;
pub use stored::{StoredTables, SweepTables};
pub use summary::{LATE_BUFFER_MS, ViewerFacts, jitter_ms, mark_late, quantile, summarise};
pub use text::estimates_text;

use crate::store::StoreError;
use crate::trace::TraceError;

#[cfg(test)]
pub(crate) mod tests;

/// Why a table could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trial's files cannot be read at all.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The file cannot be read.
    #[error("cannot read the table {}: {source}", path.display())]
    Read {
        /// Path of the table.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is cut off, damaged or no table at all.
    #[error("cannot understand the table {}: {why}. It is truncated, damaged or another file", path.display())]
    Damaged {
        /// Path of the table.
        path: PathBuf,
        /// What polars says is wrong with it.
        why: String,
    },
    /// Files of a trial are not of one trial.
    #[error("{}: {why}", path.display())]
    Mismatch {
        /// Path of one of them.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// A column is missing, holds something else than it should, or nothing where something must be.
    #[error("the table {} is not one of livectl's: column {column}: {why}", path.display())]
    Column {
        /// Path of the table.
        path: PathBuf,
        /// Name of the column, or of the field that is to be in it.
        column: String,
        /// What is wrong with it: what was expected, or found.
        why: String,
    },
    /// The rows cannot be made into a table.
    #[error("cannot make the table {}: {why}", path.display())]
    Make {
        /// Path of the table.
        path: PathBuf,
        /// What polars says is wrong with the rows.
        why: String,
    },
}
