//! Plain lines with the time of day, for logs and pipes.

use std::collections::HashMap;
use std::io::Write;

use super::{Reporter, words};
use crate::run::event::Update;

/// From the first news of how viewers stand to the first line of it: until then they come one by one.
const FIRST: i64 = 3_000_000_000;
/// Between two such lines of a trial, in nanoseconds.
const EVERY: i64 = 10_000_000_000;

/// One line an update, flushed at once; of how viewers stand one now and then.
#[derive(Default)]
pub(super) struct Lines {
    /// When each running trial's next such line is due, nanoseconds of CLOCK_REALTIME.
    due: HashMap<String, i64>,
}

impl Lines {
    /// Whether a trial's line of how viewers stand is due.
    fn is_due(&mut self, trial: &str, time_ns: i64) -> bool {
        match self.due.get_mut(trial) {
            None => {
                self.due.insert(trial.to_owned(), time_ns + FIRST);
                false
            }
            Some(due) if time_ns < *due => false,
            Some(due) => {
                *due = time_ns + EVERY;
                true
            }
        }
    }
}

impl Reporter for Lines {
    fn show(&mut self, update: &Update) {
        let (trial, text) = match update {
            Update::RunStarted { recipe, folder, trials, expected } => {
                ("", words::beginning(recipe, folder, *trials, *expected))
            }
            Update::Next { trial, what, left, at_most } => (trial.as_str(), words::next(what, *left, *at_most)),
            Update::TrialStarted { trial } => (trial.as_str(), "starting".to_owned()),
            Update::Trial { trial, what } => match words::sentence(&what.happening) {
                Some(text) => (trial.as_str(), text),
                None => return,
            },
            Update::Present { trial, time_ns, viewers } => match words::audience(viewers) {
                Some(text) if self.is_due(trial, *time_ns) => (trial.as_str(), text),
                _ => return,
            },
            Update::TrialEnded { trial, ending } => {
                self.due.remove(trial);
                (trial.as_str(), words::verdict(ending).0)
            }
            Update::Settled { what, used, why } => ("", format!("{what} {used}: {why}")),
            Update::Problem { trial, text } => (trial.as_str(), text.clone()),
            Update::RunEnded => return,
        };
        let clock = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        let mut out = std::io::stdout().lock();
        for line in text.lines() {
            let _ = match trial {
                "" => writeln!(out, "{clock} {line}"),
                trial => writeln!(out, "{clock} {trial}: {line}"),
            };
        }
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_viewers_stand_is_said_now_and_then() {
        let mut lines = Lines::default();
        let second = |n: i64| n * 1_000_000_000;
        let said: Vec<i64> = (0..40).filter(|n| lines.is_due("direct-1", second(*n))).collect();
        assert_eq!(said, [3, 13, 23, 33]);
        assert!(!lines.is_due("direct-2", second(40)), "another trial");
    }
}
