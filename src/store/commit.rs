//! How a trial becomes done: its folder is renamed from `attempts/` into `trials/` when all in it is on the disk.
//!
//! A rename is one step for everybody who looks, and for a machine whose power fails: the folder is there whole or
//! not at all. Of two sessions that try the same trial the first to finish counts; the other is told so, and its
//! attempt stays as superseded.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{StoreError, TrialDir};

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The attempt is now the trial's folder.
    First,
    /// Someone else had done it before; the attempt stays where it is.
    Superseded,
}

/// A call to the file system; [`steps`] has them in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// What was written into the file is on the disk.
    SyncFile(PathBuf),
    /// The names in the folder are on the disk.
    SyncFolder(PathBuf),
    /// The folder is moved to its place: of two that try, one fails.
    Rename { from: PathBuf, to: PathBuf },
}

/// Puts an attempt in its place, `trials/<id>`, which must not have been made.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::NotWritable`], [`StoreError::Full`]; the attempt is then where it was, or in its
/// place.
pub fn commit(attempt: &TrialDir, place: &Path) -> Result<Committed, StoreError> {
    for step in steps(attempt.path(), place)? {
        match perform(&step) {
            Ok(()) => {}
            Err(error) if matches!(step, Step::Rename { .. }) && is_taken(&error) => {
                return Ok(Committed::Superseded);
            }
            // Over NFS a rename that is asked for again may say that there is nothing to rename, for it has been
            // done.
            Err(error)
                if matches!(step, Step::Rename { .. })
                    && error.kind() == io::ErrorKind::NotFound
                    && place.exists()
                    && !attempt.path().exists() => {}
            Err(source) => return Err(StoreError::writing(step.path(), source)),
        }
    }
    Ok(Committed::First)
}

/// A folder that holds something is never renamed over.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

impl Step {
    fn path(&self) -> &Path {
        match self {
            Step::SyncFile(path) | Step::SyncFolder(path) => path,
            Step::Rename { to, .. } => to,
        }
    }
}

/// All calls of a commit, in order. What is renamed has been synced before, from the files up.
fn steps(attempt: &Path, place: &Path) -> Result<Vec<Step>, StoreError> {
    let mut steps = Vec::new();
    sync(attempt, &mut steps)?;
    steps.push(Step::Rename { from: attempt.to_owned(), to: place.to_owned() });
    // Both names are on the disk when both folders are: first the new one, for a power cut between the two may leave
    // the old name as well, never none.
    steps.extend([place, attempt].into_iter().filter_map(Path::parent).map(|folder| Step::SyncFolder(folder.into())));
    Ok(steps)
}

fn sync(folder: &Path, steps: &mut Vec<Step>) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { doing: "read", path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            sync(&entry.path(), steps)?;
        } else if kind.is_file() {
            steps.push(Step::SyncFile(entry.path()));
        }
    }
    steps.push(Step::SyncFolder(folder.to_owned()));
    Ok(())
}

