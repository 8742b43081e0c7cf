//! `results/<recipe>/<run>/`: what lies where, who owns it, and how it is written.
//!
//! This is the one room that knows file names. A run's folder is made whole and never shared: [`RunDir::create`]
//! takes a name that nobody has. A sweep's folder is shared instead, without a lock ([`SweepDir`]). Everything that
//! livectl itself writes there goes through
//! [`write_atomic`]: a reader sees the old file or the new one, never half of one, whenever livectl or the machine dies.
//! The layout is drawn in `docs/architecture.md`.

mod atomic;
mod checksum;
mod commit;
mod imported;
pub(crate) mod json;
mod layout;
mod manifest;
mod owner;
mod repeated;
mod sweep;
mod traffic;

use std::path::PathBuf;

pub use atomic::{
    NobodyWrites, Writing, free_space, nobody_writes, require_space, write_atomic, write_atomic_with, writing,
};
pub use checksum::{FileRecord, altered, changes};
pub use commit::{Committed, commit};
pub use imported::{Imported, ImportedFile};
pub(crate) use layout::make_folders;
pub use layout::{Found, RECORD, RunDir, TrialDir};
pub(crate) use manifest::moment;
pub use manifest::{
    AnalysisRecord, Captures, Cause, Choice, CommandRecord, FORMAT, Machine, Made, Manifest, Phase, Predicted,
    RecipeRecord, Software, TrialRecord, TrialState,
};
pub use owner::{Owner, Settled};
pub use repeated::repeated;
pub use sweep::{Attempt, Planned, SWEEP_FORMAT, SweepDir, SweepFile};
pub use traffic::TrunkTraffic;

/// Why results could not be stored or found again. All of these are exit code 5.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The user may not write in the folder.
    #[error(
        "cannot write {}: {source}. Make its folder writable for this user, or choose another results folder",
        path.display()
    )]
    NotWritable {
        /// The file or folder that was to be written.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// No space, or no quota, is left.
    #[error(
        "cannot write {}: {source}. Free some space (captures of old runs are the largest files), \
         or choose a results folder on another disk",
        path.display()
    )]
    Full {
        /// The file or folder that was to be written.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The disk has less free space than is needed.
    #[error(
        "{} has {} MiB free, but this needs about {} MiB. Free some space, or choose a results folder on another disk",
        path.display(), free >> 20, (need >> 20) + 1
    )]
    TooLittleSpace {
        /// A folder on that disk.
        path: PathBuf,
        /// Bytes that this user can still write.
        free: u64,
        /// Bytes that are needed.
        need: u64,
    },
    /// Something else went wrong with a file.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `make the folder`.
        doing: &'static str,
        /// The file or folder that it was about.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The name cannot be a folder of its own under `results/`.
    #[error(
        "{name:?} cannot be a folder's name: use letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
    )]
    Name {
        /// Name of the recipe or the trial, as it was given.
        name: String,
    },
    /// All names for a run of that second are taken.
    #[error("{} and a thousand names after it are taken. Has the clock stopped?", path.display())]
    NoNameFree {
        /// The first name that was tried.
        path: PathBuf,
    },
    /// The folder is that of no run, and contains none.
    #[error(
        "{} is neither the folder of a run (with a manifest.json) nor one that contains runs: name results/RECIPE/RUN, or results/RECIPE for all",
        path.display()
    )]
    NotARun {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The folder is that of no sweep.
    #[error(
        "{} is not the folder of a sweep (with a sweep.json): name results/RECIPE, look elsewhere with --results DIR, or start one with `livectl sweep RECIPE.yaml`",
        path.display()
    )]
    NotASweep {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The manifest cannot be understood.
    #[error(
        "cannot understand {}: {why}. It is truncated, damaged or edited, and the run cannot be read without it: restore it from a copy",
        path.display()
    )]
    Manifest {
        /// Path of the manifest.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// The manifest names trials that cannot be.
    #[error("{} names the trial {id:?}, {why}. It was edited: restore it from a copy", path.display())]
    Trial {
        /// Path of the manifest.
        path: PathBuf,
        /// The trial's id, such as `direct-1`.
        id: String,
        /// What is wrong with it: `and that twice`.
        why: &'static str,
    },
    /// The manifest is of a later livectl.
    #[error(
        "{} has format {found}, and this livectl ({}) reads formats up to {FORMAT}. \
         Use the livectl that wrote it, or a later one",
        path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// Path of the manifest.
        path: PathBuf,
        /// The format that it says it has.
        found: u64,
    },
    /// The environment says that sudo was used, but not by whom.
    #[error(
        "{variable}={value:?} is not a user or group number; under sudo it determines the owner of the results. \
         Start livectl through sudo, or unset SUDO_UID and SUDO_GID"
    )]
    Owner {
        /// Name of the variable: `SUDO_UID` or `SUDO_GID`.
        variable: &'static str,
        /// Its value, which is no number.
        value: String,
    },
}

impl StoreError {
    /// Puts what the system said of a write into the user's terms.
    pub(crate) fn writing(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let path = path.into();
        match source.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => StoreError::NotWritable { path, source },
            Kind::StorageFull | Kind::QuotaExceeded => StoreError::Full { path, source },
            _ => StoreError::Io { doing: "write", path, source },
        }
    }
}
