//! What is to be tried next, given what is there. A value: nothing here knows of files or clocks.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::store::Cause;

/// The machine may fail so often in a row before there is no sense in going on.
const MACHINE_IN_A_ROW: u32 = 3;
/// The machine may fail so often at one trial, though others come to their end meanwhile, before it is the trial that
/// is too much for it.
const MACHINE_AT_A_TRIAL: u32 = 3;

/// What is made of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// How often a trial that failed is tried again, after all others.
    pub retry: u32,
    /// How often a trial on which the machine did not keep up is tried again, after all others; then the last one
    /// counts, unfit as it is.
    #[serde(default)]
    pub retry_unfit: u32,
    /// Try those again that earlier sessions have given up.
    pub retry_failed: bool,
    /// Stop when a trial is given up.
    pub fail_fast: bool,
    /// Stop when so many are.
    pub max_failures: Option<u32>,
}

/// How an attempt at a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The trial is done.
    Done,
    /// It came to its end, and the machine had not kept up.
    Unfit,
    /// It failed, for this cause.
    Failed(Cause),
}

/// What was tried before and is not done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// Failures of each trial that count.
    pub failed: BTreeMap<String, u32>,
    /// How often each was unfit.
    pub unfit: BTreeMap<String, u32>,
}

/// What a session does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The trial of this id is tried.
    Trial(String),
    /// Nothing: every trial is done or given up.
    Finished,
    /// Nothing, though there are trials left.
    Stop(Stop),
}

/// Why a sweep ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A trial was given up, and that was to end it.
    FailFast,
    /// So many were given up.
    MaxFailures(u32),
    /// The machine has failed so often in a row.
    Machine(u32),
}

/// The trials that are to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    policy: Policy,
    waiting: VecDeque<String>,
    /// Failures of each trial that count.
    failures: HashMap<String, u32>,
    /// How often each was unfit.
    unfit: HashMap<String, u32>,
    /// How often the machine failed at each.
    too_much: HashMap<String, u32>,
    given_up: BTreeSet<String>,
    given_up_now: u32,
    machine_in_a_row: u32,
}

