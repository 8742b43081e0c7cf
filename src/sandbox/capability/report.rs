//! Shows what was found.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::{Capabilities, Finding, State, findings};

/// What a machine can, judged, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
    /// One command that installs all missing Debian packages; `None`: nothing is missing.
    pub install: Option<String>,
}

impl Report {
    /// Judges what was found.
    #[must_use]
    pub fn new(here: &Capabilities) -> Report {
        let findings = findings(here);
        let packages: BTreeSet<&str> = findings.iter().filter_map(|finding| finding.package.as_deref()).collect();
        let packages: Vec<&str> = packages.into_iter().collect();
        let install = (!packages.is_empty())
            .then(|| format!("sudo apt-get install -y --no-install-recommends {}", packages.join(" ")));
        Report { findings, install }
    }

    /// What keeps trials from running.
    pub fn obstacles(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.state == State::Missing)
    }

    /// True if trials can run, as root.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.obstacles().next().is_none()
    }

    /// Lines for people, with ANSI colours if asked for.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let width = self.findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for finding in &self.findings {
            let (word, code) = match finding.state {
                State::Fine => ("fine", 32),
                State::Warning => ("warning", 33),
                State::Missing => ("MISSING", 31),
            };
            let word = format!("{word:<7}");
            let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{word}  {:<width$}  {}", finding.name, finding.found);
            let indent = 7 + 2 + width + 2;
            if let Some(consequence) = &finding.consequence {
                let _ = writeln!(text, "{:indent$}{consequence}", "");
            }
            if let Some(remedy) = finding.remedy.as_ref().filter(|_| finding.package.is_none()) {
                let _ = writeln!(text, "{:indent$}→ {remedy}", "");
            }
        }
        if let Some(install) = &self.install {
            let _ = writeln!(text, "\nInstall what is missing:\n  {install}");
        }
        let (missing, warnings) = (self.obstacles().count(), self.count(State::Warning));
        let _ = match (missing, warnings) {
            (0, 0) => writeln!(text, "\nThis machine is ready for trials."),
            (0, _) => writeln!(text, "\nThis machine is ready for trials; warnings: {warnings}."),
            _ => writeln!(text, "\nTrials cannot run here yet; missing: {missing}, warnings: {warnings}."),
        };
        text
    }

    fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }
}
