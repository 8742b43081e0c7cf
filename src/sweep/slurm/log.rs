//! The logs of a session with Slurm: its own, which submitter and next rounds write one after the other, and one for each node, `<session>.<node>.jsonl`,
//! which the tasks on it append to. A node has one task of a sweep at a time, and appends of one machine do not mix.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::store::{StoreError, SweepDir};
use crate::sweep::SweepError;
use crate::sweep::session::{Did, Line, sessions, text_of};

/// Something to append lines to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    path: PathBuf,
}

/// What a session's logs tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logs {
    /// Its name.
    pub session: String,
    /// Its own log.
    pub own: Vec<Line>,
    /// Those of nodes, by their names.
    pub nodes: BTreeMap<String, Vec<Line>>,
}

impl Log {
    /// A session's own.
    #[must_use]
    pub fn of_session(sweep: &SweepDir, session: &str) -> Log {
        Log { path: sweep.log().join(format!("{session}.jsonl")) }
    }

    /// A node's.
    #[must_use]
    pub fn of_node(sweep: &SweepDir, session: &str, node: &str) -> Log {
        Log { path: sweep.log().join(format!("{session}.{node}.jsonl")) }
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
        let mut text =
            serde_json::to_vec(line).map_err(|source| StoreError::Manifest { path: self.path.clone(), source })?;
        text.push(b'\n');
        let unwritable = |source| StoreError::writing(self.path.clone(), source);
        let mut file = File::options().append(true).create(true).open(&self.path).map_err(unwritable)?;
        file.write_all(&text).map_err(unwritable)
    }
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
                logs.nodes.insert(node.to_owned(), known.lines()?);
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

    /// All lines of all logs in the order of their times.
    #[must_use]
    pub fn all(&self) -> Vec<&Line> {
        let mut lines: Vec<&Line> = self.own.iter().chain(self.nodes.values().flatten()).collect();
        lines.sort_by_key(|line| line.time);
        lines
    }
}
