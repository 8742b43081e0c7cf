//! What comes after a round, given what is there: a value, by the same [`Queue`] as on one machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::Planned;
use crate::sweep::queue::{Before, Policy, Queue, Stop};
use crate::sweep::report::End;

/// A trial may be begun so often in a session without anything being learned of it.
const VAIN: u32 = 4;

/// What is known when a round is over.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The trials that are to be tried in any case, in order.
    pub needed: Vec<&'a Planned>,
    /// Ids of the trials that are done.
    pub done: &'a BTreeSet<String>,
    /// How often trials have failed for their own sake.
    pub failed: BTreeMap<String, u32>,
    /// How often they had before this session.
    pub failed_before: &'a BTreeMap<String, u32>,
    /// Attempts of this session that said nothing of their trial.
    pub vain: BTreeMap<String, u32>,
    /// What is done when trials fail.
    pub policy: Policy,
    /// Trials that were begun in the round that is over; `None`: there was none.
    pub begun: Option<usize>,
    /// Why nodes are left out.
    pub left_out: BTreeMap<String, String>,
    /// `livectl stop` has asked for the end.
    pub asked: bool,
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A round of these trials.
    Try(Vec<String>),
    /// All that is to be tried in any case was; these were given up.
    Tried(BTreeSet<String>),
    /// The session ends though there are trials left.
    End(End),
}

