//! Processor time and memory of a controller, from /proc.

use std::fs;
use std::time::Duration;

/// Processor time so far of all threads that a process has; `None` when there is no such process.
pub fn processor_time(pid: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let times =
        threads.map(|thread| parse_schedstat(&fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?));
    times.sum()
}

/// The most memory in KiB that a process had resident since it began, or since [`forget_peak`].
pub fn peak_memory(pid: u32) -> Option<u64> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Has the peak counted from now on, where that is allowed.
pub fn forget_peak(pid: u32) {
    // proc(5), clear_refs: 5 resets the peak resident set size.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Nanoseconds on a processor come first (Documentation/scheduler/sched-stats.rst). `stat` has only hundredths of a second.
fn parse_schedstat(schedstat: &str) -> Option<Duration> {
    schedstat.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        assert_eq!(parse_schedstat("3000000000 42 7\n"), Some(Duration::from_secs(3)));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_status("VmPeak:\t 9 kB\nVmHWM:\t   4321 kB\nVmRSS:\t 1 kB\n"), Some(4321));
        assert_eq!(parse_status(""), None);
    }

    #[test]
    fn this_process() {
        assert!(peak_memory(std::process::id()).is_some_and(|peak| peak > 100));
        assert!(processor_time(std::process::id()).is_some());
        assert_eq!(processor_time(u32::MAX), None);
    }
}
