//! The environment handed to every program of a trial.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::marker::VISITOR;

/// Where the system's own programs are. They come first, so that another python3 earlier on a user's PATH cannot
/// shadow the one that has Mininet.
const SYSTEM_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Variables of the user that programs of a trial may see.
const PASSED_ON: [&str; 2] = ["TZ", "RUST_LOG"];
/// The home folder inside the sandbox; `/tmp` is private there.
pub(super) const HOME: &str = "/tmp/home";
/// Where Open vSwitch keeps its sockets inside the sandbox; `/run` is private there.
pub(super) const OVS_RUNDIR: &str = "/run/openvswitch";

/// Variables for the programs of a trial, to be set on a cleared environment.
///
/// They are values: the environment of this process is not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Made from the environment of the caller, of which little is passed on: PATH behind the system's own folders,
    /// the trial's marker, the time zone and the log filter.
    pub fn new<I: IntoIterator<Item = (OsString, OsString)>>(inherited: I) -> Environment {
        let inherited: BTreeMap<OsString, OsString> = inherited.into_iter().collect();
        let mut variables: BTreeMap<OsString, OsString> = inherited
            .iter()
            .filter(|(name, _)| {
                PASSED_ON.iter().any(|passed| *name == OsStr::new(passed))
                    || (name.as_encoded_bytes().starts_with(b"LIVECTL_") && *name != OsStr::new(VISITOR))
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let path = path(inherited.get(OsStr::new("PATH")).map(OsString::as_os_str).unwrap_or_default());
        let fixed: [(&str, &OsStr); 10] = [
            ("HOME", HOME.as_ref()),
            ("PATH", &path),
            ("LANG", "C.UTF-8".as_ref()),
            ("LC_ALL", "C.UTF-8".as_ref()),
            ("TERM", "dumb".as_ref()),
            ("USER", "root".as_ref()),
            ("SHELL", "/bin/sh".as_ref()),
            ("OVS_RUNDIR", OVS_RUNDIR.as_ref()),
            // Importing Mininet as root must not write compiled files into the system's folders.
            ("PYTHONDONTWRITEBYTECODE", "1".as_ref()),
            ("PYTHONUNBUFFERED", "1".as_ref()),
        ];
        variables.extend(fixed.map(|(name, value)| (name.into(), value.into())));
        Environment { variables }
    }

    /// The same with Open vSwitch's folders: its database in `database`, its logs in `logs`.
    #[must_use]
    pub fn with_ovs(mut self, database: &Path, logs: &Path) -> Environment {
        for (name, folder) in [("OVS_DBDIR", database), ("OVS_SYSCONFDIR", database), ("OVS_LOGDIR", logs)] {
            self.variables.insert(name.into(), folder.into());
        }
        self
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Clears the environment of `command` and sets this one.
    pub fn apply(&self, command: &mut std::process::Command) {
        command.env_clear().envs(self.iter());
    }
}

/// The system's folders, then those of `inherited` that are absolute and not among them.
fn path(inherited: &OsStr) -> OsString {
    let mut folders: Vec<_> = SYSTEM_PATH.iter().map(Into::into).collect();
    for folder in std::env::split_paths(inherited) {
        if folder.is_absolute() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    // Folders that came out of splitting hold no separator, so they can be joined again.
    std::env::join_paths(folders).unwrap_or_else(|_| SYSTEM_PATH.join(":").into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))))
    }

    #[test]
    fn the_systems_programs_come_first() {
        let env = from(&[("PATH", "/root/.pyenv/shims:relative::/usr/local/bin:/usr/bin")]);
        assert_eq!(env.get("PATH").unwrap(), "/usr/sbin:/usr/bin:/sbin:/bin:/root/.pyenv/shims:/usr/local/bin");
        assert_eq!(from(&[]).get("PATH").unwrap(), "/usr/sbin:/usr/bin:/sbin:/bin");
    }

    #[test]
    fn only_what_is_meant_is_passed_on() {
        let env = from(&[
            ("LD_PRELOAD", "/tmp/x.so"),
            ("PYTHONPATH", "/home/u/lib"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("OVS_RUNDIR", "/elsewhere"),
            ("TZ", "UTC"),
            ("LIVECTL_TRIAL", "7-1-1"),
            ("LIVECTL_VISITOR", "1"),
        ]);
        assert_eq!(env.get("LD_PRELOAD"), None);
        assert_eq!(env.get("PYTHONPATH"), None);
        assert_eq!(env.get("LC_ALL").unwrap(), "C.UTF-8");
        assert_eq!(env.get("OVS_RUNDIR").unwrap(), "/run/openvswitch");
        assert_eq!(env.get("TZ").unwrap(), "UTC");
        assert_eq!(env.get("LIVECTL_TRIAL").unwrap(), "7-1-1");
        assert_eq!(env.get("LIVECTL_VISITOR"), None, "who starts a trial from a host's shell is no visitor of it");
    }

    #[test]
    fn ovs_folders_are_the_trials() {
        let env = from(&[]).with_ovs(Path::new("/r/ovs"), Path::new("/r/log"));
        assert_eq!(env.get("OVS_DBDIR").unwrap(), "/r/ovs");
        assert_eq!(env.get("OVS_LOGDIR").unwrap(), "/r/log");
    }
}
