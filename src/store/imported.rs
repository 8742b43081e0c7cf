//! What a run that was measured elsewhere was made from.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a run was imported: with the files that its trials hold, all that it takes to import it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The files, in the order of the trials and their ping trains.
    pub files: Vec<ImportedFile>,
    /// When the stream began and ended, counted from the trial's first ping; `None`: it was not said.
    #[serde(default)]
    pub streaming: Option<(Duration, Duration)>,
    /// Time between pings where they have no time stamps; `None`: it was not said.
    #[serde(default)]
    pub interval: Option<Duration>,
}

/// A file of `ping` output. The copy is at [`TrialDir::ping`](super::TrialDir::ping), byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFile {
    /// [`plan::Trial::id`](crate::plan::Trial::id).
    pub trial: String,
    /// Host that pinged, as the plan names it.
    pub from: String,
    /// Host that was to answer, as the plan names it.
    pub to: String,
    /// Where the file lay when it was imported.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-128 of its bytes, 32 hex digits.
    pub xxh3: String,
}

impl Imported {
    /// When the stream began and ended, in s on the trials' timeline.
    #[must_use]
    pub fn streaming_s(&self) -> Option<(f64, f64)> {
        self.streaming.map(|(begin, end)| (begin.as_secs_f64(), end.as_secs_f64()))
    }
}
