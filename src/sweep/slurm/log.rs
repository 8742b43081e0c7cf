//! The logs of a session with Slurm: its own, which submitter and next rounds write one after the other, and one for
//! each node, `<session>.<node>.jsonl`, which the tasks on it append to. A node has one task of a sweep at a time,
//! and appends of one machine do not mix.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::store::{StoreError, SweepDir};
use crate::sweep::SweepError;
use crate::sweep::session::{Did, Line, sessions, text_of};

/// Of the phases of trials only the last ones matter; there are many.
const LAST: usize = 32;

/// Something to append lines to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    path: PathBuf,
}

/// What a session's logs tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logs {
    /// Name of the session.
    pub session: String,
    /// Lines of the session's own log.
    pub own: Vec<Line>,
    /// Those of nodes, by their names, without phases and remarks of trials that are over.
    pub nodes: BTreeMap<String, Vec<Line>>,
}

impl Log {
    /// The log of a session.
    #[must_use]
    pub fn of_session(sweep: &SweepDir, session: &str) -> Log {
        Log { path: sweep.log().join(format!("{session}.jsonl")) }
    }

    /// The log of a node in a session.
    #[must_use]
    pub fn of_node(sweep: &SweepDir, session: &str, node: &str) -> Log {
        Log { path: sweep.log().join(format!("{session}.{node}.jsonl")) }
    }

    /// Its lines by which something is decided.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lines(&self) -> Result<Vec<Line>, StoreError> {
        Ok(essential(&text_of(&self.path)?))
    }

    /// Appends a line, in one piece.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write(&self, what: Did) -> Result<(), StoreError> {
        self.write_line(&Line { what, time: Timestamp::now() })
    }

    /// Appends a line that was made elsewhere.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write_line(&self, line: &Line) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec(line)
            .map_err(|error| StoreError::Manifest { path: self.path.clone(), why: error.to_string() })?;
        text.push(b'\n');
        let unwritable = |source| StoreError::writing(self.path.clone(), source);
        let mut file = File::options().append(true).create(true).open(&self.path).map_err(unwritable)?;
        file.write_all(&text).map_err(unwritable)
    }
}

/// The lines of a node's log by which something is decided, and the last ones.
fn essential(text: &str) -> Vec<Line> {
    let last = text.lines().count().saturating_sub(LAST);
    let passing =
        |line: &str| [r#"{"event":"phase""#, r#"{"event":"said""#].iter().any(|begin| line.starts_with(begin));
    let lines = text.lines().enumerate().filter(|(number, line)| *number >= last || !passing(line));
    lines.filter_map(|(_, line)| serde_json::from_str(line).ok()).collect()
}

impl Logs {
    /// The logs of a session.
    ///
    /// # Errors
    /// [`SweepError::Store`].
    pub fn of(sweep: &SweepDir, session: &str) -> Result<Logs, SweepError> {
        let mut logs = Logs { session: session.to_owned(), ..Logs::default() };
        for known in sessions(sweep)? {
            let Some(rest) = known.name.strip_prefix(session) else { continue };
            if rest.is_empty() {
                logs.own = known.lines()?;
            } else if let Some(node) = rest.strip_prefix('.') {
                logs.nodes.insert(node.to_owned(), essential(&text_of(&known.log)?));
            }
        }
        Ok(logs)
    }

    /// The last session with Slurm, if there is one.
    ///
    /// # Errors
    /// [`SweepError::Store`].
    pub fn last(sweep: &SweepDir) -> Result<Option<Logs>, SweepError> {
        for known in sessions(sweep)?.iter().rev().filter(|known| known.process.is_none()) {
            if text_of(&known.log)?.starts_with(r#"{"event":"slurm_started""#) {
                return Ok(Some(Logs::of(sweep, &known.name)?));
            }
        }
        Ok(None)
    }

    /// Whether it has ended, and how.
    #[must_use]
    pub fn ended(&self) -> Option<(Timestamp, &str)> {
        self.own.iter().rev().find_map(|line| match &line.what {
            Did::SessionEnded { why } => Some((line.time, why.as_str())),
            _ => None,
        })
    }

    /// The last round: its number, its arrays, and the job that makes the next one.
    #[must_use]
    pub fn submitted(&self) -> Option<(u32, &[String], &str)> {
        self.own.iter().rev().find_map(|line| match &line.what {
            Did::Submitted { round, jobs, next, .. } => Some((*round, jobs.as_slice(), next.as_str())),
            _ => None,
        })
    }

    /// Those lines of all logs, in the order of their times.
    #[must_use]
    pub fn all(&self) -> Vec<&Line> {
        let mut lines: Vec<&Line> = self.own.iter().chain(self.nodes.values().flatten()).collect();
        lines.sort_by_key(|line| line.time);
        lines
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::event::Phase;
    use crate::store::Owner;
    use crate::sweep::session::{Process, new_name};
    use crate::sweep::slurm::node::tests::{started, task};

    #[test]
    fn a_session_is_its_own_log_and_those_of_its_nodes_and_the_last_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(folder.path(), "x").unwrap();
        sweep.create(Owner::Process).unwrap();
        assert_eq!(Logs::last(&sweep).unwrap(), None);
        let first = "20200101T000000Z-login-7-00000001".to_owned();
        let second = new_name(&Process::this());
        for session in [&first, &second] {
            let own = Log::of_session(&sweep, session);
            own.write(Did::SlurmStarted { process: Process::this(), left: 2, trials: 2 }).unwrap();
            let jobs = vec!["7".to_owned()];
            own.write(Did::Submitted { round: 1, jobs, next: "8".into(), trials: 2, without: vec![] }).unwrap();
        }
        Log::of_session(&sweep, &first).write(Did::SessionEnded { why: "finished".into() }).unwrap();
        let node = Log::of_node(&sweep, &second, "n1.lab");
        node.write(task(1, "a")).unwrap();
        node.write(started("a")).unwrap();
        (0..100).for_each(|_| node.write(Did::Phase { trial: "a".into(), phase: Phase::Stream }).unwrap());
        // A session of livectl sweep on one machine is not one of Slurm's.
        crate::sweep::session::Session::begin(&sweep, Owner::Process, 1, 1).unwrap();

        let last = Logs::last(&sweep).unwrap().unwrap();
        assert_eq!(
            (last.session.as_str(), last.ended(), last.submitted()),
            (second.as_str(), None, Some((1, &["7".to_owned()][..], "8")))
        );
        let lines = &last.nodes["n1.lab"];
        assert_eq!(lines.len(), LAST + 2, "all that decides, and the last phases");
        assert!(matches!(lines[1].what, Did::TrialStarted { .. }));
        let first = Logs::of(&sweep, &first).unwrap();
        assert_eq!((first.ended().map(|(_, why)| why), first.nodes.len()), (Some("finished"), 0));
    }
}
