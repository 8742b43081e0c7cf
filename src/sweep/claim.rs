//! Several machines at one sweep, in a folder that they share, without a lock: who begins a trial leaves the record
//! of an attempt that runs, and others take the next one. It is a courtesy that saves time. Two that begin the same
//! trial in the same moment, or a clock that is off, cost a trial that is superseded; a machine that has died blocks
//! its trial until the attempt is older than any attempt takes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::plan::Trial;
use crate::predict;
use crate::store::{Attempt, Cause, Owner, StoreError, SweepDir, TrialDir, TrialRecord, TrialState};

/// What an attempt may take beyond its timeline: boot, measurement, teardown, and as much for what a trial is killed
/// after.
const ROOM: Duration = Duration::from_secs(360);

/// A trial that has come to its end has its place by then.
const COMMITTING: SignedDuration = SignedDuration::from_secs(30);

/// For somebody else to take an attempt back.
const YIELDING: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// What others have made of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// Nobody is at it, and no failure counts.
    Free,
    /// Somebody else is at it.
    Claimed,
    /// Attempts of others have failed for the trial's sake: their names.
    Failed(BTreeSet<String>),
}

/// Looks at the attempts at a trial. `mine` is the name of the session, with which those of its own begin.
pub(super) fn elsewhere(sweep: &SweepDir, trial: &Trial, mine: &str) -> Result<Elsewhere, StoreError> {
    Ok(judged(&sweep.tried_of(&trial.id)?, mine, Timestamp::now(), allowance(trial)))
}

fn allowance(trial: &Trial) -> Duration {
    let takes = if trial.point.is_predicted() {
        // An estimate, and machines differ.
        predict::cost::takes(trial) * 10
    } else {
        trial.timeline.end + trial.timeline.drain
    };
    takes.saturating_add(ROOM)
}

fn judged(attempts: &[Attempt], mine: &str, now: Timestamp, allowance: Duration) -> Elsewhere {
    let others = || attempts.iter().filter(|attempt| !name(attempt).starts_with(mine));
    if others().any(|attempt| runs(attempt, now, allowance)) {
        return Elsewhere::Claimed;
    }
    let has_failed = |attempt: &&Attempt| {
        attempt.record.as_ref().is_some_and(|record| {
            matches!(record.state, TrialState::Failed { .. })
                && record.cause != Some(Cause::Machine)
                // Of a session that began after this one: what was there before is counted already.
                && name(attempt).as_str() > mine
        })
    };
    let failed: BTreeSet<String> = others().filter(has_failed).map(name).collect();
    if failed.is_empty() { Elsewhere::Free } else { Elsewhere::Failed(failed) }
}

