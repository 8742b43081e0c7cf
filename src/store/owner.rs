//! Who owns the results: under sudo, the user who called it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::StoreError;

/// The owner of the files that a run leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whoever runs livectl; nothing is given away.
    Process,
    /// The user who started it through sudo.
    User {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Owner {
    /// The owner that this process's environment tells of: `SUDO_UID` and `SUDO_GID`, if it runs as root.
    ///
    /// # Errors
    /// [`StoreError::Owner`] if those are there and are not numbers.
    pub fn of_this_process() -> Result<Owner, StoreError> {
        let variable = |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        let (uid, gid) = (variable("SUDO_UID"), variable("SUDO_GID"));
        Owner::from_sudo(nix::unistd::geteuid().is_root(), uid.as_deref(), gid.as_deref())
    }

    /// The owner that sudo's variables name. Only root can give files away, and root's own need not be.
    ///
    /// # Errors
    /// [`StoreError::Owner`] for a value that is not a user or group number.
    pub fn from_sudo(is_root: bool, uid: Option<&str>, gid: Option<&str>) -> Result<Owner, StoreError> {
        let number = |variable, value: &str| {
            // u32::MAX is chown's word for "leave it".
            let digits = value.bytes().all(|b| b.is_ascii_digit());
            value
                .parse()
                .ok()
                .filter(|n: &u32| digits && *n != u32::MAX)
                .ok_or(StoreError::Owner { variable, value: value.to_owned() })
        };
        match (is_root, uid, gid) {
            (true, Some(uid), Some(gid)) => match (number("SUDO_UID", uid)?, number("SUDO_GID", gid)?) {
                (0, _) => Ok(Owner::Process),
                (uid, gid) => Ok(Owner::User { uid, gid }),
            },
            _ => Ok(Owner::Process),
        }
    }

    /// Makes one file or folder the owner's; a symbolic link itself, not what it points to.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn take(self, path: &Path) -> Result<(), StoreError> {
        let Owner::User { uid, gid } = self else { return Ok(()) };
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(|source| refused(path, source))
    }

    /// Makes a folder and everything below it the owner's.
    ///
    /// The folder may be the user's already, who could put a link to somebody else's files into it at any moment. So
    /// no name is looked up twice and no link is followed: each folder is opened below its parent's descriptor, and
    /// files that have a second name (hard links) stay whose they are.
    ///
    /// # Errors
    /// The first [`StoreError::Io`]; the rest of the tree is still gone through. A path that does not exist is no
    /// error.
    pub fn chown_tree(self, path: &Path) -> Result<(), StoreError> {
        let Owner::User { uid, gid } = self else { return Ok(()) };
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = match open(path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(nix::Error::ENOENT) => return Ok(()),
            Err(errno) => return Err(refused(path, errno.into())),
        };
        let mut first_failure = None;
        give_folder(&folder, path, (Uid::from_raw(uid), Gid::from_raw(gid)), &mut first_failure);
        first_failure.map_or(Ok(()), Err)
    }

    /// A tree that becomes the owner's when this value goes, however the function ends.
    #[must_use]
    pub fn settle_when_done(self, path: &Path) -> Settled {
        Settled { owner: self, path: path.to_owned() }
    }
}

/// Makes a tree its owner's on the way out, also past errors: [`Owner::settle_when_done`].
#[derive(Debug)]
pub struct Settled {
    owner: Owner,
    path: PathBuf,
}

impl Drop for Settled {
    fn drop(&mut self) {
        if let Err(e) = self.owner.chown_tree(&self.path) {
            tracing::warn!("{e}");
        }
    }
}

fn refused(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { doing: "give to the user who started sudo", path: path.to_owned(), source }
}

