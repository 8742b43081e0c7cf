//! What a person sees while something runs. The only room that prints then: the others send [`Update`]s.
//!
//! On a terminal there are bars: one for the run, one for each trial with its phase and clock, and a line for each host.
//! Elsewhere (a pipe, a log file, CI) the same updates become plain lines with the time of day.

mod bars;
mod lines;
mod words;

use std::io::{IsTerminal, Write};

use crate::run::event::Stamped;

/// Something to show.
#[derive(Debug, Clone)]
pub enum Update {
    /// A recipe's run begins.
    RunStarted {
        /// The recipe's name.
        recipe: String,
        /// Where results go.
        folder: String,
        /// How many trials it has.
        trials: usize,
        /// Expected length of the whole, in words.
        expected: String,
    },
    /// A trial begins.
    TrialStarted {
        /// Its id.
        trial: String,
    },
    /// Something happened in a trial.
    Trial {
        /// Its id.
        trial: String,
        /// What and when.
        what: Stamped,
    },
    /// A trial is over.
    TrialEnded {
        /// Its id.
        trial: String,
        /// `done`, `failed: …`.
        verdict: String,
        /// Whether the verdict is a good one.
        good: bool,
    },
    /// A line for the reader.
    Say(String),
    /// The run is over; bars go away.
    RunEnded,
}

/// Shows updates.
pub trait Reporter {
    /// Shows one update. Never fails: a closed terminal must not end an experiment.
    fn show(&mut self, update: &Update);
}

/// Bars if stdout is a terminal that can draw them, else lines.
#[must_use]
pub fn reporter() -> Box<dyn Reporter> {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    if std::io::stdout().is_terminal() && !dumb { Box::new(bars::Bars::new()) } else { Box::new(lines::Lines) }
}

/// Prints a text that is a command's result. A reader that went away (`livectl … | head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// `3 min 20 s`.
#[must_use]
pub fn span(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// `1.5 GB`, in powers of 1000.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn spans_and_sizes_read_well() {
        assert_eq!(super::span(Duration::from_millis(59_400)), "59 s");
        assert_eq!(super::span(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(super::span(Duration::from_secs(7260)), "2 h 1 min");
        assert_eq!(super::bytes(999), "999 B");
        assert_eq!(super::bytes(1_500_000_000), "1.5 GB");
    }
}
