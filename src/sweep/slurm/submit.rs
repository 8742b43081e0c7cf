//! Hands rounds to Slurm.

use std::collections::BTreeMap;

use super::log::{Log, Logs};
use super::order::{Order, Place};
use super::script::{self, Submission};
use super::{SlurmError, control};
use crate::plan::Trial;
use crate::store::{Owner, SweepFile};
use crate::sweep::outlook::Outlook;
use crate::sweep::session::{Did, Process};

/// What was handed to Slurm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Numbers of the job arrays.
    pub arrays: Vec<String>,
    /// The job that makes the next round.
    pub next: String,
    /// How many trials are in the round.
    pub trials: usize,
}

/// Whether the last session of the sweep with Slurm still has jobs there.
///
/// # Errors
/// [`SlurmError::Running`] if so; [`SlurmError::Control`].
pub fn require_none(outlook: &Outlook, name: impl Fn(&str) -> String) -> Result<(), SlurmError> {
    let Some(logs) = Logs::last(&outlook.sweep)?.filter(|logs| logs.ended().is_none()) else { return Ok(()) };
    let jobs = control::jobs_named(&name(&logs.session))?;
    let live: std::collections::BTreeSet<&str> =
        jobs.iter().filter(|job| job.is_live()).map(|job| job.job.as_str()).collect();
    if live.is_empty() {
        return Ok(());
    }
    let jobs = live.into_iter().collect::<Vec<_>>().join(", ");
    Err(SlurmError::Running { jobs, sweep: crate::shell_word::path(outlook.sweep.path()) })
}

/// Begins a session: writes down what is asked for and hands the first round to Slurm.
///
/// # Errors
/// [`SlurmError`]; then no job is left behind.
pub fn begin(
    order: &Order,
    file: &SweepFile,
    is_new: bool,
    plans: &[Trial],
    first: &[String],
) -> Result<Submitted, SlurmError> {
    let sweep = order.sweep();
    sweep.create(Owner::Process)?;
    if is_new {
        file.save(&sweep)?;
    }
    order.save(plans)?;
    let log = Log::of_session(&sweep, &order.session);
    log.write(Did::SlurmStarted { process: Process::this(), left: first.len(), trials: file.trials.len() })?;
    let submitted = order.places(&file.trials).and_then(|places| round(order, 1, &places, first, &[]));
    if let Err(error) = &submitted {
        log.write(Did::SessionEnded { why: format!("it could not be handed to Slurm: {error}") })?;
    }
    submitted
}

/// Hands a round to Slurm, as many of these trials as it takes at once: its arrays, and the job that comes after
/// them.
///
/// # Errors
/// [`SlurmError`]; then no job of this round is left behind.
pub fn round(
    order: &Order,
    number: u32,
    places: &BTreeMap<String, Place>,
    ids: &[String],
    without: &[String],
) -> Result<Submitted, SlurmError> {
    let limits = control::limits()?;
    let places: Vec<Place> = ids
        .iter()
        .take(limits.round())
        .map(|id| places.get(id).cloned())
        .collect::<Option<_>>()
        .ok_or(SlurmError::Changed)?;
    order.save_round(number, &places)?;
    let chunks = script::chunks(places.len(), limits.array_size);
    let mut arrays: Vec<String> = Vec::new();
    let handed = chunks
        .iter()
        .try_for_each(|chunk| {
            // Arrays one after the other keep to `--at-once` together.
            let after = arrays.last().filter(|_| order.slurm.at_once.is_some()).cloned();
            arrays.push(control::submit(&script::array(order, number, &places, chunk, without, after.as_deref()))?);
            Ok(())
        })
        .and_then(|()| control::submit(&script::next(order, number, &arrays, without)));
    let next = match handed {
        Ok(next) => next,
        Err(error) => {
            if !arrays.is_empty() {
                // Without a job after them nobody would go on.
                let _ = control::cancel(&arrays, false);
            }
            return Err(error.into());
        }
    };
    Log::of_session(&order.sweep(), &order.session).write(Did::Submitted {
        round: number,
        jobs: arrays.clone(),
        next: next.clone(),
        trials: places.len(),
        without: without.to_vec(),
    })?;
    Ok(Submitted { arrays, next, trials: places.len() })
}

/// What would be handed to Slurm for these trials.
#[must_use]
pub fn planned(
    order: &Order,
    plans: &[Trial],
    first: &[&crate::store::Planned],
    limits: control::Limits,
) -> Vec<Submission> {
    let lengths: BTreeMap<&str, f64> = plans
        .iter()
        .map(|trial| (trial.id.as_str(), (trial.timeline.end + trial.timeline.drain).as_secs_f64()))
        .collect();
    let place = |trial: &&crate::store::Planned| Place {
        trial: (*trial).clone(),
        at: 0,
        length: 0,
        seconds: lengths.get(trial.id.as_str()).copied().unwrap_or(trial.seconds),
    };
    let places: Vec<Place> = first.iter().take(limits.round()).map(place).collect();
    let chunks = script::chunks(places.len(), limits.array_size);
    let names: Vec<String> = (1..=chunks.len()).map(|n| format!("ARRAY{n}")).collect();
    let array = |(n, chunk): (usize, &std::ops::Range<usize>)| {
        let after = n.checked_sub(1).and_then(|n| names.get(n)).filter(|_| order.slurm.at_once.is_some());
        script::array(order, 1, &places, chunk, &[], after.map(String::as_str))
    };
    let mut all: Vec<Submission> = chunks.iter().enumerate().map(array).collect();
    if !all.is_empty() {
        all.push(script::next(order, 1, &names, &[]));
    }
    all
}