fn give_folder(folder: &OwnedFd, path: &Path, to: (Uid, Gid), first_failure: &mut Option<StoreError>) {
    let mut note = |path: &Path, source: io::Error| {
        // A file that went away in between is as good as given.
        if source.kind() != io::ErrorKind::NotFound {
            first_failure.get_or_insert(refused(path, source));
        }
    };
    let mut below = Vec::new();
    // The descriptor's own entry in /proc: lists the folder that was opened, whatever bears its name by now.
    match fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd())) {
        Ok(entries) => below.extend(entries.filter_map(Result::ok).map(|e| e.file_name())),
        Err(source) => note(path, source),
    }
    let mut folders = Vec::new();
    for name in below {
        let name = Path::new(&name);
        let given = (|| -> nix::Result<()> {
            let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            if kind == SFlag::S_IFDIR {
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                folders.push((openat(folder, name, flags, Mode::empty())?, path.join(name)));
                return Ok(());
            }
            if kind == SFlag::S_IFREG && stat.st_nlink > 1 {
                return Ok(());
            }
            fchownat(folder, name, Some(to.0), Some(to.1), AtFlags::AT_SYMLINK_NOFOLLOW)
        })();
        if let Err(errno) = given {
            note(&path.join(name), errno.into());
        }
    }
    if let Err(errno) = fchown(folder, Some(to.0), Some(to.1)) {
        note(path, errno.into());
    }
    for (inner, inner_path) in folders {
        give_folder(&inner, &inner_path, to, first_failure);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    const USER: Owner = Owner::User { uid: 12345, gid: 12346 };

    fn owner_of(path: &Path) -> (u32, u32) {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.uid(), meta.gid())
    }

    fn need_root() {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root, to give files away: run it under sudo");
    }

    #[test]
    fn sudo_names_the_owner() {
        let user = |uid, gid| Owner::from_sudo(true, uid, gid);
        assert_eq!(user(Some("1000"), Some("100")).unwrap(), Owner::User { uid: 1000, gid: 100 });
        assert_eq!(user(Some("0"), Some("0")).unwrap(), Owner::Process);
        assert_eq!(user(None, None).unwrap(), Owner::Process);
        assert_eq!(Owner::from_sudo(false, Some("1000"), Some("100")).unwrap(), Owner::Process);
        for bad in ["", "alice", "-1", "+5", "4294967295", "4294967296", "1000 "] {
            assert!(matches!(user(Some(bad), Some("100")), Err(StoreError::Owner { .. })), "{bad:?}");
            assert!(matches!(user(Some("1000"), Some(bad)), Err(StoreError::Owner { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_tree_is_given_and_links_out_of_it_are_not_followed() {
        need_root();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "").unwrap();
        fs::create_dir(outside.path().join("folder")).unwrap();
        let tree = tempfile::tempdir_in(outside.path()).unwrap();
        fs::create_dir_all(tree.path().join("a/b")).unwrap();
        fs::write(tree.path().join("a/b/file"), "").unwrap();
        symlink(outside.path().join("secret"), tree.path().join("a/link")).unwrap();
        symlink(outside.path().join("folder"), tree.path().join("a/dirlink")).unwrap();
        fs::hard_link(outside.path().join("secret"), tree.path().join("a/hard")).unwrap();
        USER.chown_tree(tree.path()).unwrap();
        for given in ["", "a", "a/b", "a/b/file", "a/link", "a/dirlink"] {
            assert_eq!(owner_of(&tree.path().join(given)), (12345, 12346), "{given}");
        }
        for kept in ["secret", "folder"] {
            assert_eq!(owner_of(&outside.path().join(kept)), (0, 0), "{kept}");
        }
    }

    #[test]
    fn a_link_for_a_folder_is_refused() {
        need_root();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
        assert!(USER.chown_tree(&folder.path().join("link")).is_err());
        assert_eq!(owner_of(&folder.path().join("real")), (0, 0));
        USER.chown_tree(&folder.path().join("nothing")).unwrap();
    }

    #[test]
    fn a_failed_step_still_settles_the_tree() {
        need_root();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let failing = || -> Result<(), StoreError> {
            fs::create_dir(&path).unwrap();
            let _settled = USER.settle_when_done(&path);
            fs::write(path.join("log"), "").unwrap();
            Err(StoreError::NotARun { path: path.clone() })
        };
        failing().unwrap_err();
        assert_eq!(owner_of(&path.join("log")), (12345, 12346));
    }

    #[test]
    fn new_runs_are_the_users_from_the_start() {
        need_root();
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        let now = "2026-11-22T23:17:00Z".parse().unwrap();
        let run = super::super::RunDir::create(&results, "p2p", now, USER).unwrap();
        run.trial("direct-1").create(USER).unwrap();
        for made in [
            &results,
            &results.join("p2p"),
            run.path(),
            &run.path().join("direct-1"),
            &run.path().join("direct-1/log"),
        ] {
            assert_eq!(owner_of(made), (12345, 12346), "{}", made.display());
        }
        assert_eq!(owner_of(folder.path()), (0, 0));
    }
}
