//! Trials that are there twice: a run's folder was copied, or the same prediction was made again.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::manifest::{Manifest, TrialRecord, TrialState};
use crate::plan::Trial;

/// The trials of each run that one before it has already, by name. Counted twice they would make figures look more
/// certain than they are. A measured trial is told by the moment at which it began, to the nanosecond; a predicted one
/// by everything that its figures follow from.
#[must_use]
pub fn repeated<'m>(runs: impl IntoIterator<Item = &'m Manifest>) -> Vec<HashSet<String>> {
    let mut seen: HashSet<Origin> = HashSet::new();
    let of_run = |run: &Manifest| {
        let records: HashMap<&str, &TrialRecord> = run.trials.iter().map(|it| (it.id.as_str(), it)).collect();
        let origin = |trial: &Trial| origin(run, trial, records.get(trial.id.as_str()).copied());
        let again = run.plan.trials.iter().filter(|trial| origin(trial).is_some_and(|it| !seen.insert(it)));
        again.map(|trial| trial.id.clone()).collect()
    };
    runs.into_iter().map(of_run).collect()
}

/// What a trial's figures come from: its plan, which is here as a hash, and a stretch of time on some machine, or a model
/// and its frames.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Origin {
    plan: u64,
    /// Beginning of a measured trial, in nanoseconds.
    began_ns: Option<i128>,
}

/// `None`: it never began.
fn origin(run: &Manifest, trial: &Trial, record: Option<&TrialRecord>) -> Option<Origin> {
    let mut hash = DefaultHasher::new();
    serde_json::to_string(trial).ok()?.hash(&mut hash);
    run.recipe.name.hash(&mut hash);
    if trial.point.is_predicted() {
        let predicted = run.predicted.as_ref()?;
        (predicted.model, &predicted.births, &run.tools).hash(&mut hash);
        return Some(Origin { plan: hash.finish(), began_ns: None });
    }
    let record = record.filter(|record| record.state != TrialState::Planned)?;
    // Older livectls recorded no moment 0.
    let started = || record.started.unwrap_or(run.started).as_nanosecond();
    Some(Origin { plan: hash.finish(), began_ns: Some(record.zero_ns.map_or_else(started, i128::from)) })
}
