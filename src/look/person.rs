//! The user on whose display something is shown.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, User, getgrouplist, setgid, setgroups, setuid};

/// Variables of the caller that a program on a display gets, beside those that begin with one of [`PREFIXES`].
const KEPT: [&str; 6] = ["DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "PATH", "LANG", "TZ"];
/// The language, what toolkits are told, and the session's own.
const PREFIXES: [&str; 5] = ["LC_", "QT_", "GDK_", "XDG_CURRENT_", "XDG_SESSION_"];

/// A user other than this process's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Login name.
    pub name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
}

impl Person {
    /// The user with that number.
    ///
    /// # Errors
    /// The machine does not know it.
    pub fn of(uid: u32) -> io::Result<Person> {
        let unknown = || io::Error::other(format!("there is no user {uid} on this machine"));
        let User { name, uid, gid, dir, .. } = User::from_uid(Uid::from_raw(uid))?.ok_or_else(unknown)?;
        let groups = getgrouplist(&CString::new(name.as_str())?, gid)?;
        Ok(Person { name, uid, gid, groups, home: dir })
    }

    /// Has `command` run as this user, with what of the variables `inherited` concerns displays.
    pub fn run(&self, command: &mut Command, inherited: impl Iterator<Item = (OsString, OsString)>) {
        let runtime = PathBuf::from(format!("/run/user/{}", self.uid));
        let runtime = runtime.is_dir().then_some(runtime);
        command.env_clear().envs(self.variables(inherited, runtime.as_deref()));
        let (uid, gid, groups) = (self.uid, self.gid, self.groups.clone());
        // SAFETY: between fork and exec the closure makes four system calls and neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                // Some programs on a display abort where there is none, and would leave a core file in the user's
                // folder.
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                setgroups(&groups)?;
                setgid(gid)?;
                setuid(uid)?;
                Ok(())
            });
        }
    }

    fn variables(
        &self,
        inherited: impl Iterator<Item = (OsString, OsString)>,
        runtime: Option<&Path>,
    ) -> BTreeMap<OsString, OsString> {
        let is_kept = |name: &OsStr| {
            let bytes = name.as_encoded_bytes();
            KEPT.iter().any(|kept| name == OsStr::new(kept))
                || PREFIXES.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()))
        };
        let mut variables: BTreeMap<OsString, OsString> = inherited.filter(|(name, _)| is_kept(name)).collect();
        variables.insert("HOME".into(), self.home.clone().into());
        variables.extend(["USER", "LOGNAME"].map(|name| (name.into(), self.name.clone().into())));
        variables.extend(runtime.map(|folder| ("XDG_RUNTIME_DIR".into(), folder.into())));
        variables
    }

    /// Whether this user may execute a file, by its mode.
    #[must_use]
    pub fn may_execute(&self, file: &Metadata) -> bool {
        let is_of = |gid: u32| self.gid.as_raw() == gid || self.groups.iter().any(|group| group.as_raw() == gid);
        let bit = match (file.uid() == self.uid.as_raw(), is_of(file.gid())) {
            (true, _) => 0o100,
            (_, true) => 0o010,
            _ => 0o001,
        };
        file.mode() & bit != 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn alice() -> Person {
        let [gid, group] = [1000, 27].map(Gid::from_raw);
        let groups = vec![gid, group];
        Person { name: "alice".into(), uid: Uid::from_raw(1000), gid, groups, home: "/home/alice".into() }
    }

    #[test]
    fn a_display_and_its_key_are_passed_on_and_roots_home_is_not() {
        let inherited = [
            ("DISPLAY", "localhost:10.0"),
            ("XAUTHORITY", "/home/alice/.Xauthority"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("HOME", "/root"),
            ("USER", "root"),
            ("SUDO_UID", "1000"),
            ("LIVECTL_TRIAL", "7-1-1"),
            ("LD_PRELOAD", "/tmp/x.so"),
        ];
        let inherited = inherited.map(|(name, value)| (name.into(), value.into()));
        let variables = alice().variables(inherited.into_iter(), Some(Path::new("/run/user/1000")));
        let all: Vec<String> =
            variables.iter().map(|(n, v)| format!("{}={}", n.to_string_lossy(), v.to_string_lossy())).collect();
        let expected = [
            "DISPLAY=localhost:10.0",
            "HOME=/home/alice",
            "LC_ALL=de_DE.UTF-8",
            "LOGNAME=alice",
            "USER=alice",
            "XAUTHORITY=/home/alice/.Xauthority",
            "XDG_RUNTIME_DIR=/run/user/1000",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn who_may_execute_what() {
        assert!(nix::unistd::geteuid().is_root(), "this test gives files away: run it as root");
        let file = tempfile::NamedTempFile::new().unwrap();
        let may = |mode: u32, uid: u32, gid: u32| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            chown(file.path(), Some(uid), Some(gid)).unwrap();
            alice().may_execute(&fs::metadata(file.path()).unwrap())
        };
        // As Debian installs dumpcap: for everybody, or for the group wireshark.
        assert!(may(0o755, 0, 0));
        assert!(!may(0o754, 0, 110));
        assert!(may(0o754, 0, 27));
        assert!(!may(0o677, 1000, 27), "the owner's bit counts for the owner");
    }

    #[test]
    fn a_number_that_is_nobodys() {
        assert_eq!(Person::of(0).unwrap().name, "root");
        assert_eq!(Person::of(3_999_999_999).unwrap_err().to_string(), "there is no user 3999999999 on this machine");
    }
}
