//! Processor time and memory of a controller, from its clock and from /proc.

use std::fs;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Processor time so far of all threads that a process has or had; `None` when there is no such process.
///
/// The kernel's clock of the process, in nanoseconds. A sum over `/proc/PID/task` would miss the threads that have
/// ended, and fail when one ends meanwhile.
pub fn processor_time(pid: u32) -> Option<Duration> {
    // 0 would be the caller itself.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
    clock.now().ok().map(Duration::from)
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

fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::time::ClockId;

    #[test]
    fn a_line_of_proc() {
        assert_eq!(parse_status("VmPeak:\t 9 kB\nVmHWM:\t   4321 kB\nVmRSS:\t 1 kB\n"), Some(4321));
        assert_eq!(parse_status(""), None);
    }

    #[test]
    fn this_process() {
        assert!(peak_memory(std::process::id()).is_some_and(|peak| peak > 100));
        assert_eq!(processor_time(u32::MAX), None);
        assert_eq!(processor_time(0), None);
    }

    #[test]
    fn threads_that_end_have_counted() {
        let busy = Duration::from_millis(5);
        let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
        for _ in 0..20 {
            let thread = std::thread::spawn(move || while clock.now().is_ok_and(|now| now < busy.into()) {});
            let mut last = Some(Duration::ZERO);
            while !thread.is_finished() {
                last = processor_time(std::process::id());
                assert!(last.is_some());
            }
            assert!(thread.join().is_ok());
            let now = processor_time(std::process::id());
            assert!(now >= last, "{now:?} after {last:?}");
        }
    }
}
