//! `livectl sweep --engine slurm`: the trials of a sweep as tasks of Slurm's job arrays, on as many nodes as there
//! are.
//!
//! What is to be tried comes from the same values as on one machine ([`Outlook`](super::outlook::Outlook),
//! [`Queue`](super::queue::Queue), [`until`](super::until)), and the store is the same and the only truth. Slurm
//! starts a task again when a node is lost, and may run it twice, or not at all; that costs time and nothing else,
//! for a trial is done when its folder was renamed into place, and of two that finish it one is superseded.
//!
//! No process stays where a sweep is submitted. An [`order`] in the sweep's folder says all that was asked for. A
//! *round* is a job array, a trial a task ([`script`]), and a job that depends on it and makes the next round when
//! the array is over ([`next`]): what failed and may be tried again, what nobody finished, the next repetitions of
//! `until`, or the end with its tables. [`round`] decides that, as a value.
//!
//! A task ([`task`]) is the submitting user's. It has its trial measured by a child that is root ([`measure`]), on
//! the node's own disk, copies what came of it into the shared folder and commits it: so root writes nothing over the
//! network, where NFS would not let it, and nothing of that network is in the captures. A node that cannot run trials
//! is found by a probe before each trial and left out after two failures ([`node`]).
//!
//! [`control`] is the one place that starts Slurm's programs; [`jobs`] understands what they print, [`progress`]
//! tells how things stand.

pub mod control;
pub mod jobs;
pub mod log;
pub mod measure;
pub mod next;
pub mod node;
pub mod order;
pub mod progress;
pub mod round;
mod scratch;
pub mod script;
pub mod submit;
pub mod task;

use std::path::PathBuf;

use super::SweepError;
use crate::store::StoreError;
use control::ControlError;

/// Why a sweep cannot be handed to Slurm, or a part of it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// One of Slurm's programs failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The sweep's folder cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sweep cannot be worked at.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The order is not there: this machine sees another folder, or none.
    #[error(
        "{} cannot be read here ({why}), although the submitter of the sweep wrote it: is that folder shared with this node, under the same path?",
        path.display()
    )]
    NotShared {
        /// Path of the order file.
        path: PathBuf,
        /// The reason, in words.
        why: String,
    },
    /// The sweep's trials are others than those that were ordered.
    #[error(
        "the recipe has changed since these trials were submitted; `livectl sweep --engine slurm` submits it again"
    )]
    Changed,
    /// It is with Slurm already.
    #[error(
        "this sweep is already submitted to Slurm, as job {jobs}; `livectl status {sweep}` shows its progress, `livectl stop {sweep}` ends it"
    )]
    Running {
        /// Numbers of its jobs.
        jobs: String,
        /// Folder of the sweep.
        sweep: String,
    },
}
