//! Which trials' captures are kept, and how the others are deleted.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::plan::LinkKind;
use crate::store::{Captures, StoreError, TrialDir, TrialRecord, TrialState};
use crate::table;

/// Whose captures are kept. They are dropped only after the tables have been computed from them a second time and are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Everybody's.
    #[default]
    All,
    /// Those of trials that failed, are unfit or damaged.
    Failed,
    /// Nobody's. A trial without tables keeps its own all the same: there is nothing else of it.
    None,
}

impl Keep {
    fn drops(self, record: &TrialRecord) -> bool {
        let sound = record.unfit.is_empty() && record.damage.is_empty();
        record.state == TrialState::Done && (self == Keep::None || self == Keep::Failed && sound)
    }
}

/// Drops a trial's captures, if that is the policy and its tables come out of them a second time as they are.
pub(super) fn drop_captures(
    dir: &TrialDir,
    record: &mut TrialRecord,
    (keep, links): (Keep, LinkKind),
) -> Result<(), StoreError> {
    let captures = dir.path().join("pcap");
    if record.captures.are_kept() {
        if !keep.drops(record) {
            return Ok(());
        }
        let same = table::analyse(dir, record, Some(links))
            .and_then(|again| again.compare(dir))
            .is_ok_and(|found| found.differences.is_empty() && found.no_longer_known.is_empty());
        if !same {
            tracing::warn!("{}: its tables do not follow from its captures, so these are kept", record.id);
            return Ok(());
        }
        record.captures = Captures::Dropped;
        record.files.retain(|name, _| !name.starts_with("pcap/"));
        record.save(dir)?;
    }
    // Also after a session that was killed between the record and this.
    match fs::remove_dir_all(&captures) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Io { doing: "remove", path: captures, source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(state: TrialState, unfit: bool) -> TrialRecord {
        let text = include_str!("../../recipes/smoke.yaml");
        let plan = crate::recipe::from_str("recipes/x.yaml", text).unwrap().plan;
        let unfit = if unfit { vec!["CPU pressure".to_owned()] } else { Vec::new() };
        TrialRecord { state, unfit, ..TrialRecord::planned(&plan.trials[0]) }
    }

    #[test]
    fn captures_are_dropped_of_whom_the_policy_says_and_of_nobody_without_tables() {
        let failed = TrialState::Failed { why: "nginx ended".into() };
        let drops = |keep: Keep| {
            [(TrialState::Done, false), (TrialState::Done, true), (failed.clone(), false)]
                .map(|(state, unfit)| keep.drops(&record(state, unfit)))
        };
        assert_eq!(drops(Keep::All), [false, false, false]);
        assert_eq!(drops(Keep::Failed), [true, false, false]);
        assert_eq!(drops(Keep::None), [true, true, false]);
    }

    #[test]
    fn captures_whose_tables_cannot_be_computed_again_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = TrialDir::at(folder.path());
        fs::create_dir(folder.path().join("pcap")).unwrap();
        let mut record = record(TrialState::Done, false);
        drop_captures(&dir, &mut record, (Keep::None, LinkKind::Emulated)).unwrap();
        assert!(record.captures.are_kept() && folder.path().join("pcap").is_dir());
        // Dropped, and killed before the folder was gone.
        record.captures = Captures::Dropped;
        drop_captures(&dir, &mut record, (Keep::All, LinkKind::Emulated)).unwrap();
        assert!(!folder.path().join("pcap").exists());
    }
}
