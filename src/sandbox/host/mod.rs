//! Proof that the host is as it was.
//!
//! [`HostState::snapshot`] before and after a trial and [`diff`] show what changed. On a busy machine much changes
//! that is not the trial's doing: somebody's own network comes and goes, another livectl runs. So every difference is
//! judged by what ties it to the trial: the mark in a process's environment, or the namespaces the trial had, which a
//! [`Footprint`] remembers. What nothing ties to it is reported as such and blamed on nobody.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Marker, procfs};

pub use snapshot::HostState;

/// Between two looks while the kernel takes a network down.
const POLL: Duration = Duration::from_millis(20);

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A network interface of the host.
    Link,
    /// A queueing discipline on one.
    Qdisc,
    /// A namespace in which some process is, or that has a name in /run/netns.
    Namespace,
    /// A bridge of the host's own Open vSwitch.
    Bridge,
    /// A mount.
    Mount,
    /// A process.
    Process,
    /// An entry in /tmp.
    Tmp,
    /// A kernel setting.
    Sysctl,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Link => "interface",
            Kind::Qdisc => "qdisc",
            Kind::Namespace => "namespace",
            Kind::Bridge => "bridge",
            Kind::Mount => "mount",
            Kind::Process => "process",
            Kind::Tmp => "entry in /tmp",
            Kind::Sysctl => "kernel setting",
        })
    }
}

/// What happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there before.
    Appeared,
    /// It is not there any more.
    Vanished,
    /// It reads otherwise.
    Became {
        /// Its value before.
        from: String,
        /// Its value after.
        to: String,
    },
}

/// One difference between two states of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What was looked at.
    pub kind: Kind,
    /// Name of the interface, process, file or setting.
    pub name: String,
    /// What happened to it.
    pub change: Change,
    /// True if something ties it to the trial; false: changed meanwhile, not the trial's as far as can be seen.
    pub of_trial: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { kind, name, change, of_trial } = self;
        match change {
            Change::Appeared => write!(f, "{kind} {name} appeared")?,
            Change::Vanished => write!(f, "{kind} {name} vanished")?,
            Change::Became { from, to } => write!(f, "{kind} {name} changed from {from} to {to}")?,
        }
        f.write_str(if *of_trial { " (the trial's)" } else { " (meanwhile; nothing ties it to the trial)" })
    }
}

/// What a trial can be known by afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    marker: Marker,
    namespaces: BTreeSet<u64>,
    /// Start time, in clock ticks since boot, of the youngest process seen in the trial.
    last_start: u64,
}

impl Footprint {
    /// Of a trial that was never seen running: its mark alone.
    #[must_use]
    pub fn new(marker: &Marker) -> Footprint {
        Footprint { marker: marker.clone(), namespaces: BTreeSet::new(), last_start: 0 }
    }

    /// Looks at the trial while it runs and remembers the namespaces it has now; to be called once its network is up,
    /// and before it is stopped.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn observe(&mut self) -> io::Result<()> {
        let processes = procfs::processes()?;
        let own = procfs::process(std::process::id().try_into().unwrap_or(0)).unwrap_or_default();
        let outside = [own.namespaces.pid, own.namespaces.net, own.namespaces.mnt, 0];
        // Host shells and daemons may have cleared their environment; that they are in the PID namespace tells.
        let inside: BTreeSet<u64> = processes
            .iter()
            .filter(|process| process.marker.as_ref() == Some(&self.marker))
            .map(|process| process.namespaces.pid)
            .filter(|pid| !outside.contains(pid))
            .collect();
        for process in processes.iter().filter(|process| inside.contains(&process.namespaces.pid)) {
            self.last_start = self.last_start.max(process.started);
            let all = process.namespaces;
            self.namespaces.extend([all.pid, all.net, all.mnt].into_iter().filter(|ns| !outside.contains(ns)));
        }
        Ok(())
    }

    /// True if nothing of the trial has been seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    fn owns_process(&self, process: &procfs::Process) -> bool {
        // The kernel gives the numbers of dead namespaces to new ones: a process younger than everything the trial
        // had is in a namespace of somebody else.
        let namespaces = process.namespaces;
        process.marker.as_ref() == Some(&self.marker)
            || (process.started <= self.last_start
                && [namespaces.pid, namespaces.net, namespaces.mnt].iter().any(|ns| self.namespaces.contains(ns)))
    }

    fn owns_text(&self, text: &str) -> bool {
        let dir = self.marker.dir();
        text.contains(&self.marker.to_string()) || (dir.is_absolute() && Path::new(text).starts_with(dir))
    }
}

/// What changed from `before` to `after`. Processes come and go all the time, so of these only the trial's are named.
#[must_use]
pub fn diff(before: &HostState, after: &HostState, footprint: &Footprint) -> Vec<Difference> {
    let mut found = Vec::new();
    let seen: BTreeSet<(i32, u64)> = before.processes.iter().map(|p| (p.pid, p.started)).collect();
    let owned: Vec<_> =
        after.processes.iter().filter(|p| !seen.contains(&(p.pid, p.started)) && footprint.owns_process(p)).collect();
    for process in &owned {
        let name = format!("{} ({})", process.pid, process.name);
        found.push(Difference { kind: Kind::Process, name, change: Change::Appeared, of_trial: true });
    }
    let owned_namespaces: BTreeSet<u64> =
        owned.iter().flat_map(|p| [p.namespaces.pid, p.namespaces.net, p.namespaces.mnt]).collect();

    let mut compare = |kind, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>| {
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let change = match (before.get(name), after.get(name)) {
                (None, Some(_)) => Change::Appeared,
                (Some(_), None) => Change::Vanished,
                (Some(from), Some(to)) if from != to => Change::Became { from: from.clone(), to: to.clone() },
                _ => continue,
            };
            let appeared = change == Change::Appeared;
            let of_trial = appeared
                && match kind {
                    Kind::Namespace => {
                        procfs::namespace_inode(name).is_some_and(|inode| owned_namespaces.contains(&inode))
                    }
                    Kind::Mount | Kind::Tmp | Kind::Bridge => footprint.owns_text(name),
                    _ => false,
                };
            found.push(Difference { kind, name: name.clone(), change, of_trial });
        }
    };
    compare(Kind::Namespace, &before.namespaces, &after.namespaces);
    compare(Kind::Link, &before.links, &after.links);
    compare(Kind::Qdisc, &before.qdiscs, &after.qdiscs);
    // A bridge list that could not be had says nothing about bridges.
    if let (Some(before), Some(after)) = (&before.bridges, &after.bridges) {
        compare(Kind::Bridge, before, after);
    }
    compare(Kind::Mount, &before.mounts, &after.mounts);
    compare(Kind::Tmp, &before.tmp, &after.tmp);
    compare(Kind::Sysctl, &before.sysctls, &after.sysctls);
    found
}

/// Waits until nothing of the trial is left on the host, for at most `within`; the kernel takes interfaces away a
/// moment after the last process. The value is what changed; what is still the trial's was left behind.
///
/// # Errors
/// The host's state cannot be read.
pub fn settle(before: &HostState, footprint: &Footprint, within: Duration) -> Result<Vec<Difference>, HostError> {
    let deadline = Instant::now() + within;
    loop {
        let differences = diff(before, &HostState::snapshot()?, footprint);
        if differences.iter().all(|difference| !difference.of_trial) || Instant::now() >= deadline {
            return Ok(differences);
        }
        sleep(POLL);
    }
}

/// The host's state cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}, so livectl cannot prove that the host is unchanged: {source}", path.display())]
pub struct HostError {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests;
