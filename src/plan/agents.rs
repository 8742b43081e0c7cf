//! What the agents of a trial do beside passing the stream on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the agents at both ends behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agents {
    /// Bytes that may wait at the broadcaster for the CDN before the program is not read any more; `None`: as many as
    /// there are.
    pub upload_buffer: Option<u64>,
    /// How much of the stream an agent that serves peers keeps for those that have missed some.
    pub cache: Duration,
    /// What a viewer that is handed over gets of what it lacks.
    pub handover: Handover,
}

/// What a viewer that is handed over to a peer gets of the frames between those that it has and the present ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// All that the peer still has: no frame is missing, and the first ones are late.
    #[default]
    Complete,
    /// Those from the latest keyframe on: what is older is skipped.
    Live,
}

impl Default for Agents {
    fn default() -> Self {
        Agents { upload_buffer: None, cache: Duration::from_secs(30), handover: Handover::default() }
    }
}

impl Agents {
    /// [`cache`](Self::cache) as agents take it: in whole seconds, rounded up.
    #[must_use]
    pub fn cache_seconds(&self) -> u64 {
        self.cache.as_secs() + u64::from(self.cache.subsec_nanos() > 0)
    }
}

impl Handover {
    /// `complete`, `live`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Handover::Complete => "complete",
            Handover::Live => "live",
        }
    }
}