fn name(attempt: &Attempt) -> String {
    attempt.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether it is likely to come to an end. What has no record yet has just been begun, if its folder is new.
fn runs(attempt: &Attempt, now: Timestamp, allowance: Duration) -> bool {
    let allowance = SignedDuration::try_from(allowance).unwrap_or(SignedDuration::MAX);
    let is_young = |begun: Timestamp| now.duration_since(begun).abs() < allowance;
    match &attempt.record {
        // What is played is analysed and committed yet; what failed is over when that is recorded.
        Some(TrialRecord { state: TrialState::Done, ended: Some(ended), .. }) => {
            // One that stays for longer is unfit, and its trial is tried again.
            now.duration_since(*ended).abs() < COMMITTING
        }
        Some(record) => {
            let has_failed = matches!(record.state, TrialState::Failed { .. }) && record.ended.is_some();
            !has_failed && record.started.is_some_and(is_young)
        }
        None => {
            let made = std::fs::metadata(attempt.dir.path()).and_then(|folder| folder.modified());
            made.ok().and_then(|made| Timestamp::try_from(made).ok()).is_some_and(is_young)
        }
    }
}

/// Begins an attempt where others see it. `false`: somebody else has it, and the attempt is taken back.
///
/// Everybody makes a folder first and looks then, so of two at least one sees the other, and takes its own back. If
/// both have, the one whose name comes first tries again when the other's is gone.
pub(super) async fn claim(sweep: &SweepDir, trial: &Trial, dir: &TrialDir, owner: Owner) -> Result<bool, StoreError> {
    let mine = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let session = mine.rsplit_once('-').map_or(mine.as_str(), |(session, _)| session);
    let (deadline, mut looks) = (Instant::now() + YIELDING, tokio::time::interval(LOOK));
    let others = || -> Result<Vec<Attempt>, StoreError> {
        let (now, allowance) = (Timestamp::now(), allowance(trial));
        let is_other = |attempt: &Attempt| !name(attempt).starts_with(session) && runs(attempt, now, allowance);
        Ok(sweep.tried_of(&trial.id)?.into_iter().filter(is_other).collect())
    };
    loop {
        begin(trial, dir, owner)?;
        let seen = others()?;
        // Whoever had it may have finished in between.
        if seen.is_empty() && !sweep.done()?.contains(&trial.id) {
            return Ok(true);
        }
        super::recover::remove(dir.path())?;
        if seen.is_empty() {
            return Ok(false);
        }
        if seen.iter().any(|attempt| name(attempt) < mine) {
            return Ok(false);
        }
        while !others()?.is_empty() {
            if Instant::now() > deadline {
                return Ok(false);
            }
            looks.tick().await;
        }
    }
}

fn begin(trial: &Trial, dir: &TrialDir, owner: Owner) -> Result<(), StoreError> {
    // A session that has just finished this trial may remove the folder above it at the same moment.
    let made = (0..3).map(|_| dir.create(owner)).find(Result::is_ok);
    made.unwrap_or_else(|| dir.create(owner))?;
    let started = Some(Timestamp::now());
    TrialRecord { state: TrialState::Running, started, ..TrialRecord::planned(trial) }.save(dir)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALLOWANCE: Duration = Duration::from_secs(400);

    fn trial() -> Trial {
        crate::recipe::from_str("recipes/x.yaml", include_str!("../../recipes/smoke.yaml"))
            .unwrap()
            .plan
            .trials
            .remove(0)
    }

    fn attempt(name: &str, state: TrialState, cause: Option<Cause>, started: Timestamp) -> Attempt {
        let ended = matches!(state, TrialState::Failed { .. }).then_some(started);
        let record = TrialRecord { state, cause, started: Some(started), ended, ..TrialRecord::planned(&trial()) };
        let dir = TrialDir::at(&std::path::Path::new("attempts/x").join(name));
        Attempt { trial: record.id.clone(), dir, record: Some(record) }
    }

    #[test]
    fn what_another_machine_is_at_is_left_to_it_as_long_as_an_attempt_can_take() {
        let now: Timestamp = "2026-11-29T02:00:00Z".parse().unwrap();
        let mine = "20261129T000000Z-a-7-abcdef01";
        let ago = |seconds: i64| now - SignedDuration::from_secs(seconds);
        let running = |name: &str, seconds| attempt(name, TrialState::Running, None, ago(seconds));
        let look = |attempts: &[Attempt]| judged(attempts, mine, now, ALLOWANCE);
        assert_eq!(look(&[]), Elsewhere::Free);
        assert_eq!(look(&[running("20261129T010000Z-b-9-00000001-4", 30)]), Elsewhere::Claimed);
        let played = attempt("20261129T010000Z-b-9-00000001-4", TrialState::Done, None, ago(30));
        assert_eq!(look(&[played]), Elsewhere::Claimed, "it is analysed, and about to be committed");
        assert_eq!(look(&[running("20261129T010000Z-b-9-00000001-4", 500)]), Elsewhere::Free, "it has died");
        assert_eq!(look(&[running(&format!("{mine}-3"), 30)]), Elsewhere::Free, "its own");
        let nothing = Attempt { record: None, ..running("20261129T010000Z-b-9-00000001-4", 30) };
        assert_eq!(look(&[nothing]), Elsewhere::Free);
    }

    #[test]
    fn what_failed_elsewhere_meanwhile_counts_and_what_failed_before_or_by_a_machine_does_not() {
        let now: Timestamp = "2026-11-29T02:00:00Z".parse().unwrap();
        let mine = "20261129T000000Z-a-7-abcdef01";
        let failed = |name: &str, cause| attempt(name, TrialState::Failed { why: "no".into() }, Some(cause), now);
        let attempts = [
            failed("20261129T010000Z-b-9-00000001-1", Cause::Trial),
            failed("20261129T010000Z-b-9-00000001-2", Cause::Machine),
            failed("20261128T010000Z-b-9-00000001-1", Cause::Trial),
        ];
        let counted = BTreeSet::from(["20261129T010000Z-b-9-00000001-1".to_owned()]);
        assert_eq!(judged(&attempts, mine, now, ALLOWANCE), Elsewhere::Failed(counted));
        assert_eq!(judged(&attempts[1..], mine, now, ALLOWANCE), Elsewhere::Free);
    }

    /// A sweep of which nothing was tried, and a trial of it.
    fn beginning() -> (tempfile::TempDir, SweepDir, Trial) {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(folder.path(), "x").unwrap();
        sweep.create(Owner::Process).unwrap();
        (folder, sweep, trial())
    }

    #[tokio::test]
    async fn of_two_that_begin_at_once_one_goes_on() {
        let (_folder, sweep, trial) = beginning();
        let at = |name: &str| sweep.attempt(&trial.id, name);
        let (first, second) = (at("20261129T000000Z-a-7-00000001-1"), at("20261129T000001Z-b-7-00000002-1"));
        let both = tokio::join!(
            claim(&sweep, &trial, &first, Owner::Process),
            claim(&sweep, &trial, &second, Owner::Process)
        );
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (true, false));
        assert_eq!((first.path().exists(), second.path().exists()), (true, false));
        assert_eq!(elsewhere(&sweep, &trial, "20261129T000001Z-b-7-00000002").unwrap(), Elsewhere::Claimed);

        // The later one was there alone, and had no reason to yield: the earlier one lets it have the trial.
        super::super::recover::remove(first.path()).unwrap();
        second.create(Owner::Process).unwrap();
        assert!(!claim(&sweep, &trial, &first, Owner::Process).await.unwrap());
        assert_eq!((first.path().exists(), second.path().exists()), (false, true), "although it has no record yet");
    }

    #[tokio::test]
    async fn what_has_come_to_its_end_a_moment_ago_is_left_to_be_committed() {
        let (_folder, sweep, trial) = beginning();
        let at = |name: &str| sweep.attempt(&trial.id, name);
        let (first, second) = (at("20261129T000000Z-a-7-00000001-1"), at("20261129T000001Z-b-7-00000002-1"));
        first.create(Owner::Process).unwrap();
        let ended = |ago: i64| {
            let ended = Some(Timestamp::now() - SignedDuration::from_secs(ago));
            TrialRecord { state: TrialState::Done, ended, ..TrialRecord::planned(&trial) }.save(&first).unwrap();
        };
        ended(1);
        assert!(!claim(&sweep, &trial, &second, Owner::Process).await.unwrap());
        // Its own session's it does not wait for: that one was unfit, and this is the next go.
        let third = at("20261129T000000Z-a-7-00000001-2");
        assert!(claim(&sweep, &trial, &third, Owner::Process).await.unwrap());
        super::super::recover::remove(third.path()).unwrap();
        ended(600);
        assert!(claim(&sweep, &trial, &second, Owner::Process).await.unwrap(), "it was never committed");
    }

    #[test]
    fn of_many_that_begin_at_once_no_two_go_on() {
        let (_folder, sweep, trial) = beginning();
        let begin = |n: u32| {
            let dir = sweep.attempt(&trial.id, &format!("20261129T00000{n}Z-m{n}-7-0000000{n}-1"));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            u32::from(runtime.block_on(claim(&sweep, &trial, &dir, Owner::Process)).unwrap())
        };
        let went_on: u32 = std::thread::scope(|scope| {
            let begin = &begin;
            let threads: Vec<_> = (0..6).map(|n| scope.spawn(move || begin(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(went_on <= 1, "{went_on}");
    }
}
