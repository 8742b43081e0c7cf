//! The sandbox: namespaces of its own for every trial, so that a trial can leave nothing behind.
//!
//! A trial's program runs in network, mount, PID and IPC namespaces of its own, with its own Open vSwitch, a private
//! `/run`, `/tmp` and `/dev/shm`, and with the global part of `/proc/sys` read-only. Whatever ends it, the kernel
//! kills every process in the PID namespace and takes the interfaces away; there is no clean-up code to get wrong.
//!
//! Four processes take part:
//!
//! ```text
//! livectl run                      the starter: [`command`] and [`spawn`]
//! └ livectl internal trial         the keeper: waits for the sandbox and passes on its exit code   ┐
//!   └ livectl internal trial       PID 1 inside: reaps orphans, ends everything when the starter   │ made by
//!     │                            or the keeper is gone                                           │ [`enter`]
//!     └ livectl internal trial     PID 2 inside: what the program goes on to do                    ┘
//! ```
//!
//! Two threads tie them to the starter, each enough by itself: the parent-death signal (keeper to starter, PID 1 to
//! keeper, PID 2 to PID 1), and PID 1 watching its standard input and the keeper for a hang-up.
//!
//! The other parts: [`Ovs`] is the trial's own Open vSwitch; [`capability`] says what this machine can; [`halted`]
//! finds programs that stand still; [`host`] proves that the host is as it was; [`running`] finds trials that run and
//! enters their hosts; [`visit`] has programs look at them.

pub mod capability;
pub mod halted;
pub mod host;
pub mod running;
pub mod visit;

mod enter;
mod environment;
mod limits;
mod marker;
mod mounts;
mod ovs;
mod procfs;
mod start;

pub use enter::{EnterError, Inside, enter};
pub use environment::Environment;
pub use marker::Marker;
pub use mounts::{COVERED, covers};
pub use ovs::{Ovs, OvsError};
pub use start::{command, spawn, spawn_blocking};

/// When a process of this machine started, in clock ticks since boot; with its id it names it for good. `None`: there
/// is none, or it has ended.
#[must_use]
pub fn process_start(pid: i32) -> Option<u64> {
    procfs::process(pid).map(|process| process.started)
}

/// How many processes the kernel has killed since boot for want of memory; `None`: it does not say.
#[must_use]
pub fn killed_for_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}
