//! How a sweep stands, from its folder alone: on whatever machine, while it runs or after.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::SweepError;
use super::pace::{Pace, Ran, Span};
use super::session::{Did, Known, Life, Line, Process, sessions, text_of};
use crate::run::event::Phase;
use crate::store::{Cause, Planned, RunDir, SweepDir, SweepFile, TrialRecord, TrialState};

/// How a sweep stands, by its folder and its logs.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What is to be done: the trials in their order.
    pub file: SweepFile,
    /// How many trials are done.
    pub done: usize,
    /// Those of them that are unfit or damaged, as far as logs tell.
    pub doubtful: usize,
    /// Trials that failed and are not done, with the last failure.
    pub failed: Vec<Failure>,
    /// The sessions that are at work, or were when nobody saw them end.
    pub sessions: Vec<At>,
    /// Why the last session ended, if it said so.
    pub last_end: Option<(Timestamp, String)>,
    /// What is left, of those that are tried in any case.
    pub left: Span,
    /// Trials of those that are still to come.
    pub to_come: usize,
    /// Trials that may come beyond them, until a figure is known.
    pub beyond: usize,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The trial, as the sweep's file has it.
    pub trial: Planned,
    /// How often it failed.
    pub times: u32,
    /// Why it failed the last time.
    pub why: String,
    /// Whose failure it was; `None`: it is not known.
    pub cause: Option<Cause>,
    /// The folder that it left.
    pub folder: std::path::PathBuf,
}

/// What a session is at.
#[derive(Debug, Clone, PartialEq)]
pub struct At {
    /// The session's process.
    pub process: Process,
    /// Whether the process still runs.
    pub life: Life,
    /// The trial that it is at, with the phase, and since when.
    pub trial: Option<(Planned, Option<Phase>, Timestamp)>,
    /// When it last wrote something.
    pub seen: Timestamp,
}

/// What the logs tell of trials that ran on a machine, and of those that ended unfit.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Trials that ran on this machine.
    pub ran: Vec<Ran>,
    /// Ids of trials that were done unfit or damaged.
    pub doubtful: BTreeSet<String>,
    /// Ids of trials whose end is in a log.
    told: BTreeSet<String>,
}

impl History {
    /// Reads the ends of trials in logs. Of other lines only their beginnings are looked at: there are many.
    pub(super) fn of(known: &[Known], host: &str) -> Result<History, SweepError> {
        let mut history = History::default();
        for session in known {
            history.add(session, &text_of(&session.log)?, host);
        }
        Ok(history)
    }

    /// The same of trials on whatever machine.
    pub(super) fn of_all(known: &[Known]) -> Result<History, SweepError> {
        let mut history = History::default();
        for session in known {
            history.take(&text_of(&session.log)?, true);
        }
        Ok(history)
    }

    fn add(&mut self, session: &Known, log: &str, host: &str) {
        self.take(log, session.process.as_ref().is_some_and(|process| process.host == host));
    }

