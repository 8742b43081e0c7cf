//! When a process counts as up.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

/// Between two looks at what cannot be waited on: a log, a file, the table of listening sockets.
const INTERVAL: Duration = Duration::from_millis(15);

/// When a process counts as up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// As soon as it runs.
    Started,
    /// A line of its log contains this.
    LogLine(String),
    /// It, or whoever shares its network namespace, listens on all of these.
    Listening(Vec<SocketAddrV4>),
    /// This file, socket or whatever is there.
    File(PathBuf),
    /// It has printed a JSON line whose `event` is this.
    Event(String),
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Readiness::Started => f.write_str("waiting for its start"),
            Readiness::LogLine(text) => write!(f, "waiting for `{text}` in its log"),
            Readiness::Listening(addresses) => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "waiting for it to listen on {}", all.join(" and "))
            }
            Readiness::File(path) => write!(f, "waiting for {}", path.display()),
            Readiness::Event(name) => write!(f, "waiting for its event `{name}`"),
        }
    }
}

/// The events that a process has printed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    events: Mutex<HashSet<String>>,
    changed: Notify,
}

impl Seen {
    /// Notes a line of output; what is not a JSON event is passed over.
    pub(super) fn note(&self, line: &str) {
        let json: Option<serde_json::Value> = serde_json::from_str(line).ok();
        if let Some(name) = json.as_ref().and_then(|json| json.get("event")).and_then(|name| name.as_str()) {
            self.events.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
            self.changed.notify_waiters();
        }
    }

    /// Waits until an event of that name has been noted.
    pub(super) async fn event(&self, name: &str) {
        loop {
            // Before the look, so that nothing noted in between is slept through.
            let changed = self.changed.notified();
            if self.events.lock().unwrap_or_else(PoisonError::into_inner).contains(name) {
                return;
            }
            changed.await;
        }
    }
}

impl Readiness {
    /// Waits until the condition is met by the process `pid` with that log.
    pub(super) async fn met(&self, pid: u32, log: &Path, seen: &Seen) {
        if let Readiness::Event(name) = self {
            return seen.event(name).await;
        }
        while !self.holds(pid, log) {
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn holds(&self, pid: u32, log: &Path) -> bool {
        match self {
            Readiness::Started | Readiness::Event(_) => true,
            Readiness::File(path) => path.exists(),
            Readiness::LogLine(text) => line_with(log, std::slice::from_ref(text)).is_some(),
            Readiness::Listening(addresses) => {
                let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
                let listening = listening(&table);
                addresses.iter().all(|wanted| {
                    listening
                        .iter()
                        .any(|a| a.port() == wanted.port() && (a.ip().is_unspecified() || a.ip() == wanted.ip()))
                })
            }
        }
    }
}

/// The first line of the file that contains one of the texts.
pub(super) fn line_with(path: &Path, texts: &[String]) -> Option<String> {
    if texts.is_empty() {
        return None;
    }
    let lines = BufReader::new(File::open(path).ok()?).split(b'\n').map_while(Result::ok);
    let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.find(|line| texts.iter().any(|text| line.contains(text)))
}

/// The addresses in state LISTEN (0A) of `/proc/PID/net/tcp`, whose numbers are hexadecimal and whose addresses are
/// in host byte order (Linux, Documentation/networking/proc_net_tcp.rst).
fn listening(table: &str) -> Vec<SocketAddrV4> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (address, port) = fields.nth(1)?.split_once(':')?;
        let state = fields.nth(1)?;
        let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == "0A").then(|| SocketAddrV4::new(address.into(), port))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_of_a_real_table() {
        // nginx listening on 10.0.0.2:1935 with one established connection, and a wildcard listener.
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200000A:078F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 125 1 0 100 0 0 10 0
   1: 0200000A:078F 0100000A:C570 01 00000000:00000000 00:00000000 00000000     0        0 999 1 0 20 4 0 10 -1
   2: 00000000:A769 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 126 1 0 100 0 0 10 0
";
        let expected = ["10.0.0.2:1935", "0.0.0.0:42857"].map(|a| a.parse::<SocketAddrV4>().unwrap());
        assert_eq!(listening(table), expected);
        assert_eq!(listening("rubbish\n: :\n"), []);
    }
}
