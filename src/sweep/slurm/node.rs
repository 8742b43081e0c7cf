//! Which nodes are fit for trials, from what their logs tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::TrialState;
use crate::sweep::session::{Did, Line};

/// A node that has failed so often since a trial was last done on it gets no more.
pub const PATIENCE: u32 = 2;

/// How often a node has failed since a trial was last done on it, and why the last time.
#[must_use]
pub fn failures(lines: &[Line]) -> (u32, Option<&str>) {
    lines.iter().fold((0, None), |(count, last), line| match &line.what {
        Did::NodeFailed { why, .. } => (count + 1, Some(why.as_str())),
        Did::TrialEnded { state: TrialState::Done, .. } => (0, None),
        _ => (count, last),
    })
}

/// The nodes that get no more trials, and why.
#[must_use]
pub fn left_out(nodes: &BTreeMap<String, Vec<Line>>) -> BTreeMap<String, String> {
    let bad = |(node, lines): (&String, &Vec<Line>)| match failures(lines) {
        (count, Some(why)) if count >= PATIENCE => Some((node.clone(), why.to_owned())),
        _ => None,
    };
    nodes.iter().filter_map(bad).collect()
}

/// Attempts of this session that said nothing of their trial, by the trial's id: a task that was killed, a node that
/// failed. `over`: no task runs any more, so what has not ended never will.
#[must_use]
pub fn in_vain(nodes: &BTreeMap<String, Vec<Line>>, over: bool) -> BTreeMap<String, u32> {
    let mut vain: BTreeMap<String, u32> = BTreeMap::new();
    for lines in nodes.values() {
        let mut open: Option<&str> = None;
        for line in lines {
            match &line.what {
                Did::TrialStarted { trial, .. } => {
                    // The one before ended without a word.
                    if let Some(lost) = open.replace(trial) {
                        *vain.entry(lost.to_owned()).or_default() += 1;
                    }
                }
                Did::TrialEnded { trial, state, cause, .. } => {
                    open = open.filter(|open| open != trial);
                    let told = match state {
                        TrialState::Done => true,
                        TrialState::Failed { .. } => *cause != Some(crate::store::Cause::Machine),
                        _ => false,
                    };
                    *vain.entry(trial.clone()).or_default() += u32::from(!told);
                }
                _ => {}
            }
        }
        if let Some(lost) = open.filter(|_| over) {
            *vain.entry(lost.to_owned()).or_default() += 1;
        }
    }
    vain.retain(|_, times| *times > 0);
    vain
}

/// Trials of a round that a node began.
#[must_use]
pub fn begun(nodes: &BTreeMap<String, Vec<Line>>, round: u32) -> BTreeSet<&str> {
    let mut begun = BTreeSet::new();
    for lines in nodes.values() {
        let mut now = 0;
        for line in lines {
            match &line.what {
                Did::TaskStarted { round, .. } => now = *round,
                Did::TrialStarted { trial, .. } if now == round => drop(begun.insert(trial.as_str())),
                _ => {}
            }
        }
    }
    begun
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::Cause;

    pub(in crate::sweep::slurm) fn lines(what: &[Did]) -> Vec<Line> {
        let line = |what: &Did| Line { what: what.clone(), time: jiff::Timestamp::UNIX_EPOCH };
        what.iter().map(line).collect()
    }

    pub(in crate::sweep::slurm) fn task(round: u32, trial: &str) -> Did {
        Did::TaskStarted { round, trial: trial.into(), task: "7_1".into(), restart: 0 }
    }

    pub(in crate::sweep::slurm) fn started(trial: &str) -> Did {
        Did::TrialStarted { trial: trial.into(), attempt: "a".into() }
    }

    pub(in crate::sweep::slurm) fn ended(trial: &str, state: TrialState, cause: Option<Cause>) -> Did {
        Did::TrialEnded {
            trial: trial.into(),
            state,
            cause,
            unfit: Vec::new(),
            damage: Vec::new(),
            planned_s: 4.0,
            took_s: 6.0,
            commit_s: 0.1,
            planned_bytes: 1,
            bytes: 2,
            predicted: false,
        }
    }

    fn failed() -> TrialState {
        TrialState::Failed { why: "no".into() }
    }

    fn bad() -> Did {
        Did::NodeFailed { node: "n".into(), why: "no space".into() }
    }

    #[test]
    fn a_node_is_left_out_after_two_failures_without_a_trial_done_between() {
        let nodes = BTreeMap::from([
            ("n1".to_owned(), lines(&[bad(), ended("a", TrialState::Done, None), bad()])),
            ("n2".to_owned(), lines(&[bad(), ended("a", failed(), Some(Cause::Trial)), bad()])),
            ("n3".to_owned(), lines(&[])),
        ]);
        assert_eq!(left_out(&nodes), BTreeMap::from([("n2".to_owned(), "no space".to_owned())]));
    }

    #[test]
    fn what_was_killed_or_failed_by_its_node_counts_against_no_trial() {
        let partial = TrialState::Partial { why: "interrupted".into() };
        let nodes = BTreeMap::from([
            (
                "n1".to_owned(),
                lines(&[task(1, "a"), started("a"), task(1, "b"), started("b"), ended("b", TrialState::Done, None)]),
            ),
            (
                "n2".to_owned(),
                lines(&[task(1, "c"), started("c"), ended("c", failed(), Some(Cause::Machine)), bad()]),
            ),
            (
                "n3".to_owned(),
                lines(&[
                    task(1, "d"),
                    started("d"),
                    ended("d", failed(), Some(Cause::Trial)),
                    task(2, "e"),
                    started("e"),
                    ended("e", partial, None),
                ]),
            ),
            ("n4".to_owned(), lines(&[task(2, "a"), started("a")])),
        ]);
        let of =
            |pairs: &[(&str, u32)]| pairs.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        assert_eq!(in_vain(&nodes, false), of(&[("a", 1), ("c", 1), ("e", 1)]));
        assert_eq!(in_vain(&nodes, true), of(&[("a", 2), ("c", 1), ("e", 1)]));
        assert_eq!(begun(&nodes, 2), BTreeSet::from(["a", "e"]));
    }
}