impl Facts<'_> {
    /// Decides what is done next.
    #[must_use]
    pub fn next(&self) -> Next {
        if self.asked {
            return Next::End(End::Asked);
        }
        let Policy { retry, retry_failed, .. } = self.policy;
        let before = |id: &String| self.failed_before.get(id).copied().unwrap_or(0);
        let counts = |(id, times): (&String, &u32)| {
            (id.clone(), if retry_failed { times.saturating_sub(before(id)) } else { *times })
        };
        let failed: BTreeMap<String, u32> = self.failed.iter().map(counts).collect();
        let policy = Policy { retry_failed: false, ..self.policy };
        let order = self.needed.iter().map(|trial| trial.id.as_str());
        let queue = Queue::new(order, self.done, &Before { failed, ..Before::default() }, policy);
        let given_up_now = queue.given_up().iter().filter(|id| retry_failed || before(id) <= retry).count();
        let given_up_now = u32::try_from(given_up_now).unwrap_or(u32::MAX);
        let is_vain = |id: &&str| self.vain.get(*id).is_some_and(|times| *times >= VAIN);
        let (vain, to_try): (Vec<&str>, Vec<&str>) = queue.waiting().partition(is_vain);
        if to_try.is_empty() && vain.is_empty() {
            return Next::Tried(queue.given_up().clone());
        }
        if self.policy.fail_fast && given_up_now > 0 {
            return Next::End(End::Stopped(Stop::FailFast));
        }
        if self.policy.max_failures.is_some_and(|most| given_up_now >= most) {
            return Next::End(End::Stopped(Stop::MaxFailures(given_up_now)));
        }
        if to_try.is_empty() {
            let why = format!(
                "{} trials were started {VAIN} times and never finished (killed, or the node failed): {}",
                vain.len(),
                vain.first().unwrap_or(&"")
            );
            return Next::End(End::Machine(why));
        }
        if self.begun == Some(0) {
            let nodes: Vec<String> = self.left_out.iter().map(|(node, why)| format!("{node}: {why}")).collect();
            let why = if nodes.is_empty() {
                "no task of the last round started a trial; were they cancelled?".to_owned()
            } else {
                format!("no node can run trials ({})", nodes.join("; "))
            };
            return Next::End(End::Machine(why));
        }
        Next::Try(to_try.into_iter().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::{Point, Scheme};

    fn planned(count: u32) -> Vec<Planned> {
        let of = |n| Planned { id: format!("t{n}"), point: Point::new(Scheme::Direct, n), seconds: 4.0, bytes: 1 };
        (0..count).map(of).collect()
    }

    fn counts(pairs: &[(&str, u32)]) -> BTreeMap<String, u32> {
        pairs.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect()
    }

    fn facts<'a>(trials: &'a [Planned], done: &'a BTreeSet<String>, before: &'a BTreeMap<String, u32>) -> Facts<'a> {
        Facts {
            needed: trials.iter().collect(),
            done,
            failed: before.clone(),
            failed_before: before,
            vain: BTreeMap::new(),
            policy: Policy::default(),
            begun: None,
            left_out: BTreeMap::new(),
            asked: false,
        }
    }

    fn ids(of: &[&str]) -> Next {
        Next::Try(of.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn what_is_not_done_comes_again_until_it_has_failed_too_often() {
        let (trials, done, none) = (planned(4), BTreeSet::from(["t1".to_owned()]), BTreeMap::new());
        let first = facts(&trials, &done, &none);
        assert_eq!(first.next(), ids(&["t0", "t2", "t3"]));
        let policy = Policy { retry: 1, ..Policy::default() };
        let failed = counts(&[("t0", 1), ("t2", 2)]);
        let second = Facts { policy, failed, begun: Some(3), ..first.clone() };
        assert_eq!(second.next(), ids(&["t0", "t3"]));
        let all = counts(&[("t0", 2), ("t2", 2), ("t3", 3)]);
        let last = Facts { failed: all, ..second.clone() };
        assert_eq!(last.next(), Next::Tried(["t0", "t2", "t3"].map(str::to_owned).into()));
        assert_eq!(Facts { asked: true, ..second }.next(), Next::End(End::Asked));
    }

    #[test]
    fn retry_failed_forgets_what_was_before_and_only_that() {
        let (trials, done, before) = (planned(2), BTreeSet::new(), counts(&[("t0", 3)]));
        let usual = facts(&trials, &done, &before);
        assert_eq!(usual.next(), ids(&["t1"]));
        let again = Facts { policy: Policy { retry_failed: true, ..Policy::default() }, ..usual };
        assert_eq!(again.next(), ids(&["t0", "t1"]));
        let once_more = Facts { failed: counts(&[("t0", 4)]), begun: Some(2), ..again };
        assert_eq!(once_more.next(), ids(&["t1"]), "it had its chance");
    }

    #[test]
    fn failures_of_this_session_can_stop_it_and_earlier_ones_cannot() {
        let (trials, done, before) = (planned(3), BTreeSet::new(), counts(&[("t0", 1)]));
        let policy = Policy { fail_fast: true, ..Policy::default() };
        let first = Facts { policy, ..facts(&trials, &done, &before) };
        assert_eq!(first.next(), ids(&["t1", "t2"]));
        let failed = counts(&[("t0", 1), ("t1", 1)]);
        assert_eq!(Facts { failed: failed.clone(), ..first.clone() }.next(), Next::End(End::Stopped(Stop::FailFast)));
        let policy = Policy { max_failures: Some(2), ..Policy::default() };
        let some = Facts { policy, failed, ..first };
        assert_eq!(some.next(), ids(&["t2"]));
    }

    #[test]
    fn a_sweep_that_gets_nowhere_ends_and_says_why() {
        let (trials, done, none) = (planned(2), BTreeSet::new(), BTreeMap::new());
        let told = |facts: &Facts<'_>| match facts.next() {
            Next::End(End::Machine(why)) => why,
            other => panic!("{other:?}"),
        };
        let stuck = Facts { begun: Some(0), ..facts(&trials, &done, &none) };
        assert!(told(&stuck).contains("were they cancelled?"));
        let left_out = BTreeMap::from([("n2".to_owned(), "no netem".to_owned())]);
        assert!(told(&Facts { left_out, ..stuck.clone() }).contains("no node can run trials (n2: no netem)"));
        let killed = Facts { begun: Some(2), vain: counts(&[("t0", 4), ("t1", 3)]), ..stuck };
        assert_eq!(killed.next(), ids(&["t1"]), "others go on");
        let killed = Facts { vain: counts(&[("t0", 4), ("t1", 5)]), ..killed };
        assert!(told(&killed).starts_with("2 trials were started 4 times"));
    }
}
