//! `livectl ps`, `shell` and `exec`: into running trials.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::Target;
use super::exit::{Exit, Failure, WithExit};
use crate::sandbox::running::{RunningTrial, running};
use crate::ui;

/// Lists running trials.
pub(super) fn ps() -> Result<Exit, Failure> {
    let trials = running().context("cannot look for running trials in /proc")?;
    if trials.is_empty() {
        ui::print("no trial is running (only root sees other users' trials)")?;
        return Ok(Exit::Done);
    }
    let uptime = uptime();
    let mut text = format!("{:>8}  {:>10}  {:>9}  TRIAL\n", "PID", "RUNNING", "PROCESSES");
    for trial in &trials {
        let age = ui::span(uptime.saturating_sub(trial.since_boot));
        text +=
            &format!("{:>8}  {:>10}  {:>9}  {}\n", trial.init, age, trial.processes, trial.marker.dir().display());
        if let Ok(hosts) = trial.hosts() {
            text += &format!("{:33}hosts: {}\n", "", hosts.keys().cloned().collect::<Vec<_>>().join(", "));
        }
    }
    ui::print(&text)?;
    Ok(Exit::Done)
}

/// Opens a shell on a host. Replaces this process.
pub(super) fn shell(target: &Target) -> Result<Exit, Failure> {
    become_on(target, &crate::look::shell(&target.host))
}

/// Runs a command on a host. Replaces this process, so the exit code is the command's.
pub(super) fn exec(target: &Target, command: &[String]) -> Result<Exit, Failure> {
    become_on(target, command)
}

fn become_on<S: AsRef<OsStr>>(target: &Target, command: &[S]) -> Result<Exit, Failure> {
    let trial = chosen(target.trial.as_deref())?;
    let (program, args) = command.split_first().ok_or_else(|| anyhow!("no command given"))?;
    let mut command = trial.command_on(&target.host, program.as_ref(), args).exit(Exit::Failed)?;
    let error = command.exec();
    Err(Failure::new(Exit::Machine, anyhow!("cannot start nsenter: {error}; it is in the package util-linux")))
}

/// The running trial that is meant, for what only root can do there.
pub(super) fn chosen(trial: Option<&str>) -> Result<RunningTrial, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(Exit::Machine, anyhow!("entering a host needs root; run it with sudo")));
    }
    let trials = running().context("cannot look for running trials in /proc")?;
    choose(&trials, trial).cloned()
}

/// The trial that is meant: the only one, or the one whose folder ends in what was given.
fn choose<'a>(trials: &'a [RunningTrial], meant: Option<&str>) -> Result<&'a RunningTrial, Failure> {
    let matching: Vec<&RunningTrial> =
        trials.iter().filter(|trial| meant.is_none_or(|end| trial.marker.dir().ends_with(Path::new(end)))).collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] if trials.is_empty() => Err(anyhow!("no trial is running; start one with `livectl run`").into()),
        [] => Err(anyhow!("no running trial matches; `livectl ps` lists them").into()),
        several => {
            let paths: Vec<String> = several.iter().map(|t| format!("  {}", t.marker.dir().display())).collect();
            let error =
                anyhow!("{} trials are running; say which with --trial:\n{}", several.len(), paths.join("\n"));
            Err(Failure::new(Exit::Usage, error))
        }
    }
}

/// Since the machine's boot.
fn uptime() -> std::time::Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sandbox::Marker;
    use std::time::Duration;

    fn trial(dir: &str) -> RunningTrial {
        let marker = Marker::new(1, 2, 3, Path::new(dir));
        RunningTrial { marker, init: 5, since_boot: Duration::ZERO, processes: 9 }
    }

    #[test]
    fn the_only_trial_needs_no_name_and_two_do() {
        let one = [trial("/r/p2p/x/direct-1")];
        assert_eq!(choose(&one, None).unwrap(), &one[0]);
        let two = [trial("/r/p2p/x/direct-1"), trial("/r/p2p/y/direct-1")];
        let failure = choose(&two, None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("/r/p2p/y/direct-1"));
        assert_eq!(choose(&two, Some("y/direct-1")).unwrap(), &two[1]);
        assert!(choose(&two, Some("z/direct-1")).is_err());
        assert!(choose(&[], None).unwrap_err().to_string().contains("livectl run"));
    }
}
