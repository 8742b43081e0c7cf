//! Programs that look at a running trial from outside, as tcpdump does.
//!
//! They are in a network namespace of the trial, and in its PID namespace, so that the kernel ends them with the
//! trial and nothing keeps its network alive. Their files are those of this machine: what they write stays, in the
//! folder where they were started. Their input and output are the caller's.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::procfs;
use super::running::{RunningError, RunningTrial};

/// The namespaces of a running trial, held open.
#[derive(Debug)]
pub struct Visit {
    trial: RunningTrial,
    pids: OwnedFd,
    own_pids: OwnedFd,
    net: OwnedFd,
}

impl RunningTrial {
    /// The way to where `host` is, or with `None` to where switches and controller are.
    ///
    /// # Errors
    /// The trial has no such host, or has just ended.
    pub fn visit(&self, host: Option<&str>) -> Result<Visit, RunningError> {
        let net = format!("{}/ns/net", self.proc_of(host)?);
        let open = |path: String| File::open(path).map(OwnedFd::from).map_err(RunningError::Gone);
        let pids = open(format!("/proc/{}/ns/pid", self.init))?;
        Ok(Visit { trial: self.clone(), pids, own_pids: open("/proc/self/ns/pid".into())?, net: open(net)? })
    }

    /// The interfaces that are there now; none if the trial has ended.
    #[must_use]
    pub fn interfaces(&self, host: Option<&str>) -> Vec<String> {
        let same = procfs::process(self.init).is_some_and(|init| init.marker.as_ref() == Some(&self.marker));
        let Some(proc) = self.proc_of(host).ok().filter(|_| same) else { return Vec::new() };
        interfaces_in(&std::fs::read_to_string(format!("{proc}/net/dev")).unwrap_or_default())
    }

    /// The folder in `/proc` of a host's shell, or of the sandbox's first process. The table of hosts has process ids
    /// of inside, which the `/proc` of inside knows.
    fn proc_of(&self, host: Option<&str>) -> Result<String, RunningError> {
        let init = format!("/proc/{}", self.init);
        Ok(match host {
            Some(host) => format!("{init}/root/proc/{}", self.shell_of(host)?),
            None => init,
        })
    }
}

/// The names in `/proc/PID/net/dev`: two lines of headings, then one line each that begins with the name and a colon.
fn interfaces_in(text: &str) -> Vec<String> {
    text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

impl Visit {
    /// Has `command` run there. It gets a trial's environment, and an end with this process.
    pub fn prepare(&self, command: &mut Command) -> io::Result<()> {
        self.trial.clothe(command);
        let net = self.net.try_clone()?;
        // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                setns(net.as_fd(), CloneFlags::CLONE_NEWNET)?;
                prctl::set_pdeathsig(Signal::SIGTERM)?;
                Ok(())
            });
        }
        Ok(())
    }

    /// What `spawn` starts from this thread is in the trial's PID namespace.
    ///
    /// # Errors
    /// The trial is gone, or what `spawn` says.
    pub fn within<T>(&self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        setns(self.pids.as_fd(), CloneFlags::CLONE_NEWPID)?;
        let spawned = spawn();
        setns(self.own_pids.as_fd(), CloneFlags::CLONE_NEWPID)?;
        spawned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_as_the_kernel_lists_them() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n    \
                    lo: 1234 12 0 0 0 0 0 0 1234 12 0 0 0 0 0 0\nhv1-eth0:  99 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        assert_eq!(interfaces_in(text), ["lo", "hv1-eth0"]);
        assert_eq!(interfaces_in(""), Vec::<String>::new());
    }
}
