//! The folder on a node's own disk in which a task measures, and the way from there into the shared one.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::{self, StoreError, TrialDir, TrialRecord};

/// A place on the node's own disk that goes with the task. Who comes later takes away what tasks left that were
/// killed: nobody holds its lock any more.
#[derive(Debug)]
pub(super) struct Scratch {
    base: PathBuf,
    /// What the attempt is called.
    pub(super) name: String,
    /// What the user cannot remove of those.
    pub(super) stale: Vec<PathBuf>,
    _held: File,
}

impl Scratch {
    /// Makes it, and takes away what nobody holds any more.
    pub(super) fn new(scratch: &Path, name: &str) -> Result<Scratch, String> {
        let me = nix::unistd::geteuid();
        let base = scratch.join(format!("livectl-{me}"));
        let failed = |what: &str, error: std::io::Error| format!("cannot {what} {}: {error}", base.display());
        match fs::create_dir(&base) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed("make", error) + "; `--scratch DIR` selects another folder");
            }
            _ => {}
        }
        let found = fs::symlink_metadata(&base).map_err(|error| failed("look at", error))?;
        if !found.is_dir() || found.uid() != me.as_raw() {
            return Err(format!(
                "{} belongs to another user; `--scratch DIR` selects another folder",
                base.display()
            ));
        }
        let path = base.join(format!("{name}.lock"));
        let held = File::create_new(&path).map_err(|error| failed("write to", error))?;
        held.try_lock().map_err(|error| format!("cannot lock {}: {error}", path.display()))?;
        let stale = clear_stale(&base);
        Ok(Scratch { base, name: name.to_owned(), stale, _held: held })
    }

    /// Where the trial is measured; it is not made yet.
    pub(super) fn dir(&self) -> PathBuf {
        self.base.join(&self.name)
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        clear(&self.dir(), &self.base.join(format!("{}.lock", self.name)));
        let _ = fs::remove_dir(&self.base);
    }
}

/// Removes what nobody holds any more. What is left of that.
fn clear_stale(base: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for entry in fs::read_dir(base).into_iter().flatten().filter_map(Result::ok) {
        let lock = entry.path();
        let is_lock = lock.extension().is_some_and(|ending| ending == "lock");
        let Some(file) = is_lock.then(|| File::open(&lock).ok()).flatten() else { continue };
        if file.try_lock().is_ok() {
            let dir = lock.with_extension("");
            clear(&dir, &lock);
            left.extend(dir.exists().then_some(dir));
        }
    }
    left
}

/// The folder before its lock, so that what is left of it is found by the next one.
fn clear(dir: &Path, lock: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", dir.display());
        }
        _ => drop(fs::remove_file(lock)),
    }
}

/// Copies a trial's folder, its record last: what has a record is whole.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let record = TrialRecord::load(&TrialDir::at(from))?;
    copy_folder(from, to, true)?;
    let Some(record) = record else { return Ok(()) };
    let changed = store::changes(to, &record.files);
    if let Some(change) = changed.first() {
        let source = std::io::Error::other(format!("it is not what was measured: {change}"));
        return Err(StoreError::Io { doing: "copy a trial to", path: to.to_owned(), source });
    }
    record.save(&TrialDir::at(to))
}

fn copy_folder(from: &Path, to: &Path, outermost: bool) -> Result<(), StoreError> {
    let unreadable = |source| StoreError::Io { doing: "read", path: from.to_owned(), source };
    store::make_folders(to, store::Owner::Process)?;
    for entry in fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (kind, target) = (entry.file_type().map_err(unreadable)?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target, false)?;
        } else if kind.is_file() && !(outermost && entry.file_name() == store::RECORD) {
            fs::copy(entry.path(), &target).map_err(|source| StoreError::writing(target.clone(), source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{FileRecord, TrialState};
    use crate::sweep::slurm::order::tests::plan;

    #[test]
    fn what_a_killed_task_left_goes_with_the_next_and_what_is_held_stays() {
        let folder = tempfile::tempdir().unwrap();
        let leave = |name: &str| {
            let scratch = Scratch::new(folder.path(), name).unwrap();
            fs::create_dir_all(scratch.dir().join("pcap")).unwrap();
            scratch
        };
        let (killed, alive) = (leave("20261129T000000Z-a.0"), leave("20261129T000000Z-b.0"));
        let (left, held) = (killed.dir(), alive.dir());
        drop(killed);
        let third = leave("20261129T000000Z-c.0");
        assert_eq!((left.exists(), held.exists()), (false, true));
        third.clear();
        alive.clear();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left on the node");
    }

    #[test]
    fn a_scratch_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join(format!("livectl-{}", nix::unistd::geteuid()));
        std::os::unix::fs::symlink("/tmp", base).unwrap();
        assert!(Scratch::new(folder.path(), "a").unwrap_err().contains("belongs to another user"));
        assert!(Scratch::new(Path::new("/nowhere/at/all"), "a").unwrap_err().contains("--scratch"));
    }

    #[test]
    fn a_copy_is_whole_or_has_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (TrialDir::at(&folder.path().join("from")), TrialDir::at(&folder.path().join("to")));
        from.create(store::Owner::Process).unwrap();
        fs::write(from.path().join("pcap/a.pcap"), "packets").unwrap();
        let mut record = TrialRecord { state: TrialState::Done, ..TrialRecord::planned(&plan(1).trials[0]) };
        record.files = FileRecord::of_folder(from.path()).unwrap();
        record.save(&from).unwrap();
        copy(from.path(), to.path()).unwrap();
        assert_eq!(FileRecord::of_folder(to.path()).unwrap(), FileRecord::of_folder(from.path()).unwrap());

        fs::write(from.path().join("pcap/a.pcap"), "altered").unwrap();
        let other = TrialDir::at(&folder.path().join("other"));
        let told = copy(from.path(), other.path()).unwrap_err().to_string();
        assert!(told.contains("not what was measured"), "{told}");
        assert_eq!(TrialRecord::load(&other).unwrap(), None);
    }
}
