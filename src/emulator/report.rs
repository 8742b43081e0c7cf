//! What the links did, as stored in `emulator.json`.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use super::delivery::Counters;
use super::lateness::Snapshot;
use crate::realtime::Scheduling;

/// What every link did since the emulator started. Rewritten each second while it runs and once at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Milliseconds since the links were ready.
    pub running_ms: u64,
    /// How the delivery thread is scheduled.
    pub scheduling: Scheduling,
    /// Whether the emulator's memory is locked.
    pub memory_locked: bool,
    /// User and system CPU time of the emulator, in milliseconds.
    pub cpu_ms: u64,
    /// The timeline on which links change, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<TimelineHeard>,
    /// Two per link, in the plan's order: from its end `a` to its end `b`, and back.
    pub directions: Vec<Direction>,
}

/// When the links' changes began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineHeard {
    /// Its beginning, in nanoseconds of CLOCK_MONOTONIC.
    pub zero_ns: u64,
    /// How long after it the emulator heard of it: changes in this time came too late, no others do.
    pub heard_after_ns: u64,
}

/// One direction of one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// Interface from which packets come.
    pub from: String,
    /// Interface to which they go.
    pub to: String,
    /// Packets that were offered to the link.
    pub packets: u64,
    /// Bytes of the packets offered, as Ethernet frames without FCS.
    pub bytes: u64,
    /// Packets that reached the other end.
    pub delivered: u64,
    /// Bytes of the packets that reached the other end.
    pub delivered_bytes: u64,
    /// Packets dropped because the queue was full.
    pub dropped_queue: u64,
    /// Packets lost as the link's loss demands.
    pub dropped_loss: u64,
    /// Packets that came while the link was down, as the plan wants it.
    #[serde(default)]
    pub dropped_link: u64,
    /// Changes that have come, pieces of traces included.
    #[serde(default)]
    pub changes: u64,
    /// Packets that were due when the receiving interface was down or gone: always a few at the end of a trial.
    pub dropped_down: u64,
    /// Packets that the kernel had no room for, or that came while 50,000 others were under way: not what the plan wants.
    pub dropped_write: u64,
    /// The most packets that ever waited for the link.
    pub longest_queue: u64,
    /// How late packets were handed over, since the start.
    pub lateness: Lateness,
    /// The same since the report before this one, so over about a second.
    pub recent_lateness: Lateness,
}

/// Time at which packets were handed to the receiving interface − time at which they were due, in nanoseconds.
/// Known to 6 %, rounded up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// Packets counted.
    pub packets: u64,
    /// Median in nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile in nanoseconds.
    pub p99_ns: u64,
    /// Largest value in nanoseconds.
    pub max_ns: u64,
}

impl Lateness {
    fn of(snapshot: &Snapshot) -> Self {
        Lateness {
            packets: snapshot.count(),
            p50_ns: snapshot.quantile(0.50),
            p99_ns: snapshot.quantile(0.99),
            max_ns: snapshot.max(),
        }
    }
}

impl Direction {
    /// Reads the counters; `changes` have come so far; `before` is the lateness at the last report and becomes the
    /// lateness now.
    pub(super) fn of(from: &str, to: &str, counters: &Counters, changes: u64, before: &mut Snapshot) -> Self {
        let lateness = counters.lateness.snapshot();
        let recent = lateness.since(before);
        let direction = Direction {
            from: from.to_owned(),
            to: to.to_owned(),
            packets: counters.packets.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            delivered: counters.delivered.load(Relaxed),
            delivered_bytes: counters.delivered_bytes.load(Relaxed),
            dropped_queue: counters.dropped_queue.load(Relaxed),
            dropped_loss: counters.dropped_loss.load(Relaxed),
            dropped_link: counters.dropped_link.load(Relaxed),
            changes,
            dropped_down: counters.dropped_down.load(Relaxed),
            dropped_write: counters.dropped_write.load(Relaxed),
            longest_queue: counters.longest_queue.load(Relaxed),
            lateness: Lateness::of(&lateness),
            recent_lateness: Lateness::of(&recent),
        };
        *before = lateness;
        direction
    }
}

impl Report {
    /// Reads a stored report.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(path: &Path) -> io::Result<Report> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Replaces the file at `path` in one step: a reader sees the old report or the new one.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".emulator-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.persist(path)?;
        Ok(())
    }

    /// Packets that the machine, and not the plan, dropped.
    #[must_use]
    pub fn dropped_by_machine(&self) -> u64 {
        self.directions.iter().map(|d| d.dropped_write).sum()
    }
}
