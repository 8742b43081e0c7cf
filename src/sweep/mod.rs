//! Sweeps: many trials over a matrix of parameters, which resume after any interruption.
//!
//! What is to be done, and in what order, are values ([`identity`], [`queue`], [`until`]); how long it takes is
//! learned from trials that ran ([`pace`]); why a changed recipe has trials run again is read off what was run
//! ([`change`]). [`outlook`] is all of that for one sweep, before anything is written. [`perform`] is the shell: it
//! plays a trial after the other through the same supervisor as `livectl run` and commits each to the store, which is
//! the truth ([`SweepDir`](crate::store::SweepDir)). What a session did is in its log alone ([`session`]), from which
//! [`status`] tells how things stand; it decides nothing but estimates of time.

pub mod change;
mod claim;
pub mod identity;
pub mod keep;
pub mod outlook;
pub mod pace;
pub mod perform;
mod predicted;
pub mod queue;
mod recover;
mod repeat;
pub mod report;
pub mod session;
pub mod slurm;
pub mod status;
pub mod until;

use crate::run::RunError;
use crate::store::StoreError;
use crate::table::TableError;

/// Why a sweep cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The sweep's folder cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Tables cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A trial's results cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Two sessions on one machine would disturb each other's measurements.
    #[error(
        "this sweep is running here already, as process {pid}; `livectl stop {sweep}` ends it, `livectl logs -f {sweep}` follows it"
    )]
    Running {
        /// The other session.
        pid: i32,
        /// The sweep's folder, as one would type it.
        sweep: String,
    },
}
