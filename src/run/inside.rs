//! One trial, from within its sandbox: boot, measure, stream, stop.
//!
//! Whatever fails, everything that was started is stopped in the reverse order, politely; the outcome says what
//! happened.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

use super::crew::{Crew, Trouble};
use super::event::{Fitness, Happening, Outcome, Phase};
use super::fitness;
use super::score::Programs;
use super::stage::Stage;
use super::teller::{Teller, print_events};
use super::{Urgency, cast, observed};
use crate::actor::process::ProcessError;
use crate::network::{self, Forwarding, NetworkError};
use crate::plan::Trial;
use crate::sandbox::Environment;
use crate::store::{Cause, TrialDir};

/// What a trial needs to know.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What is to be done.
    pub trial: Trial,
    /// Where its files go.
    pub dir: TrialDir,
    /// What it is played with.
    pub programs: Programs,
    /// Datapath of Open vSwitch.
    pub forwarding: Forwarding,
    /// For every program.
    pub environment: Environment,
}

/// Why a trial could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The network could not be set up.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// Open vSwitch could not be started.
    #[error(transparent)]
    Ovs(#[from] crate::sandbox::OvsError),
    /// A program could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The links do not know when to change.
    #[error(transparent)]
    Links(#[from] crate::emulator::timeline::TellError),
    /// A program ended too early.
    #[error("{0}")]
    Trouble(String),
    /// A program was killed, and not by the trial.
    #[error("{0}")]
    Killed(String),
    /// A program stands still.
    #[error("{0} stood still: a signal had stopped it (SIGSTOP, or a terminal), and it did not go on")]
    Standstill(String),
    /// The network is not the one that was planned.
    #[error("the network is not the one planned: {0}")]
    Measured(String),
    /// A file could not be written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Someone is left out of the plan.
    #[error("the plan cannot be run: {0}")]
    Cast(#[from] cast::CastError),
    /// The plan is not one that can be run.
    #[error("the plan cannot be run: {0}")]
    Plan(String),
    /// Told to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<Trouble> for TrialError {
    fn from(trouble: Trouble) -> TrialError {
        if trouble.was_killed { TrialError::Killed(trouble.text) } else { TrialError::Trouble(trouble.text) }
    }
}

impl TrialError {
    /// Whether another trial on this machine would have failed in the same way.
    fn cause(&self) -> Cause {
        match self {
            TrialError::Ovs(_)
            | TrialError::Killed(_)
            | TrialError::Standstill(_)
            | TrialError::Store(_)
            | TrialError::Process(ProcessError::File { .. } | ProcessError::Spawn { .. })
            | TrialError::Network(
                NetworkError::Start { .. } | NetworkError::Transcript { .. } | NetworkError::Ended { .. },
            ) => Cause::Machine,
            _ => Cause::Trial,
        }
    }
}

/// Runs a trial to its end. Events go to standard output, orders come from standard input.
pub async fn run(spec: Spec) -> Outcome {
    let (teller, told) = Teller::new();
    let printer = tokio::task::spawn_blocking(move || print_events(told));
    let (urgency_in, urgency) = watch::channel(Urgency::None);
    let orders = tokio::spawn(listen(urgency_in));

    let (crew, news) = Crew::new(teller.clone());
    let mut stage = Stage::new(spec, teller.clone(), crew.another(), crew);
    let mut ovs = None;
    let result = stage.perform(&mut ovs, news, urgency.clone()).await;
    // What the machine did while everything is taken down disturbs no measurement.
    let watched = stage.end_watch();
    teller.tell(Happening::Phase { phase: Phase::Stop });
    let mut deaf = Vec::new();
    let stopped = stage.stop(ovs, urgency.clone(), &mut deaf).await;
    let (failure, cause) = match (&result, stopped) {
        (Err(TrialError::Interrupted), _) | (Ok(()), Ok(())) => (None, None),
        (Err(error), _) => (Some(error.to_string()), Some(error.cause())),
        (Ok(()), Err(error)) => (Some(format!("while stopping: {error}")), Some(Cause::Trial)),
    };
    let fitness = watched.map(|mut seen| {
        observed::complete(&mut seen, stage.spec(), &teller);
        seen.unknown.append(&mut deaf);
        let limits = fitness::Limits::default();
        Fitness { verdict: fitness::judge(&seen, &limits), observations: seen, limits }
    });
    let outcome = Outcome { failure, cause, interrupted: *urgency.borrow() > Urgency::None, fitness };
    teller.tell(Happening::Outcome(outcome.clone()));
    orders.abort();
    drop((teller, stage));
    let _ = printer.await;
    outcome
}

/// Reads orders until standard input ends; process 1 of the sandbox heeds the end itself.
async fn listen(urgency: watch::Sender<Urgency>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let level = match line.trim() {
            "stop" => Urgency::Stop,
            "hurry" => Urgency::Hurry,
            _ => continue,
        };
        urgency.send_modify(|now| *now = level.max(*now));
    }
}
