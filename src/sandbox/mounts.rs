//! What a trial's programs see of the file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::mount::{MsFlags, mount};

use super::environment::{HOME, OVS_RUNDIR};

/// Folders of which a sandbox has its own, empty ones.
pub const COVERED: [&str; 3] = ["/tmp", "/run", "/dev/shm"];

/// The part of `/proc/sys` that stays writable: the kernel keeps it per network namespace and refuses writes to what
/// it does not.
const WRITABLE_SYSCTL: &str = "net";

/// A step that failed, in words.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct MountError {
    step: String,
    source: io::Error,
}

trait Step<T> {
    /// Names what was tried.
    fn step(self, name: impl FnOnce() -> String) -> Result<T, MountError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, name: impl FnOnce() -> String) -> Result<T, MountError> {
        self.map_err(|source| MountError { step: name(), source: source.into() })
    }
}

/// A path that stays visible, held open from before it is covered.
struct Kept {
    /// Where it must be seen.
    path: PathBuf,
    /// The file or folder itself.
    held: File,
}

/// Turns the mounts of a fresh mount namespace into the sandbox's: private propagation, own `/proc` and `/sys`, empty
/// [`COVERED`] folders in which only `keep` is seen, global sysctls read-only.
pub(super) fn arrange(keep: &[PathBuf]) -> Result<(), MountError> {
    let here = std::env::current_dir().ok();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .step(|| "keep mounts from spreading to the host".into())?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("proc"), "/proc", Some("proc"), safe | MsFlags::MS_NOEXEC, none).step(|| "mount /proc".into())?;
    // sysfs shows the interfaces of the network namespace it was mounted in.
    mount(Some("sysfs"), "/sys", Some("sysfs"), safe | MsFlags::MS_NOEXEC, none).step(|| "mount /sys".into())?;

    let kept = hold(keep)?;
    for folder in COVERED.iter().filter(|folder| Path::new(folder).is_dir()) {
        let mode = if *folder == "/run" { "mode=755" } else { "mode=1777" };
        mount(Some("livectl"), *folder, Some("tmpfs"), safe, Some(mode))
            .step(|| format!("mount an empty {folder}"))?;
    }
    for Kept { path, held } in &kept {
        show_again(path, held)?;
    }
    for folder in [OVS_RUNDIR, "/run/lock", HOME] {
        fs::create_dir_all(folder).step(|| format!("make {folder}"))?;
    }
    if fs::symlink_metadata("/var/run").is_ok_and(|m| m.is_dir()) {
        mount(Some("/run"), "/var/run", none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .step(|| "show /run as /var/run".into())?;
    }
    lock_sysctls()?;
    // The working folder was entered through what is covered now; enter it again by name.
    let here = here.filter(|path| path.is_dir()).unwrap_or_else(|| PathBuf::from("/"));
    std::env::set_current_dir(&here).step(|| format!("go to {}", here.display()))
}

/// Opens those of `keep` that are about to be covered, parents before children.
fn hold(keep: &[PathBuf]) -> Result<Vec<Kept>, MountError> {
    let mut paths = Vec::new();
    for path in keep {
        let real = fs::canonicalize(path).step(|| format!("find {}, which must stay visible", path.display()))?;
        // As it was named and where it is: a symbolic link in /tmp must lead on, and so must one that leads there.
        paths.extend([path.clone(), real].into_iter().filter(|p| covers(p)));
    }
    paths.sort();
    paths.dedup();
    let open = |path: PathBuf| {
        let held = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path);
        Ok(Kept { held: held.step(|| format!("open {}, which must stay visible", path.display()))?, path })
    };
    paths.into_iter().map(open).collect()
}

/// True for an absolute path inside, and not itself, one of the [`COVERED`] folders, as far as its name tells.
#[must_use]
pub fn covers(path: &Path) -> bool {
    let leads_in = |rest: &Path| matches!(rest.components().next(), Some(Component::Normal(_)));
    COVERED.iter().any(|folder| path.strip_prefix(folder).is_ok_and(leads_in))
}

/// The first of `keep` that cannot stay visible, and why.
pub(super) fn unfit_to_keep(keep: &[PathBuf]) -> Option<(PathBuf, &'static str)> {
    keep.iter().find_map(|path| {
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let covered = |path: &Path| COVERED.iter().any(|folder| Path::new(folder) == path);
        let why = if !path.is_absolute() || !plain {
            "it is not an absolute path without `..`"
        } else if covered(path) || fs::canonicalize(path).is_ok_and(|real| covered(&real)) {
            "a sandbox has its own folder of that name; use a folder inside it"
        } else {
            return None;
        };
        Some((path.clone(), why))
    })
}

/// Mounts a held file or folder where it was before it was covered.
fn show_again(path: &Path, held: &File) -> Result<(), MountError> {
    let meta = held.metadata().step(|| format!("look at {}", path.display()))?;
    if fs::metadata(path).is_ok_and(|seen| (seen.dev(), seen.ino()) == (meta.dev(), meta.ino())) {
        // A kept parent brought it along.
        return Ok(());
    }
    let made = if meta.is_dir() {
        fs::create_dir_all(path)
    } else {
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(path).map(drop))
    };
    made.step(|| format!("make a place for {}", path.display()))?;
    let source = format!("/proc/self/fd/{}", held.as_raw_fd());
    mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .step(|| format!("keep {} visible", path.display()))
}

/// Makes every folder of `/proc/sys` but [`WRITABLE_SYSCTL`] read-only, so that nothing inside, such as Mininet's
/// `fixLimits`, can change the host's settings.
fn lock_sysctls() -> Result<(), MountError> {
    let none = None::<&str>;
    let entries = fs::read_dir("/proc/sys").step(|| "list /proc/sys".into())?;
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.file_name() != WRITABLE_SYSCTL) {
        let path = entry.path();
        let lock = || -> nix::Result<()> {
            mount(Some(&path), &path, none, MsFlags::MS_BIND, none)?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(none, &path, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | flags, none)
        };
        lock().step(|| format!("make {} read-only", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn knows_what_is_covered() {
        for inside in ["/tmp/x", "/tmp/x/y", "/run/user/0", "/dev/shm/results"] {
            assert!(covers(Path::new(inside)), "{inside}");
        }
        for outside in ["/tmp", "/tmp/../y", "/tmpx/y", "/home/u/tmp/x", "/", "/var/tmp/x", "/dev/null"] {
            assert!(!covers(Path::new(outside)), "{outside}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_kept() {
        let refused = |path: &str| unfit_to_keep(&[PathBuf::from("/tmp/fine"), PathBuf::from(path)]).map(|(p, _)| p);
        assert_eq!(refused("relative"), Some("relative".into()));
        assert_eq!(refused("/tmp/../etc"), Some("/tmp/../etc".into()));
        assert_eq!(refused("/tmp"), Some("/tmp".into()));
        assert_eq!(refused("/tmp/"), Some("/tmp/".into()));
        assert_eq!(refused("/var/run"), Some("/var/run".into()), "leads to /run");
        assert_eq!(refused("/home"), None);
        assert_eq!(refused("/"), None, "the root itself is never covered");
    }
}
