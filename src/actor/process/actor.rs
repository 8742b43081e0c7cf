//! What an actor is, as values.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Readiness;
use crate::shell_word::quoted;

/// A command line and what is added to the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Looked up in `PATH` unless it has a slash.
    pub program: String,
    /// Its arguments; no shell ever sees them.
    pub args: Vec<String>,
    /// Variables that it gets beside the inherited ones.
    pub env: Vec<(String, String)>,
}

/// A program on a host, with all that is needed to run it, know that it is up, and stop it. It has nothing to read on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// What it is to the experiment: `encoder`, `agent`, `nginx`. Unique at its station.
    pub name: String,
    /// The host that it runs on, or none.
    pub station: Station,
    /// The program and its arguments.
    pub command: Command,
    /// Folders that must be there before it starts.
    pub folders: Vec<PathBuf>,
    /// Files with their text that must be there before it starts.
    pub files: Vec<(PathBuf, String)>,
    /// Where its standard output goes.
    pub output: Output,
    /// Where its standard error goes.
    pub log: PathBuf,
    /// When it counts as up.
    pub ready: Readiness,
    /// How long that may take.
    pub ready_within: Duration,
    /// Pieces of a log line that mean that it has failed though it goes on.
    pub alarms: Vec<String>,
    /// How it is stopped.
    pub stop: Stop,
}

/// Where an actor belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Station {
    /// To a host of the experiment.
    Host(String),
    /// To the network itself: on no host.
    Machine,
}

/// Where an actor's standard output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Into the log, with standard error.
    Log,
    /// Into a file of its own.
    File(PathBuf),
    /// Line by line to whoever started it: see [`super::Process::lines`].
    Lines,
}

/// How long each step of stopping may take: SIGINT, then SIGTERM, then SIGKILL, always to the whole process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stop {
    /// Time from SIGINT to SIGTERM.
    pub interrupt: Duration,
    /// Time from SIGTERM to SIGKILL.
    pub terminate: Duration,
}

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the namespaces of this program.
    Here,
    /// On the host whose shell has this process id: through `mnexec -a`, which enters its namespaces and executes the command in
    /// the same process, so that process id and group stay ours.
    Host(u32),
}

impl Default for Stop {
    fn default() -> Self {
        Self { interrupt: Duration::from_secs(3), terminate: Duration::from_secs(1) }
    }
}

impl Command {
    /// A command with these arguments and nothing added to the environment.
    pub fn new<A: Into<String>>(program: impl Into<String>, args: impl IntoIterator<Item = A>) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect(), env: Vec::new() }
    }

    /// Another program with arguments of its own, `--` and then this, which that program is to become.
    #[must_use]
    pub fn behind(self, program: impl Into<String>, args: impl IntoIterator<Item = String>) -> Self {
        let mut before: Vec<String> = args.into_iter().collect();
        before.extend(["--".to_owned(), self.program]);
        before.extend(self.args);
        Self { program: program.into(), args: before, ..self }
    }

    /// The same, with a variable added to its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// What is really executed at `place`.
    #[must_use]
    pub fn at(&self, place: Place) -> Self {
        match place {
            Place::Here => self.clone(),
            Place::Host(pid) => {
                let before = ["-a".to_owned(), pid.to_string(), self.program.clone()];
                Self {
                    program: "mnexec".into(),
                    args: before.into_iter().chain(self.args.iter().cloned()).collect(),
                    env: self.env.clone(),
                }
            }
        }
    }
}

impl fmt::Display for Command {
    /// As one would type it into a POSIX shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

impl Actor {
    /// `host/name`.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.station {
            Station::Machine => self.name.clone(),
            Station::Host(host) => format!("{host}/{}", self.name),
        }
    }
}

impl Station {
    /// The host's name, if it is one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Station::Host(name) => Some(name),
            Station::Machine => None,
        }
    }
}

impl fmt::Display for Station {
    /// The host's name, or `-`, which no host can have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.host().unwrap_or("-"))
    }
}

impl From<&str> for Station {
    fn from(name: &str) -> Self {
        if name == "-" { Station::Machine } else { Station::Host(name.to_owned()) }
    }
}

impl From<String> for Station {
    fn from(name: String) -> Self {
        Station::from(name.as_str())
    }
}

impl From<Station> for String {
    fn from(station: Station) -> Self {
        station.to_string()
    }
}
