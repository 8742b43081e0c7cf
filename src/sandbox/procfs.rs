//! Reads `/proc` (proc(5)).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::Marker;

/// A process as seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Process {
    /// Process id in our PID namespace.
    pub pid: i32,
    /// Program name, at most 15 bytes.
    pub name: String,
    /// When it started, since boot, in clock ticks. Together with `pid` it names a process for good.
    pub started: u64,
    /// Its process id in its own PID namespace.
    pub inner_pid: i32,
    /// Inodes of its namespaces; zero for those that may not be read.
    pub namespaces: Namespaces,
    /// The mark it inherited.
    pub marker: Option<Marker>,
}

/// Inodes of the namespaces a process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Namespaces {
    pub net: u64,
    pub mnt: u64,
    pub pid: u64,
}

/// All processes that can be seen, but for those that end while one looks or have ended and wait to be reaped: these
/// run nothing and hold nothing, and how soon the host's init reaps them is its affair.
pub(super) fn processes() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        found.extend(process(pid));
    }
    Ok(found)
}

/// One process, if it is there and has not ended.
pub(super) fn process(pid: i32) -> Option<Process> {
    let dir = Path::new("/proc").join(pid.to_string());
    let Stat { name, started, .. } = stat(&fs::read_to_string(dir.join("stat")).ok()?)?;
    let inner_pid = inner_pid(&fs::read_to_string(dir.join("status")).ok()?)?;
    // Unreadable without root, and empty for zombies: then only namespaces can tell.
    let marker = fs::read(dir.join("environ")).ok().and_then(|block| Marker::in_environment(&block));
    let inode = |kind: &str| {
        let link = fs::read_link(dir.join("ns").join(kind)).ok()?;
        namespace_inode(link.to_str()?)
    };
    let namespaces =
        Namespaces { net: inode("net").unwrap_or(0), mnt: inode("mnt").unwrap_or(0), pid: inode("pid").unwrap_or(0) };
    Some(Process { pid, name, started, inner_pid, namespaces, marker })
}

/// What `/proc/PID/stat` tells of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Program name, at most 15 bytes.
    pub name: String,
    /// `R`, `S`, `D`, `T`, …
    pub state: char,
    /// Its process group.
    pub group: i32,
    /// When it started, since boot, in clock ticks.
    pub started: u64,
}

/// Reads `/proc/PID/stat`; `None`: it is a zombie. The name is between the first `(` and the last `)`; it may hold
/// both.
pub(super) fn stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.split_once('(')?;
    let (name, fields) = rest.rsplit_once(')')?;
    // The start is field 22 of all, and so the 20th of those after the name.
    let fields: Vec<&str> = fields.split_whitespace().take(20).collect();
    let [state, _, group, .., started] = fields.as_slice() else { return None };
    let state = state.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))?;
    (fields.len() == 20).then(|| {
        Some(Stat { name: name.to_owned(), state, group: group.parse().ok()?, started: started.parse().ok()? })
    })?
}

/// The innermost process id from the `NSpid:` line of `/proc/PID/status`.
fn inner_pid(status: &str) -> Option<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// `net:[4026531840]` as its number.
pub(super) fn namespace_inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// Clock ticks a second, the unit of start times.
pub(super) fn ticks_per_second() -> u64 {
    // The value is 100 on every architecture the kernel exports to user space.
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| ticks.try_into().ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}

/// Time since boot for a number of clock ticks.
pub(super) fn since_boot(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_names_with_brackets() {
        let text = "1234 (a) b (c) S 1 1234 1234 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 1 0 987654 1000 200 18446744";
        let read = stat(text).unwrap();
        assert_eq!((read.name.as_str(), read.state, read.group, read.started), ("a) b (c", 'S', 1234, 987_654));
        assert_eq!(stat("1234 (short) S 1"), None);
        assert_eq!(stat(&text.replace(") S ", ") Z ")), None, "a zombie has ended");
    }

    #[test]
    fn takes_the_innermost_pid() {
        assert_eq!(inner_pid("Name:\tx\nNSpid:\t4711\t1\nThreads:\t1\n"), Some(1));
        assert_eq!(inner_pid("NSpid:\t4711\n"), Some(4711));
        assert_eq!(inner_pid("Name:\tx\n"), None);
    }

    #[test]
    fn reads_namespace_links() {
        assert_eq!(namespace_inode("net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(namespace_inode("net:4026531840"), None);
    }

    #[test]
    fn sees_itself() {
        let me = process(std::process::id().try_into().unwrap()).unwrap();
        assert!(me.namespaces.pid > 0 && me.started > 0);
        assert!(processes().unwrap().iter().any(|p| p.pid == me.pid && p.started == me.started));
    }
}
