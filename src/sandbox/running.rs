//! Trials that run on this machine, and the way into their hosts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::environment::Environment;
use super::marker::VISITOR;
use super::{Marker, procfs};

/// The file in a trial's folder that maps host names to process ids inside its sandbox.
pub const HOSTS_FILE: &str = "hosts.json";

/// A trial that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTrial {
    /// The mark by which its processes are found.
    pub marker: Marker,
    /// Process id, seen from here, of process 1 inside its sandbox.
    pub init: i32,
    /// When it started, counted from the machine's boot.
    pub since_boot: Duration,
    /// How many processes it has.
    pub processes: usize,
}

/// Why a host of a running trial cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// No table of hosts.
    #[error("cannot read {}: {source}; perhaps the trial's network is not up yet", path.display())]
    Hosts {
        /// Path of the table.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// It has ended since it was found.
    #[error("cannot enter the running trial: {0}; perhaps it has just ended")]
    Gone(io::Error),
    /// The table does not name the host.
    #[error("the running trial has no host {name:?}; it has: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names of the trials that run.
        known: String,
    },
}

/// The trials that run, oldest first, found by the mark in their processes' environment. Other users' processes are
/// seen by root only.
///
/// # Errors
/// `/proc` cannot be read.
pub fn running() -> io::Result<Vec<RunningTrial>> {
    Ok(group(&procfs::processes()?))
}

fn group(processes: &[procfs::Process]) -> Vec<RunningTrial> {
    let mut trials: Vec<RunningTrial> = processes
        .iter()
        .filter(|process| process.inner_pid == 1 && process.pid != 1)
        .filter_map(|init| {
            Some(RunningTrial {
                marker: init.marker.clone()?,
                init: init.pid,
                since_boot: procfs::since_boot(init.started),
                processes: processes.iter().filter(|p| p.namespaces.pid == init.namespaces.pid).count(),
            })
        })
        .collect();
    trials.sort_by_key(|trial| (trial.since_boot, trial.init));
    trials
}

impl RunningTrial {
    /// Host names and the process ids of their shells inside the sandbox.
    ///
    /// # Errors
    /// The trial has not written its table of hosts, or it cannot be read.
    pub fn hosts(&self) -> Result<BTreeMap<String, i32>, RunningError> {
        let path = self.marker.dir().join(HOSTS_FILE);
        let read = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.map_err(|source| RunningError::Hosts { path, source })
    }

    /// The command that runs `program` on host `name`: into the sandbox by `nsenter`, into the host by Mininet's
    /// `mnexec`. Input and output are the caller's.
    ///
    /// # Errors
    /// The trial has no such host, or its table of hosts cannot be read.
    pub fn command_on<I, S>(&self, name: &str, program: &OsStr, args: I) -> Result<Command, RunningError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let pid = self.shell_of(name)?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init))
            .args(["--mount", "--net", "--pid", "--ipc", "--wdns=/", "--", "mnexec", "-a"])
            .arg(pid.to_string())
            .arg(program)
            .args(args);
        self.clothe(&mut command);
        Ok(command)
    }

    /// The process id, inside the sandbox, of a host's shell.
    pub(super) fn shell_of(&self, name: &str) -> Result<i32, RunningError> {
        let hosts = self.hosts()?;
        hosts.get(name).copied().ok_or_else(|| RunningError::Unknown {
            name: name.to_owned(),
            known: hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// Gives `command` the environment of the trial's programs, with the mark of one that is not the trial's own.
    pub(super) fn clothe(&self, command: &mut Command) {
        Environment::new(std::env::vars_os()).apply(command);
        // A terminal is the point of a shell on a host.
        command.envs(std::env::var_os("TERM").map(|term| ("TERM", term))).envs(self.marker.variables());
        command.env(VISITOR, "1");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::procfs::{Namespaces, Process};
    use super::*;

    fn process(pid: i32, inner_pid: i32, pidns: u64, marker: Option<&Marker>) -> Process {
        let namespaces = Namespaces { pid: pidns, net: 1, mnt: 1 };
        Process { pid, name: "x".into(), started: 1000 + pid as u64, inner_pid, namespaces, marker: marker.cloned() }
    }

    fn trial(dir: &std::path::Path) -> RunningTrial {
        let marker = Marker::new(1, 2, 3, dir);
        RunningTrial { marker, init: 4711, since_boot: Duration::ZERO, processes: 1 }
    }

    #[test]
    fn one_trial_for_each_marked_first_process() {
        let marker = Marker::new(9, 1, 0, std::path::Path::new("/r/direct-1"));
        let processes = [
            process(1, 1, 1, None),
            process(20, 20, 1, Some(&marker)), // the keeper is outside
            process(21, 1, 7, Some(&marker)),
            process(22, 2, 7, Some(&marker)),
            process(30, 1, 8, None), // somebody's container
        ];
        let trials = group(&processes);
        assert_eq!(trials.len(), 1);
        assert_eq!((trials[0].init, trials[0].processes), (21, 2));
        assert_eq!(trials[0].marker.dir(), std::path::Path::new("/r/direct-1"));
    }

    #[test]
    fn enters_by_nsenter_and_mnexec() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(HOSTS_FILE), r#"{"hb": 57, "hv1": 61}"#).unwrap();
        let command = trial(dir.path()).command_on("hv1", "ping".as_ref(), ["-c1", "10.0.0.1"]).unwrap();
        let words: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            words.join(" "),
            "--target=4711 --mount --net --pid --ipc --wdns=/ -- mnexec -a 61 ping -c1 10.0.0.1"
        );
    }

    #[test]
    fn names_the_hosts_there_are() {
        let dir = tempfile::tempdir().unwrap();
        assert!(trial(dir.path()).hosts().unwrap_err().to_string().contains("not up yet"));
        std::fs::write(dir.path().join(HOSTS_FILE), r#"{"hb": 57}"#).unwrap();
        let error = trial(dir.path()).command_on("hx", "sh".as_ref(), [""; 0]).unwrap_err();
        assert_eq!(error.to_string(), "the running trial has no host \"hx\"; it has: hb");
    }
}
