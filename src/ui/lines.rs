//! Plain lines with the time of day, for logs and pipes.

use std::io::Write;

use super::{Reporter, words};
use crate::run::event::Update;

/// One line an update, flushed at once.
pub(super) struct Lines;

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
            Update::TrialEnded { trial, ending } => (trial.as_str(), words::verdict(ending).0),
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
