//! What is there of a sweep before a session begins, and what is to come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::SweepError;
use super::change::{Change, change};
use super::identity::planned;
use super::keep::Keep;
use super::pace::{Pace, Ran};
use super::queue::{Before, Policy, Queue};
use super::session::{Process, sessions};
use super::status::{Failure, History, failures};
use crate::plan::{Trial, Until};
use crate::run::Job;
use crate::store::{Manifest, Planned, RunDir, Software, SweepDir, SweepFile, TrialState};

/// What is known of a sweep before a session begins.
#[derive(Debug)]
pub struct Outlook {
    /// The sweep's folder.
    pub sweep: SweepDir,
    /// All trials, in the order in which they are tried.
    pub trials: Vec<Planned>,
    /// Until what is known they are repeated.
    pub until: Option<Until>,
    /// What the recipe's change means, if it has changed.
    pub change: Option<Change>,
    /// The livectl that the sweep was begun with, if it is another one.
    pub begun_with: Option<Software>,
    /// Ids of the trials that are done.
    pub done: BTreeSet<String>,
    /// Trials that failed in earlier sessions.
    pub failed: Vec<Failure>,
    /// How often trials that are not done were unfit and kept back, to be tried again.
    pub unfit: BTreeMap<String, u32>,
    /// How long trials take here.
    pub pace: Pace,
}

impl Outlook {
    /// Looks at what is there of a sweep and at what trials took on this machine. Writes nothing.
    ///
    /// # Errors
    /// [`SweepError::Store`].
    pub fn of(job: &Job, until: Option<Until>) -> Result<Outlook, SweepError> {
        let sweep = SweepDir::of(&job.results, &job.plan.recipe)?;
        let trials = planned(&job.plan);
        let done = sweep.done()?;
        let before = SweepFile::load(&sweep)?;
        let run = before.as_ref().and_then(|_| RunDir::open(sweep.path()).ok());
        let earlier = |id: &str| -> Option<Trial> {
            serde_json::from_slice(&crate::file::read(&run.as_ref()?.trial(id).plan()).ok()?).ok()
        };
        let same = |before: &SweepFile| {
            before.until == until && before.trials.iter().map(|t| &t.id).eq(trials.iter().map(|t| &t.id))
        };
        let change = before
            .as_ref()
            .filter(|before| !same(before))
            .map(|before| change(&before.trials, &job.plan.trials, &done, earlier));
        let this = Software::of_this_livectl();
        let begun_with = before.map(|before| before.livectl).filter(|livectl| *livectl != this && !done.is_empty());
        let by_id: BTreeMap<&str, &Planned> = trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
        let failed = failures(&sweep, &by_id, &done)?;
        let unfit = kept_back(&sweep, &done)?;
        let host = Process::this().host;
        let mut ran = History::of(&sessions(&sweep)?, &host)?.ran;
        if ran.is_empty() {
            // What other machines took for these very trials.
            ran = History::of_all(&sessions(&sweep)?)?.ran;
        }
        if ran.is_empty() {
            ran = elsewhere(job, &host)?;
        }
        Ok(Outlook { trials, until, change, begun_with, done, failed, unfit, pace: Pace::learned(&ran), sweep })
    }

    /// The same of a sweep as it was written down, without its recipe. Trials take what they took in this sweep, on
    /// whatever machine.
    ///
    /// # Errors
    /// [`SweepError::Store`].
    pub fn stored(sweep: &SweepDir, file: &SweepFile) -> Result<Outlook, SweepError> {
        let done = sweep.done()?;
        let by_id: BTreeMap<&str, &Planned> = file.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
        let failed = failures(sweep, &by_id, &done)?;
        let unfit = kept_back(sweep, &done)?;
        let ran = History::of_all(&sessions(sweep)?)?.ran;
        Ok(Outlook {
            sweep: sweep.clone(),
            trials: file.trials.clone(),
            until: file.until,
            change: None,
            begun_with: None,
            done,
            failed,
            unfit,
            pace: Pace::learned(&ran),
        })
    }