    fn take(&mut self, log: &str, here: bool) {
        for line in log.lines().filter(|line| line.starts_with(r#"{"event":"trial_ended""#)) {
            let Ok(Line { what, .. }) = serde_json::from_str(line) else { continue };
            let Did::TrialEnded {
                trial,
                state,
                unfit,
                damage,
                planned_s,
                took_s,
                planned_bytes,
                bytes,
                predicted,
                ..
            } = what
            else {
                continue;
            };
            if state == TrialState::Done {
                self.told.insert(trial.clone());
                if here {
                    self.ran.push(Ran { planned_s, took_s, planned_bytes, bytes, predicted });
                }
                if unfit.is_empty() && damage.is_empty() {
                    // It was tried again.
                    self.doubtful.remove(&trial);
                } else {
                    self.doubtful.insert(trial);
                }
            }
        }
    }
}

impl Status {
    /// Looks at a sweep's folder.
    ///
    /// # Errors
    /// [`SweepError::Store`].
    pub fn of(sweep: &SweepDir) -> Result<Status, SweepError> {
        let file = SweepFile::load(sweep)?
            .ok_or_else(|| crate::store::StoreError::NotASweep { path: sweep.path().to_owned() })?;
        let done = sweep.done()?;
        let known = sessions(sweep)?;
        let (mut history, host) = (History::default(), Process::this().host);
        let planned: BTreeMap<&str, &Planned> = file.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
        let failed = failures(sweep, &planned, &done)?;
        let (mut at, mut last_end) = (Vec::new(), None);
        for (number, session) in known.iter().enumerate() {
            let log = text_of(&session.log)?;
            if session.process.is_none() {
                // Slurm's: see `slurm::progress`. Its nodes are taken to be alike.
                history.take(&log, true);
                continue;
            }
            history.add(session, &log, &host);
            let (found, ended) = whereabouts(session, &log, &planned);
            // Of those that ended without a word only the last is news.
            let is_last = number + 1 == known.len();
            at.extend(found.filter(|at| is_last || matches!(at.life, Life::Alive | Life::Elsewhere)));
            last_end = ended;
        }
        let pace = Pace::learned(&history.ran);
        let failing: BTreeSet<&str> =
            failed.iter().filter(|failure| failure.times > 0).map(|failure| failure.trial.id.as_str()).collect();
        let is_left = |trial: &&Planned| !done.contains(&trial.id) && !failing.contains(trial.id.as_str());
        let (needed, beyond): (Vec<&Planned>, Vec<&Planned>) =
            file.trials.iter().filter(is_left).partition(|trial| file.needs(trial));
        let (left, to_come, beyond) = (pace.span(needed.iter().copied()), needed.len(), beyond.len());
        let is_done = |trial: &&Planned| done.contains(&trial.id);
        // Of those whose logs are gone the records tell.
        let folders = RunDir::open(sweep.path())?;
        let is_doubtful = |planned: &&Planned| {
            history.doubtful.contains(&planned.id)
                || !history.told.contains(&planned.id)
                    && TrialRecord::load(&folders.trial(&planned.id))
                        .is_ok_and(|record| record.is_none_or(|it| it.is_unfit() || it.is_partial()))
        };
        let doubtful = file.trials.iter().filter(is_done).filter(is_doubtful).count();
        let done = file.trials.iter().filter(is_done).count();
        Ok(Status { done, doubtful, failed, sessions: at, last_end, left, to_come, beyond, file })
    }
}

/// The trials that failed and are not done, in the sweep's order.
pub(super) fn failures(
    sweep: &SweepDir,
    planned: &BTreeMap<&str, &Planned>,
    done: &BTreeSet<String>,
) -> Result<Vec<Failure>, SweepError> {
    let mut failures: BTreeMap<String, Failure> = BTreeMap::new();
    for attempt in sweep.tried()? {
        let (Some(record), Some(trial)) = (attempt.record, planned.get(attempt.trial.as_str())) else { continue };
        let TrialState::Failed { why } = record.state else { continue };
        if done.contains(&attempt.trial) {
            continue;
        }
        let failure = failures.entry(attempt.trial).or_insert_with(|| Failure {
            trial: (*trial).clone(),
            times: 0,
            why: String::new(),
            cause: None,
            folder: std::path::PathBuf::new(),
        });
        failure.times += u32::from(record.cause != Some(Cause::Machine));
        (failure.why, failure.cause, failure.folder) = (why, record.cause, attempt.dir.path().to_owned());
    }
    Ok(failures.into_values().collect())
}

/// Where a session is, unless it has said that it ended, and that end.
#[allow(clippy::type_complexity)]
fn whereabouts(
    session: &Known,
    log: &str,
    planned: &BTreeMap<&str, &Planned>,
) -> (Option<At>, Option<(Timestamp, String)>) {
    let Some(process) = session.process.clone() else { return (None, None) };
    let mut trial: Option<(Planned, Option<Phase>, Timestamp)> = None;
    let mut seen = None;
    // From the end back to the start of the trial that it is at.
    for line in log.lines().rev() {
        let Ok(Line { what, time }) = serde_json::from_str::<Line>(line) else { continue };
        seen.get_or_insert(time);
        match what {
            Did::SessionEnded { why } => return (None, Some((time, why))),
            Did::Phase { trial: id, phase } if trial.is_none() => {
                trial = planned.get(id.as_str()).map(|found| ((*found).clone(), Some(phase), time));
            }
            Did::TrialStarted { trial: id, .. } => {
                let found = planned.get(id.as_str()).map(|found| (*found).clone());
                trial = trial.or_else(|| found.map(|found| (found, None, time)));
                break;
            }
            Did::TrialEnded { .. } | Did::SessionStarted { .. } => {
                trial = None;
                break;
            }
            Did::Phase { .. }
            | Did::Said { .. }
            | Did::SlurmStarted { .. }
            | Did::Submitted { .. }
            | Did::TaskStarted { .. }
            | Did::NodeFailed { .. } => {}
        }
    }
    let life = process.life();
    (seen.map(|seen| At { process, life, trial, seen }), None)
}