fn perform(step: &Step) -> io::Result<()> {
    match step {
        Step::SyncFile(path) | Step::SyncFolder(path) => File::open(path)?.sync_all(),
        Step::Rename { from, to } => fs::rename(from, to),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::store::{Owner, SweepDir};

    const FILES: [(&str, &str); 4] = [
        ("trial.json", "{}"),
        ("record.json", "{\"is\": \"done\"}"),
        ("pcap/hb-eth0.pcap", "packets"),
        ("log/x", ""),
    ];

    fn attempt(sweep: &SweepDir, name: &str) -> TrialDir {
        let dir = sweep.attempt("direct-1", name);
        for (file, text) in FILES {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn sweep() -> (tempfile::TempDir, SweepDir) {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(folder.path(), "smoke").unwrap();
        sweep.create(Owner::Process).unwrap();
        (folder, sweep)
    }

    fn content(folder: &Path) -> BTreeMap<String, String> {
        let text = |(file, _): &(&str, &str)| Some(((*file).to_owned(), fs::read_to_string(folder.join(file)).ok()?));
        FILES.iter().filter_map(text).collect()
    }

    fn whole() -> BTreeMap<String, String> {
        FILES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_first_is_done_and_the_second_superseded() {
        let (_folder, sweep) = sweep();
        let (a, b) = (attempt(&sweep, "a"), attempt(&sweep, "b"));
        let place = sweep.trials().join("direct-1");
        assert_eq!(commit(&a, &place).unwrap(), Committed::First);
        assert_eq!(commit(&b, &place).unwrap(), Committed::Superseded);
        assert!(!a.path().exists());
        assert_eq!((content(&place), content(b.path())), (whole(), whole()));
        assert_eq!(sweep.done().unwrap(), BTreeSet::from(["direct-1".to_owned()]));
    }

    #[test]
    fn of_many_who_commit_at_once_one_is_first() {
        let (_folder, sweep) = sweep();
        let attempts: Vec<TrialDir> = (0..8).map(|n| attempt(&sweep, &n.to_string())).collect();
        let place = sweep.trials().join("direct-1");
        let ends: Vec<Committed> = std::thread::scope(|scope| {
            let threads: Vec<_> = attempts.iter().map(|dir| scope.spawn(|| commit(dir, &place).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ends.iter().filter(|end| **end == Committed::First).count(), 1);
        assert_eq!(content(&place), whole());
    }

    /// A disk that has lost its power keeps of a file that was not synced perhaps its name and nothing of its
    /// content, and of a rename whose folders were not synced perhaps nothing.
    fn lose_power(performed: &[Step], from: &Path, to: &Path, rename_is_lost: bool) {
        let synced: BTreeSet<&Path> = performed.iter().map(Step::path).collect();
        let renamed = performed.iter().any(|step| matches!(step, Step::Rename { .. }));
        let on_disk = renamed && synced.contains(to.parent().unwrap());
        if renamed && !on_disk && rename_is_lost {
            fs::rename(to, from).unwrap();
        }
        let now = if to.exists() { to } else { from };
        for (file, _) in FILES {
            if !synced.contains(from.join(file).as_path()) {
                fs::write(now.join(file), "").unwrap();
            }
        }
    }

    #[test]
    fn after_a_power_cut_at_any_step_a_trial_is_done_whole_or_not_at_all() {
        let count = {
            let (_folder, sweep) = sweep();
            steps(attempt(&sweep, "a").path(), &sweep.trials().join("direct-1")).unwrap().len()
        };
        assert!(count > FILES.len() + 3);
        let mut done = 0;
        for (cut, rename_is_lost) in (0..=count).flat_map(|cut| [(cut, false), (cut, true)]) {
            let (_folder, sweep) = sweep();
            let (first, place) = (attempt(&sweep, "a"), sweep.trials().join("direct-1"));
            let all = steps(first.path(), &place).unwrap();
            all[..cut].iter().for_each(|step| perform(step).unwrap());
            lose_power(&all[..cut], first.path(), &place, rename_is_lost);

            // Afterwards the trial is either done and complete, or not done and can be run again.
            let known = sweep.done().unwrap();
            if known.is_empty() {
                let again = attempt(&sweep, "b");
                assert_eq!(commit(&again, &place).unwrap(), Committed::First, "cut at {cut}");
            } else {
                done += 1;
            }
            assert_eq!(content(&place), whole(), "cut at {cut}, {rename_is_lost}");
        }
        assert!(done >= 2, "the cuts after the rename leave it done");
    }

    #[test]
    fn a_place_that_cannot_be_had_leaves_the_attempt() {
        let (_folder, sweep) = sweep();
        let dir = attempt(&sweep, "a");
        let told = commit(&dir, Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(told.contains("/nowhere/at/all"), "{told}");
        assert_eq!(content(dir.path()), whole());
    }
}
