//! How often a point of a sweep is tried: until a figure is known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Repetitions go on until a figure is known as precisely as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Until {
    /// The figure that is to be known: a column of `summary.csv`.
    pub figure: Figure,
    /// By which share of it it may be off: 0.05 is 5 %.
    pub precision: f64,
    /// Repetitions before the figure is looked at for the first time.
    pub least: u32,
    /// Repetitions after which it ends, whatever is known.
    pub most: u32,
}

/// A figure of a trial's viewers that is positive: a column of `summary.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Median of the frames' delays.
    #[serde(rename = "delay_p50_ms")]
    DelayP50,
    /// 95th percentile of the frames' delays.
    #[serde(rename = "delay_p95_ms")]
    DelayP95,
    /// Median of the frames' excess: how much longer than the floor they took.
    #[serde(rename = "excess_p50_ms")]
    ExcessP50,
    /// 95th percentile of the frames' excess.
    #[serde(rename = "excess_p95_ms")]
    ExcessP95,
    /// From the start of the player, or of the stream if that came later, to the arrival of the first keyframe.
    #[serde(rename = "startup_delay_ms")]
    StartupDelay,
}

impl Until {
    /// The rule that decides is one for many trials; before so many it decides nothing.
    pub const LEAST: u32 = 10;
}

impl Figure {
    /// All figures, in the order of declaration.
    pub const ALL: [Figure; 5] =
        [Figure::DelayP50, Figure::DelayP95, Figure::ExcessP50, Figure::ExcessP95, Figure::StartupDelay];

    /// The column's name in `summary.csv`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Figure::DelayP50 => "delay_p50_ms",
            Figure::DelayP95 => "delay_p95_ms",
            Figure::ExcessP50 => "excess_p50_ms",
            Figure::ExcessP95 => "excess_p95_ms",
            Figure::StartupDelay => "startup_delay_ms",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
