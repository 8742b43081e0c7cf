//! What a session does with what earlier ones left, however they ended.

use std::collections::BTreeMap;
use std::fs;

use jiff::{SignedDuration, Timestamp};

use super::SweepError;
use super::keep::{Keep, drop_captures};
use super::session::Process;
use crate::plan::LinkKind;
use crate::store::{self, Attempt, Committed, StoreError, SweepDir, TrialRecord, TrialState};

/// A machine takes no longer from a trial's end to its commit.
const COMMITTING: SignedDuration = SignedDuration::from_mins(10);

/// Commits what earlier sessions had finished and not committed, and takes away what they had not finished. Whether
/// anything was committed. Unfit attempts stay where they are while their trial is to be tried again.
pub(super) fn recover(sweep: &SweepDir, keep: (Keep, LinkKind), retry_unfit: u32) -> Result<bool, SweepError> {
    let host = Process::this().host;
    let done = sweep.done()?;
    let mut committed = false;
    let tried = sweep.tried()?;
    let is_unfit = |attempt: &Attempt| attempt.record.as_ref().is_some_and(TrialRecord::is_unfit);
    let mut unfit: BTreeMap<String, u32> = BTreeMap::new();
    for attempt in tried.iter().filter(|attempt| is_unfit(attempt)) {
        *unfit.entry(attempt.trial.clone()).or_insert(0) += 1;
    }
    // The latest first: of several that may count, that one does.
    for attempt in tried.into_iter().rev() {
        let waits = is_unfit(&attempt) && unfit.get(&attempt.trial).is_some_and(|times| *times <= retry_unfit);
        let name = attempt.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_own = name.contains(&format!("-{host}-")) || name.contains("-slurm_");
        match attempt.record.filter(|record| record.ended.is_some()) {
            // It came to its end and livectl did not.
            Some(mut record) if record.state == TrialState::Done => {
                // Another machine may be about to commit it.
                let is_settled = is_own || record.ended.is_some_and(|ended| Timestamp::now() - COMMITTING > ended);
                if is_settled && !done.contains(&attempt.trial) && !waits {
                    drop_captures(&attempt.dir, &mut record, keep)?;
                    let place = sweep.trials().join(&attempt.trial);
                    committed |= store::commit(&attempt.dir, &place)? == Committed::First;
                }
            }
            // Told of in the table of failures.
            Some(TrialRecord { state: TrialState::Failed { .. }, .. }) => {}
            _ => {
                // Those of other machines may still run.
                if name.contains(&format!("-{host}-")) {
                    remove(attempt.dir.path())?;
                }
            }
        }
        // Goes only when it is empty.
        let _ = fs::remove_dir(sweep.attempts().join(&attempt.trial));
    }
    Ok(committed)
}

pub(super) fn remove(folder: &std::path::Path) -> Result<(), StoreError> {
    fs::remove_dir_all(folder).map_err(|source| StoreError::Io { doing: "remove", path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Trial;
    use crate::store::{Captures, Owner};

    struct Store {
        _folder: tempfile::TempDir,
        sweep: SweepDir,
        trials: Vec<Trial>,
    }

    impl Store {
        fn new() -> Store {
            let folder = tempfile::tempdir().unwrap();
            let sweep = SweepDir::of(folder.path(), "x").unwrap();
            sweep.create(Owner::Process).unwrap();
            let text = format!("repetitions: 9\n{}", include_str!("../../recipes/smoke.yaml"));
            let trials = crate::recipe::from_str("recipes/x.yaml", &text).unwrap().plan.trials;
            Store { _folder: folder, sweep, trials }
        }

        /// An attempt at the trial of that number, by a session of `host`.
        fn attempt(&self, number: usize, host: &str, change: impl Fn(&mut TrialRecord)) -> std::path::PathBuf {
            let trial = &self.trials[number];
            let dir = self.sweep.attempt(&trial.id, &format!("20261129T000000Z-{host}-7-abcdef01-{number}"));
            dir.create(Owner::Process).unwrap();
            let mut record = TrialRecord::planned(trial);
            record.state = TrialState::Running;
            change(&mut record);
            record.save(&dir).unwrap();
            dir.path().to_owned()
        }

        fn is_done(&self, number: usize) -> bool {
            self.sweep.done().unwrap().contains(&self.trials[number].id)
        }
    }

    fn ended(record: &mut TrialRecord) {
        record.state = TrialState::Done;
        record.ended = Some(jiff::Timestamp::now());
    }

    #[test]
    fn what_was_finished_is_committed_and_what_was_not_is_taken_away() {
        let store = Store::new();
        let host = Process::this().host;
        store.attempt(0, &host, ended);
        let running = store.attempt(1, &host, |_| {});
        let unanalysed = store.attempt(2, &host, |record| record.state = TrialState::Done);
        let failed = store.attempt(3, &host, |record| {
            ended(record);
            record.state = TrialState::Failed { why: "nginx ended".into() };
        });
        let elsewhere = store.attempt(4, "elsewhere", |_| {});
        let committing = store.attempt(6, "elsewhere", ended);
        let forgotten = store.attempt(7, "elsewhere", |record| {
            ended(record);
            record.ended = Some(Timestamp::now() - SignedDuration::from_hours(1));
        });
        let dropped = store.attempt(5, &host, |record| {
            ended(record);
            record.captures = Captures::Dropped;
        });
        assert!(dropped.join("pcap").is_dir());
        let keep = (Keep::All, LinkKind::Emulated);
        assert!(recover(&store.sweep, keep, 0).unwrap());
        assert_eq!([0, 1, 2, 3, 4, 5].map(|number| store.is_done(number)), [true, false, false, false, false, true]);
        assert!(!running.exists() && !unanalysed.exists());
        assert!(failed.exists() && elsewhere.exists());
        assert_eq!((committing.exists(), forgotten.exists(), store.is_done(7)), (true, false, true));
        assert!(!store.sweep.trials().join(&store.trials[5].id).join("pcap").exists());

        // The second to finish keeps its attempt, and nothing is committed twice.
        let second = store.attempt(0, &host, ended);
        assert!(!recover(&store.sweep, keep, 0).unwrap());
        assert!(second.exists() && store.is_done(0));
        let left: Vec<String> = store.sweep.tried().unwrap().into_iter().map(|attempt| attempt.trial).collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn an_unfit_attempt_waits_for_a_better_one_as_long_as_there_may_be_one() {
        let store = Store::new();
        let host = Process::this().host;
        let unfit = |record: &mut TrialRecord| {
            ended(record);
            record.unfit = vec!["the machine stood still".into()];
        };
        let keep = (Keep::All, LinkKind::Emulated);
        store.attempt(0, &host, unfit);
        assert!(!recover(&store.sweep, keep, 1).unwrap());
        assert_eq!((store.is_done(0), store.sweep.tried().unwrap().len()), (false, 1));
        let second = store.sweep.attempt(&store.trials[0].id, &format!("20261129T000001Z-{host}-8-abcdef02-1"));
        second.create(Owner::Process).unwrap();
        let mut record = TrialRecord { state: TrialState::Running, ..TrialRecord::planned(&store.trials[0]) };
        record.started = Some(jiff::Timestamp::now());
        unfit(&mut record);
        record.save(&second).unwrap();
        assert!(recover(&store.sweep, keep, 1).unwrap(), "there will be no other");
        assert!(store.is_done(0) && !second.path().exists(), "the latest counts");
        assert_eq!(store.sweep.tried().unwrap().len(), 1);
    }
}
