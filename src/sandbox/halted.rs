//! Programs that neither end nor go on because a signal stopped them (state T of proc(5)): SIGSTOP, or a terminal.
//! Whoever waits for such a program would wait for ever, and what it should have done meanwhile is missing from a
//! measurement without a trace.

use std::fs;
use std::time::Duration;

use super::marker::is_visitor;
use super::procfs::{Stat, stat};

/// Between two looks. What is stopped at two of them is held to stay so.
pub const LOOK: Duration = Duration::from_millis(750);

/// A process that a signal has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// Process id, as seen from here.
    pub pid: i32,
    /// Its process group.
    pub group: i32,
    /// Program name, at most 15 bytes.
    pub name: String,
    /// When it started, since boot, in clock ticks.
    started: u64,
}

/// All processes that can be seen and are stopped; those that end while one looks are not, nor is what somebody runs
/// here from outside: who presses Ctrl-Z in a host's shell stops nothing of the trial.
#[must_use]
pub fn halted() -> Vec<Halted> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(halted_one).filter(|halted| !visits(halted.pid)).collect()
}

fn visits(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|block| is_visitor(&block))
}

/// The process, if it is stopped.
fn halted_one(pid: i32) -> Option<Halted> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(pid: i32, text: &str) -> Option<Halted> {
    let Stat { name, state, group, started } = stat(text)?;
    (state == 'T').then_some(Halted { pid, group, name, started })
}

/// The first that is stopped at two looks that follow each other, of those that `look` finds. Waits for ever if there
/// is none.
pub async fn first(look: impl Fn() -> Vec<Halted>) -> Halted {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Vec<Halted> = Vec::new();
    loop {
        looks.tick().await;
        let now = look();
        if let Some(still) = now.iter().find(|halted| before.contains(halted)) {
            return still.clone();
        }
        before = now;
    }
}

/// The process and those below it, to that many generations, of which is stopped.
#[must_use]
pub fn of_family(pid: i32, generations: u32) -> Vec<Halted> {
    let mut found: Vec<Halted> = halted_one(pid).into_iter().collect();
    if generations > 0 {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            found.extend(of_family(child, generations - 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Child, Command};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Sleeper {
            Sleeper(Command::new("sleep").arg("60").spawn().unwrap())
        }

        fn visiting() -> Sleeper {
            Sleeper(Command::new("sleep").arg("60").env(crate::sandbox::marker::VISITOR, "1").spawn().unwrap())
        }

        fn pid(&self) -> i32 {
            self.0.id().try_into().unwrap()
        }

        fn tell(&self, signal: Signal) {
            kill(Pid::from_raw(self.pid()), signal).unwrap();
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_line_of_the_kernel_tells_who_is_stopped() {
        let line = "12 (a) b (c) T 1 7 7 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 1 0 987654 1000 200 18446744";
        let halted = parse(12, line).unwrap();
        assert_eq!((halted.group, halted.name.as_str(), halted.started), (7, "a) b (c", 987_654));
        assert_eq!(parse(12, &line.replace(" T ", " S ")), None);
        assert_eq!(parse(12, &line.replace(" T ", " t ")), None, "somebody traces it, and lets it go on");
        assert_eq!(parse(12, "12 (a"), None);
    }

    #[tokio::test]
    async fn who_is_stopped_for_a_moment_goes_on_and_who_stays_so_is_found() {
        let (brief, lasting) = (Sleeper::new(), Sleeper::new());
        let (first_pid, last_pid) = (brief.pid(), lasting.pid());
        brief.tell(Signal::SIGSTOP);
        let look = move || {
            let seen: Vec<Halted> =
                halted().into_iter().filter(|halted| [first_pid, last_pid].contains(&halted.pid)).collect();
            if seen.iter().any(|halted| halted.pid == first_pid) {
                brief.tell(Signal::SIGCONT);
                lasting.tell(Signal::SIGSTOP);
            }
            seen
        };
        let deadline = Duration::from_secs(60);
        let found = tokio::time::timeout(deadline, first(look)).await.unwrap();
        assert_eq!((found.pid, found.name.as_str()), (last_pid, "sleep"));
    }

    #[test]
    fn a_visitor_may_stand_still() {
        let (own, visitor) = (Sleeper::new(), Sleeper::visiting());
        [&own, &visitor].into_iter().for_each(|sleeper| sleeper.tell(Signal::SIGSTOP));
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let is_stopped = |sleeper: &Sleeper| halted_one(sleeper.pid()).is_some();
        while !(is_stopped(&own) && is_stopped(&visitor)) {
            assert!(std::time::Instant::now() < deadline, "they were never seen to stop");
            std::thread::yield_now();
        }
        let found: Vec<i32> = halted().into_iter().map(|halted| halted.pid).collect();
        assert!(found.contains(&own.pid()) && !found.contains(&visitor.pid()), "{found:?}");
    }

    #[test]
    fn a_process_is_of_its_own_family() {
        let sleeper = Sleeper::new();
        sleeper.tell(Signal::SIGSTOP);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while of_family(sleeper.pid(), 2).is_empty() {
            assert!(std::time::Instant::now() < deadline, "it was never seen to stop");
            std::thread::yield_now();
        }
        assert!(of_family(std::process::id().try_into().unwrap(), 0).is_empty());
    }
}