    /// The trials that a session under this policy has to try.
    #[must_use]
    pub fn queue(&self, policy: Policy) -> Queue {
        let failed = self.failed.iter().map(|failure| (failure.trial.id.clone(), failure.times)).collect();
        let before = Before { failed, unfit: self.unfit.clone() };
        let needed = self.trials.iter().filter(|trial| self.needs(trial));
        Queue::new(needed.map(|trial| trial.id.as_str()), &self.done, &before, policy)
    }

    /// Whether the trial is tried in any case.
    #[must_use]
    pub fn needs(&self, trial: &Planned) -> bool {
        self.until.is_none_or(|until| trial.point.repetition <= until.least)
    }

    /// Trials that may have to be tried beyond those.
    #[must_use]
    pub fn beyond(&self) -> Vec<&Planned> {
        self.trials.iter().filter(|trial| !self.needs(trial) && !self.done.contains(&trial.id)).collect()
    }

    /// The same with their plans.
    #[must_use]
    pub fn to_try(&self, queue: &Queue) -> Vec<&Planned> {
        let waiting: BTreeSet<&str> = queue.waiting().collect();
        self.trials.iter().filter(|trial| waiting.contains(trial.id.as_str())).collect()
    }

    /// How many of its trials are done.
    #[must_use]
    pub fn done_count(&self) -> usize {
        self.trials.iter().filter(|trial| self.done.contains(&trial.id)).count()
    }

    /// Bytes that the trials will leave for good, and the most that there will be at one time.
    #[must_use]
    pub fn disk(&self, trials: &[&Planned], keep: Keep) -> u64 {
        let all = self.pace.bytes(trials.iter().copied());
        let largest = trials.iter().map(|trial| self.pace.bytes([*trial])).max().unwrap_or(0);
        match keep {
            Keep::All => all,
            // What is left of a trial are a dump for each viewer, logs and tables: a fifth, amply.
            Keep::Failed | Keep::None => all / 5 + largest,
        }
    }
}

/// How often each trial that is not done came to its end on a machine that had not kept up.
fn kept_back(sweep: &SweepDir, done: &BTreeSet<String>) -> Result<BTreeMap<String, u32>, SweepError> {
    let mut unfit = BTreeMap::new();
    for attempt in sweep.tried()?.into_iter().filter(|attempt| !done.contains(&attempt.trial)) {
        if attempt.record.is_some_and(|record| record.is_unfit()) {
            *unfit.entry(attempt.trial).or_insert(0) += 1;
        }
    }
    Ok(unfit)
}

/// What trials took on this machine in other sweeps, and in the latest runs.
fn elsewhere(job: &Job, host: &str) -> Result<Vec<Ran>, SweepError> {
    const RUNS: usize = 8;
    const LARGEST: u64 = 8 << 20;
    let mut ran = Vec::new();
    for sweep in SweepDir::all(&job.results)? {
        ran.extend(History::of(&sessions(&sweep)?, host)?.ran);
    }
    let mut runs = RunDir::find(&job.results).map(|found| found.runs).unwrap_or_default();
    runs.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    for run in runs.iter().filter_map(|path| RunDir::open(path).ok()).filter(|run| !run.is_sweep()).take(RUNS) {
        let small = fs::metadata(run.manifest()).is_ok_and(|meta| meta.len() < LARGEST);
        let Some(manifest) = small.then(|| Manifest::load(&run).ok()).flatten() else { continue };
        if manifest.machine != job.machine {
            continue;
        }
        for (record, trial) in manifest.trials.iter().zip(&manifest.plan.trials) {
            if let (TrialState::Done, Some(started), Some(ended)) = (&record.state, record.started, record.ended) {
                ran.push(Ran {
                    planned_s: trial.timeline.end.as_secs_f64(),
                    took_s: (ended - started).total(jiff::Unit::Second).unwrap_or(0.0),
                    planned_bytes: trial.disk_bytes(),
                    bytes: record.files.values().map(|file| file.bytes).sum(),
                    predicted: record.point.is_predicted(),
                });
            }
        }
    }
    Ok(ran)
}
