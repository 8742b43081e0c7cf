//! Asking the kernel to run a thread when its time has come and not some milliseconds later.

/// Which thread is preferred to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// What passes frames on: what it adds to their delay is not the network's.
    Passing = 1,
    /// What stamps births: before what passes them on.
    Births = 2,
}

/// Gives the calling thread the best scheduling that the kernel grants: before every ordinary process (SCHED_FIFO at
/// one of the lowest real-time priorities, sched(7)), or nice −20, and timers without slack.
pub(crate) fn prefer_this_thread(priority: Priority) {
    // SAFETY: plain system calls on the calling thread with valid arguments.
    unsafe {
        // Ordinary threads' timers may otherwise be 50 µs late for the sake of power (prctl(2), PR_SET_TIMERSLACK).
        libc::prctl(libc::PR_SET_TIMERSLACK, 1usize, 0usize, 0usize, 0usize);
        let wanted = libc::sched_param { sched_priority: priority as libc::c_int };
        if libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const wanted) != 0 {
            // On Linux this concerns the calling thread alone (setpriority(2), "C library/kernel differences").
            libc::setpriority(libc::PRIO_PROCESS, 0, -20);
        }
    }
}
