//! Trials that are there twice: a run's folder was copied, or the same prediction was made again.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::manifest::Manifest;
use crate::plan::Trial;

/// The trials of each run that one before it has already, by name. Counted twice they would make figures look more
/// certain than they are. A measured trial is told by the moment at which it began, to the nanosecond; a predicted one
/// by everything that its figures follow from.
#[must_use]
pub fn repeated<'m>(runs: impl IntoIterator<Item = &'m Manifest>) -> Vec<HashSet<String>> {
    let mut seen: HashSet<Origin> = HashSet::new();
    let of_run = |run: &Manifest| {
        let begun: HashMap<&str, Option<i64>> =
            run.trials.iter().map(|record| (record.id.as_str(), record.zero_ns)).collect();
        let origin = |trial: &Trial| origin(run, trial, begun.get(trial.id.as_str()).copied().flatten());
        let again = run.plan.trials.iter().filter(|trial| origin(trial).is_some_and(|it| !seen.insert(it)));
        again.map(|trial| trial.id.clone()).collect()
    };
    runs.into_iter().map(of_run).collect()
}

/// What a trial's figures come from.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Origin {
    /// A stretch of time on some machine.
    Measured { id: String, seed: u64, zero_ns: i64 },
    /// A model, the plan with its seed, and where the frames are from: their hash.
    Predicted(u64),
}

/// `None`: it never began.
fn origin(run: &Manifest, trial: &Trial, zero_ns: Option<i64>) -> Option<Origin> {
    if !trial.point.is_predicted() {
        return zero_ns.map(|zero_ns| Origin::Measured { id: trial.id.clone(), seed: trial.seed, zero_ns });
    }
    let predicted = run.predicted.as_ref()?;
    let mut hash = DefaultHasher::new();
    (predicted.model, &predicted.births, &run.tools).hash(&mut hash);
    serde_json::to_string(trial).ok()?.hash(&mut hash);
    Some(Origin::Predicted(hash.finish()))
}
