//! Ctrl-C in commands that work on stored results: no file is left half-written, and no run half-stored.

use nix::libc;
use nix::sys::signal::{SigSet, Signal, raise};

use super::exit::Exit;
use crate::store;

/// Has the signals that end a process wait until what is being written is whole. A second one does not wait. To be
/// called before there are other threads, which would take the signals.
pub(super) fn after_writing() {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().filter(|s| !is_ignored(*s));
    let signals: SigSet = signals.collect();
    if signals.thread_block().is_err() {
        return;
    }
    std::thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        let _ = signals.thread_unblock();
        // Nothing is written from here on.
        let _nobody_writes = store::nobody_writes();
        // Whoever waits for livectl is to see that a signal ended it.
        let _ = raise(signal);
        std::process::exit(Exit::Interrupted as i32);
    });
}

/// Whether this process was started with the signal ignored, as `nohup` does (proc(5), `SigIgn`: the lowest bit is
/// signal 1).
pub(super) fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as libc::c_int - 1) & 1 == 1)
}
