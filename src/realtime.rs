//! Asking the kernel to run a thread when its time has come and not some milliseconds later.

use nix::errno::Errno;
use nix::libc;
use serde::{Deserialize, Serialize};

/// How the kernel schedules a thread that must not be late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduling {
    /// SCHED_FIFO at the lowest real-time priority: before every ordinary process (sched(7)).
    Fifo,
    /// An ordinary thread at nice −20. Kernels with CONFIG_RT_GROUP_SCHED refuse real-time scheduling to control
    /// groups without a real-time budget.
    Nice,
    /// An ordinary thread; nothing better was granted.
    Normal,
}

/// Gives the calling thread the best scheduling that the kernel grants, and timers without slack.
#[must_use]
pub fn prefer_this_thread() -> Scheduling {
    // SAFETY: plain system calls on the calling thread with valid arguments.
    unsafe {
        // Ordinary threads' timers may otherwise be 50 µs late for the sake of power (prctl(2), PR_SET_TIMERSLACK).
        libc::prctl(libc::PR_SET_TIMERSLACK, 1usize, 0usize, 0usize, 0usize);
        let lowest = libc::sched_param { sched_priority: 1 };
        if libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &lowest) == 0 {
            return Scheduling::Fifo;
        }
        // On Linux this concerns the calling thread alone (setpriority(2), "C library/kernel differences").
        if libc::setpriority(libc::PRIO_PROCESS, 0, -20) == 0 { Scheduling::Nice } else { Scheduling::Normal }
    }
}

/// Keeps every page that the process has touched or will touch in memory. Pages never touched (most of the program)
/// are left out (mlock(2), MCL_ONFAULT).
///
/// # Errors
/// What the kernel answered, commonly EPERM or ENOMEM when RLIMIT_MEMLOCK is low.
pub fn lock_memory() -> Result<(), Errno> {
    // SAFETY: takes flags only.
    Errno::result(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) }).map(drop)
}
