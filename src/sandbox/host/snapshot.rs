//! The host's state as far as a network emulation could disturb it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use duct::cmd;

use super::HostError;
use crate::sandbox::procfs::{self, Process};

/// Sockets at which the host's own Open vSwitch may answer.
const OVS_SOCKET: &str = "/run/openvswitch/db.sock";
/// A host whose Open vSwitch hangs must not hang us.
const PATIENCE: Duration = Duration::from_secs(2);
/// Kernel settings that Mininet 2.3.0 changes when it starts (`mininet/util.py`, `fixLimits`), and forwarding.
/// The first two are global; of `net.*` a sandbox has its own or may not write them.
const SYSCTLS: [&str; 12] = [
    "fs.file-max",
    "kernel.pty.max",
    "net.core.wmem_max",
    "net.core.rmem_max",
    "net.core.netdev_max_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.route.max_size",
    "net.ipv4.ip_forward",
];

/// What was there at one moment, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostState {
    /// Interface → its index and state.
    pub(super) links: BTreeMap<String, String>,
    /// `net:[inode]` → what it is known by.
    pub(super) namespaces: BTreeMap<String, String>,
    /// Interface and handle → kind; empty without `tc`.
    pub(super) qdiscs: BTreeMap<String, String>,
    /// Bridges of the host's own Open vSwitch; `None`: it did not answer.
    pub(super) bridges: Option<BTreeMap<String, String>>,
    /// Mount point → file system.
    pub(super) mounts: BTreeMap<String, String>,
    /// Entries of /tmp that bear livectl's or Mininet's name.
    pub(super) tmp: BTreeMap<String, String>,
    /// Setting → value.
    pub(super) sysctls: BTreeMap<String, String>,
    pub(super) processes: Vec<Process>,
}

impl HostState {
    /// Looks at the host this process is on. Takes some 20 ms, and at most two seconds when its Open vSwitch hangs.
    ///
    /// # Errors
    /// `/proc` or `/sys/class/net` cannot be read.
    pub fn snapshot() -> Result<HostState, HostError> {
        let at = |path: &'static str| move |source| HostError { path: path.into(), source };
        let processes = procfs::processes().map_err(at("/proc"))?;
        Ok(HostState {
            links: links().map_err(at("/sys/class/net"))?,
            namespaces: namespaces(&processes),
            qdiscs: command(&["tc", "qdisc", "show"]).map_or_else(BTreeMap::new, |text| qdiscs(&text)),
            bridges: bridges(),
            mounts: mounts(&fs::read_to_string("/proc/self/mountinfo").map_err(at("/proc/self/mountinfo"))?),
            tmp: tmp().map_err(at("/tmp"))?,
            sysctls: sysctls(),
            processes,
        })
    }
}

fn names(folder: &str) -> io::Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn links() -> io::Result<BTreeMap<String, String>> {
    // The index tells an interface that was deleted and made again from one that stayed.
    let index = |name: &String| {
        fs::read_to_string(Path::new("/sys/class/net").join(name).join("ifindex"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    Ok(names("/sys/class/net")?.into_iter().map(|name| (name.clone(), format!("index {}", index(&name)))).collect())
}

fn namespaces(processes: &[Process]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for process in processes {
        let all = process.namespaces;
        for (kind, inode) in [("net", all.net), ("mnt", all.mnt), ("pid", all.pid)] {
            if inode != 0 {
                found.insert(format!("{kind}:[{inode}]"), "in use".to_owned());
            }
        }
    }
    // No folder: nothing has a name.
    for name in names("/run/netns").unwrap_or_default() {
        found.insert(format!("/run/netns/{name}"), "named".to_owned());
    }
    found
}

fn command(words: &[&str]) -> Option<String> {
    let (program, args) = words.split_first()?;
    let command = cmd(*program, args).stdin_null().stderr_null().stdout_capture().unchecked();
    let handle = command.start().ok()?;
    match handle.wait_timeout(PATIENCE) {
        Ok(Some(output)) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(Some(_)) => None,
        _ => {
            let _ = handle.kill();
            None
        }
    }
}

/// `qdisc fq_codel 0: dev eth0 root refcnt 2 …`: interface and place → kind and handle.
fn qdiscs(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, kind, handle, _, device, place @ ..] = words.as_slice() else { return None };
        let place: Vec<&str> = place.iter().take_while(|word| **word != "refcnt").take(2).copied().collect();
        Some((format!("{device} {}", place.join(" ")).trim().to_owned(), format!("{kind} {handle}")))
    };
    text.lines().filter_map(line).collect()
}

fn bridges() -> Option<BTreeMap<String, String>> {
    if !Path::new(OVS_SOCKET).exists() {
        return Some(BTreeMap::new());
    }
    let text = command(&["ovs-vsctl", &format!("--db=unix:{OVS_SOCKET}"), "--timeout=1", "list-br"])?;
    Some(text.lines().map(|name| (name.to_owned(), "there".to_owned())).collect())
}

/// proc_pid_mountinfo(5): the fifth field is the mount point, and behind ` - ` stand file system and source.
fn mounts(mountinfo: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        let mut right = right.split(' ');
        Some((point.to_owned(), format!("{} of {}", right.next()?, right.next()?)))
    };
    let mut found = BTreeMap::new();
    for (point, what) in mountinfo.lines().filter_map(line) {
        // Mounts on the same place lie on one another.
        found
            .entry(point)
            .and_modify(|all: &mut String| {
                all.push_str(", ");
                all.push_str(&what);
            })
            .or_insert(what);
    }
    found
}

fn tmp() -> io::Result<BTreeMap<String, String>> {
    let ours = |name: &String| name.contains("livectl") || name.contains("mininet");
    Ok(names("/tmp")?.into_iter().filter(ours).map(|name| (format!("/tmp/{name}"), "there".to_owned())).collect())
}

fn sysctls() -> BTreeMap<String, String> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name.replace('.', "/"))).ok();
    SYSCTLS.iter().filter_map(|name| Some(((*name).to_owned(), read(name)?.trim().replace('\t', " ")))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_mounts_that_lie_on_one_another() {
        let text = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                    45 27 0:6 / /dev rw shared:2 master:1 - devtmpfs devtmpfs rw,size=1k\n\
                    46 45 0:7 / /dev rw - tmpfs none rw\n";
        let found = mounts(text);
        assert_eq!(found["/proc"], "proc of proc");
        assert_eq!(found["/dev"], "devtmpfs of devtmpfs, tmpfs of none");
    }

    #[test]
    fn reads_qdiscs() {
        let text = "qdisc noqueue 0: dev lo root refcnt 2 \n\
                    qdisc netem 10: dev s1-eth1 parent 5:1 limit 1000 delay 100ms\n\
                    qdisc fq_codel 0: dev eth0 root refcnt 2 limit 10240p\n";
        let found = qdiscs(text);
        assert_eq!(found["lo root"], "noqueue 0:");
        assert_eq!(found["s1-eth1 parent 5:1"], "netem 10:");
        assert_eq!(found["eth0 root"], "fq_codel 0:");
    }

    #[test]
    fn sees_this_host() {
        let host = HostState::snapshot().unwrap();
        assert!(host.links.contains_key("lo"));
        assert!(host.mounts.contains_key("/"));
        assert!(host.namespaces.keys().any(|name| name.starts_with("net:[")));
        assert!(host.sysctls.contains_key("kernel.pty.max"));
    }
}
