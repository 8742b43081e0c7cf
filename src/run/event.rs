//! What happens during a run, as values. The rooms that do things send these; the rooms that show or store things
//! read them. Inside the sandbox they travel as JSON lines on the trial's stdout and are kept in `events.jsonl`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fitness::{Limits, Observations, Verdict};
use super::present::Present;
use crate::actor::process::Station;
use crate::plan::{Departure, Directions};
use crate::store::{Cause, TrialState};

/// What happens during a run, as whoever shows it hears it. There are a few a second: their size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Update {
    /// The run of a recipe begins.
    RunStarted {
        /// The recipe's name, which its folder in the results has too.
        recipe: String,
        /// The run's folder.
        folder: PathBuf,
        /// How many trials the run has.
        trials: usize,
        /// How long all its trials are likely to take.
        expected: Duration,
    },
    /// Something that the recipe may leave open is settled.
    Settled {
        /// What was settled: `links`, `datapath`.
        what: &'static str,
        /// What is used: `emulated`, `netem`, `kernel`, `user`.
        used: String,
        /// The reason, in words.
        why: String,
    },
    /// A trial of a sweep is about to begin.
    Next {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// Its scheme, parameters and repetition, in words.
        what: String,
        /// How long the trials are likely to take that are left.
        left: Duration,
        /// How long if every point is tried as often as it may be; `None`: how often is known.
        at_most: Option<Duration>,
    },
    /// A trial begins: its folder and its plan are written.
    TrialStarted {
        /// The trial's id, such as `direct-1`.
        trial: String,
    },
    /// Something happened in a trial.
    Trial {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// What happened, and when.
        what: Stamped,
    },
    /// How a trial's viewers stand: for the screen alone, and stored nowhere.
    Present {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// Time in nanoseconds of CLOCK_REALTIME.
        time_ns: i64,
        /// The viewers that are there: where the stream of each comes from, and how late it is.
        viewers: Vec<Present>,
    },
    /// Something is wrong with what a trial left.
    Problem {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// The message, for people.
        text: String,
    },
    /// A trial is over, and so is its analysis.
    TrialEnded {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// How it stands, and what is wrong with it.
        ending: Ending,
    },
    /// The run is over.
    RunEnded,
}

/// How a trial ended, all in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Whether it is done, partial or failed: its state in the manifest.
    pub state: TrialState,
    /// Why its delays cannot be taken for the network's; empty: they can.
    pub unfit: Vec<String>,
    /// What was gone or damaged of births and captures; empty: nothing.
    pub damage: Vec<String>,
}

/// Which part of its course a trial is in; they come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Namespaces, Open vSwitch, controller, links, Mininet.
    Boot,
    /// Every path is pinged and compared with the plan.
    Measure,
    /// CDN, notification service and captures come up.
    Ready,
    /// The recipe's own timeline goes by.
    Stream,
    /// Programs are told to end, and waited for.
    Stop,
    /// The host is compared with what it was before.
    Prove,
    /// Tables are made from captures.
    Analyse,
    /// Of a predicted trial, all that there is: the model computes it.
    Predict,
}

/// One thing that happened inside a trial. There are a few a second: their size does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// A phase begins.
    Phase {
        /// The phase that begins.
        phase: Phase,
    },
    /// Second zero of the recipe's timeline is now.
    TimelineZero {
        /// From second zero to the planned end, in nanoseconds.
        length_ns: u64,
    },
    /// A program was started.
    Started {
        /// Host, or `-` for the network's own programs.
        host: Station,
        /// What it is: `ffmpeg`, `agent`, `nginx`, `mn`, ….
        actor: String,
        /// The command as it was executed.
        argv: Vec<String>,
    },
    /// A program ended.
    Ended {
        /// Host that it ran on, or `-` for the network's own programs.
        host: Station,
        /// What it was: `ffmpeg`, `agent`, `nginx`, `mn`, ….
        actor: String,
        /// Its exit code; `None`: a signal ended it.
        code: Option<i32>,
        /// The signal that ended it; `None`: it exited.
        signal: Option<i32>,
    },
    /// A viewer has come, again or later than the others: its agent was started.
    Joined {
        /// The viewer's host.
        host: String,
        /// Which of its spells begins, from 1.
        spell: u32,
    },
    /// A viewer goes before the stream has ended: its player has been told to end, or nothing leaves its host any
    /// more.
    Departed {
        /// The viewer's host.
        host: String,
        /// Which of its spells ends, from 1.
        spell: u32,
        /// Whether it leaves or crashes.
        how: Departure,
    },
    /// What an actor or the controller reports of itself, in its own words.
    Report {
        /// Host, or `-` for the controller.
        host: Station,
        /// Which actor reports: `agent`, `controller`, ….
        actor: String,
        /// Its event line, a JSON object.
        what: serde_json::Value,
    },
    /// A path was measured before streaming.
    Path {
        /// Host that pings.
        from: String,
        /// Host that answers.
        to: String,
        /// Least round-trip time of the pings, in milliseconds.
        rtt_ms: f64,
        /// The round-trip time that the plan's links promise, in milliseconds.
        planned_ms: f64,
    },
    /// A link of the network has changed, as the plan has it. Of a trace that it follows from now on its beginning is
    /// told alone.
    LinkChanged {
        /// What a recipe calls the link.
        link: String,
        /// Which of its directions have changed.
        directions: Directions,
        /// The link's new condition, in words.
        change: String,
        /// The planned moment, in nanoseconds from second zero of the timeline. Emulated links change at that very
        /// moment.
        at_ns: u64,
    },
    /// Something a reader should know that is no failure.
    Note {
        /// The message, for people.
        text: String,
    },
    /// Something that casts doubt on the trial or deserves attention.
    Warning {
        /// The message, for people.
        text: String,
    },
    /// The last line of a trial: how it ended.
    Outcome(Outcome),
}

/// How a trial ended, as seen from inside its sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `None`: all went as planned. Else what failed, in words, with the last log lines.
    pub failure: Option<String>,
    /// Whose failure it is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// It was told to stop before its end.
    pub interrupted: bool,
    /// What the fitness watch saw and judged.
    pub fitness: Option<Fitness>,
}

/// A happening and when it happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Time in nanoseconds of CLOCK_REALTIME.
    pub time_ns: i64,
    /// The happening.
    #[serde(flatten)]
    pub happening: Happening,
}

impl Stamped {
    /// Stamps a happening with the present time.
    #[must_use]
    pub fn now(happening: Happening) -> Self {
        Stamped { time_ns: unix_ns(), happening }
    }
}

/// The present time in nanoseconds of CLOCK_REALTIME.
#[must_use]
pub fn unix_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// What the fitness watch saw, and its judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fitness {
    /// Whether delays can be taken for the network's.
    pub verdict: Verdict,
    /// What the watch observed, which the verdict rests on.
    pub observations: Observations,
    /// How much of each is tolerated.
    pub limits: Limits,
}

impl Fitness {
    /// Why the trial is unfit, in words; empty: it is fit.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        match &self.verdict {
            Verdict::Fit => Vec::new(),
            Verdict::Unfit { reasons } => reasons.iter().map(|reason| reason.text.clone()).collect(),
        }
    }
}