impl Queue {
    /// All trials of the order that are not done, without those that have failed too often in earlier sessions.
    #[must_use]
    pub fn new<'a>(
        order: impl IntoIterator<Item = &'a str>,
        done: &BTreeSet<String>,
        before: &Before,
        policy: Policy,
    ) -> Queue {
        let mut queue = Queue {
            policy,
            waiting: VecDeque::new(),
            failures: HashMap::new(),
            unfit: before.unfit.iter().map(|(id, times)| (id.clone(), *times)).collect(),
            too_much: HashMap::new(),
            given_up: BTreeSet::new(),
            given_up_now: 0,
            machine_in_a_row: 0,
        };
        for id in order.into_iter().filter(|id| !done.contains(*id)) {
            let before = before.failed.get(id).copied().filter(|_| !policy.retry_failed).unwrap_or(0);
            if before > policy.retry {
                queue.given_up.insert(id.to_owned());
            } else {
                queue.failures.insert(id.to_owned(), before);
                queue.waiting.push_back(id.to_owned());
            }
        }
        queue
    }

    /// Puts further trials behind those that wait.
    pub fn add(&mut self, ids: impl IntoIterator<Item = String>) {
        self.waiting.extend(ids);
    }

    /// What comes next.
    #[must_use]
    pub fn next(&self) -> Next {
        let Some(first) = self.waiting.front() else { return Next::Finished };
        if self.machine_in_a_row >= MACHINE_IN_A_ROW {
            return Next::Stop(Stop::Machine(self.machine_in_a_row));
        }
        if self.policy.fail_fast && self.given_up_now > 0 {
            return Next::Stop(Stop::FailFast);
        }
        match self.policy.max_failures {
            Some(most) if self.given_up_now >= most => Next::Stop(Stop::MaxFailures(self.given_up_now)),
            _ => Next::Trial(first.clone()),
        }
    }

    /// Whether an attempt at this trial that is unfit is to be kept back, for the trial is tried again.
    #[must_use]
    pub fn tries_again_if_unfit(&self, id: &str) -> bool {
        self.unfit.get(id).copied().unwrap_or(0) < self.policy.retry_unfit
    }

    /// Puts a trial behind the others that wait.
    pub fn put_off(&mut self, id: &str) {
        if let Some(place) = self.waiting.iter().position(|waiting| waiting == id)
            && let Some(id) = self.waiting.remove(place)
        {
            self.waiting.push_back(id);
        }
    }

    /// Takes in how an attempt ended.
    pub fn ended(&mut self, id: &str, how: Ended) {
        self.waiting.retain(|waiting| waiting != id);
        match how {
            Ended::Done => self.machine_in_a_row = 0,
            Ended::Unfit => {
                self.machine_in_a_row = 0;
                let again = self.tries_again_if_unfit(id);
                *self.unfit.entry(id.to_owned()).or_insert(0) += 1;
                if again {
                    self.waiting.push_back(id.to_owned());
                }
            }
            // It says nothing of the trial, unless the machine fails at no other.
            Ended::Failed(Cause::Machine) => {
                self.machine_in_a_row += 1;
                let times = self.too_much.entry(id.to_owned()).or_insert(0);
                *times += 1;
                if *times >= MACHINE_AT_A_TRIAL && self.machine_in_a_row < MACHINE_IN_A_ROW {
                    self.given_up.insert(id.to_owned());
                    self.given_up_now += 1;
                } else {
                    self.waiting.push_back(id.to_owned());
                }
            }
            Ended::Failed(Cause::Trial) => {
                self.machine_in_a_row = 0;
                let failures = self.failures.entry(id.to_owned()).or_insert(0);
                *failures += 1;
                if *failures > self.policy.retry {
                    self.given_up.insert(id.to_owned());
                    self.given_up_now += 1;
                } else {
                    self.waiting.push_back(id.to_owned());
                }
            }
        }
    }

    /// Those that are still to be tried, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(String::as_str)
    }

    /// Those that have failed too often.
    #[must_use]
    pub fn given_up(&self) -> &BTreeSet<String> {
        &self.given_up
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("t{n}")).collect()
    }

    fn queue(count: usize, policy: Policy) -> Queue {
        Queue::new(ids(count).iter().map(String::as_str), &BTreeSet::new(), &Before::default(), policy)
    }

    fn trial(queue: &Queue) -> String {
        match queue.next() {
            Next::Trial(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failed_trial_comes_again_after_the_others_and_stops_none() {
        let mut queue = queue(2, Policy { retry: 1, ..Policy::default() });
        for (id, how) in
            [("t0", Ended::Failed(Cause::Trial)), ("t1", Ended::Done), ("t0", Ended::Failed(Cause::Trial))]
        {
            assert_eq!(trial(&queue), id);
            queue.ended(id, how);
        }
        assert_eq!(queue.next(), Next::Finished);
        assert_eq!(queue.given_up(), &BTreeSet::from(["t0".to_owned()]));
    }

    #[test]
    fn the_machine_is_not_the_trials_fault_and_ends_a_sweep_that_cannot_go_on() {
        let mut queue = queue(5, Policy::default());
        for _ in 0..3 {
            let id = trial(&queue);
            queue.ended(&id, Ended::Failed(Cause::Machine));
        }
        assert_eq!(queue.next(), Next::Stop(Stop::Machine(3)));
        assert_eq!((queue.waiting().count(), queue.given_up().len()), (5, 0));
    }

    #[test]
    fn a_trial_that_is_too_much_for_the_machine_stops_no_other() {
        let mut queue = queue(3, Policy::default());
        let mut tried = Vec::new();
        while let Next::Trial(id) = queue.next() {
            queue.ended(&id, if id == "t1" { Ended::Failed(Cause::Machine) } else { Ended::Done });
            tried.push(id);
        }
        assert_eq!(tried, ["t0", "t1", "t2", "t1", "t1"]);
        assert_eq!((queue.next(), queue.given_up().len()), (Next::Finished, 1));
    }

    #[test]
    fn failures_can_be_made_to_stop_everything() {
        let mut fast = queue(3, Policy { fail_fast: true, ..Policy::default() });
        fast.ended("t0", Ended::Failed(Cause::Trial));
        assert_eq!(fast.next(), Next::Stop(Stop::FailFast));
        let mut some = queue(3, Policy { max_failures: Some(2), ..Policy::default() });
        some.ended("t0", Ended::Failed(Cause::Trial));
        assert_eq!(trial(&some), "t1");
        some.ended("t1", Ended::Failed(Cause::Trial));
        assert_eq!(some.next(), Next::Stop(Stop::MaxFailures(2)));
    }

    #[test]
    fn what_earlier_sessions_gave_up_is_tried_again_only_if_asked_for() {
        let failed = BTreeMap::from([("t0".to_owned(), 1), ("t1".to_owned(), 3)]);
        let before = Before { failed, ..Before::default() };
        let of = |policy| {
            let ids = ids(3);
            let queue = Queue::new(ids.iter().map(String::as_str), &BTreeSet::new(), &before, policy);
            queue.waiting().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of(Policy::default()), ["t2"]);
        assert_eq!(of(Policy { retry: 1, ..Policy::default() }), ["t0", "t2"]);
        assert_eq!(of(Policy { retry_failed: true, ..Policy::default() }), ["t0", "t1", "t2"]);
    }

    #[test]
    fn an_unfit_trial_is_tried_again_as_often_as_asked_and_then_counts() {
        let mut queue = queue(2, Policy { retry_unfit: 2, ..Policy::default() });
        for (id, how, again) in [
            ("t0", Ended::Unfit, true),
            ("t1", Ended::Done, true),
            ("t0", Ended::Unfit, true),
            ("t0", Ended::Unfit, false),
        ] {
            assert_eq!((trial(&queue).as_str(), queue.tries_again_if_unfit(id)), (id, again));
            queue.ended(id, how);
        }
        assert_eq!((queue.next(), queue.given_up().len()), (Next::Finished, 0));

        let before = Before { unfit: BTreeMap::from([("t0".to_owned(), 1)]), ..Before::default() };
        let policy = Policy { retry_unfit: 1, ..Policy::default() };
        let queue = Queue::new(["t0", "t1"], &BTreeSet::new(), &before, policy);
        assert_eq!([queue.tries_again_if_unfit("t0"), queue.tries_again_if_unfit("t1")], [false, true]);
    }

    proptest! {
        /// Whatever happens, and wherever the session is cut and resumed, each trial is done once or given up, and
        /// never tried more often than it may.
        #[test]
        fn every_trial_is_done_once_or_given_up(
            count in 1_usize..8,
            retry in 0_u32..3,
            retry_unfit in 0_u32..3,
            luck in prop::collection::vec(0_u8..8, 0..200),
        ) {
            let policy = Policy { retry, retry_unfit, ..Policy::default() };
            let all = ids(count);
            let (mut done, mut before) = (BTreeSet::new(), Before::default());
            let mut queue = Queue::new(all.iter().map(String::as_str), &done, &before, policy);
            let mut luck = luck.into_iter().chain(std::iter::repeat(0));
            let mut steps = 0;
            while let Next::Trial(id) = queue.next() {
                steps += 1;
                prop_assert!(steps < 2000);
                prop_assert!(!done.contains(&id));
                match luck.next().unwrap() {
                    0..=2 => {
                        prop_assert!(done.insert(id.clone()));
                        queue.ended(&id, Ended::Done);
                    }
                    6 | 7 if queue.tries_again_if_unfit(&id) => {
                        let unfit = before.unfit.entry(id.clone()).or_insert(0);
                        *unfit += 1;
                        prop_assert!(*unfit <= retry_unfit);
                        queue.ended(&id, Ended::Unfit);
                    }
                    6 | 7 => {
                        prop_assert!(done.insert(id.clone()));
                        queue.ended(&id, Ended::Unfit);
                    }
                    3 | 4 => {
                        let failures = before.failed.entry(id.clone()).or_insert(0);
                        *failures += 1;
                        prop_assert!(*failures <= retry + 1);
                        queue.ended(&id, Ended::Failed(Cause::Trial));
                    }
                    // Killed in mid-trial, and resumed from what the store tells.
                    _ => queue = Queue::new(all.iter().map(String::as_str), &done, &before, policy),
                }
            }
            prop_assert_eq!(queue.next(), Next::Finished);
            let given_up: BTreeSet<String> =
                before.failed.iter().filter(|(id, n)| **n > retry && !done.contains(*id)).map(|(id, _)| id.clone()).collect();
            prop_assert_eq!(queue.given_up(), &given_up);
            prop_assert_eq!(done.len() + given_up.len(), count);
        }
    }
}
