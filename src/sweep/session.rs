//! What a session of `livectl sweep` did: a log that it alone writes, a JSON object a line. Others read it while it
//! is written.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::run::event::Phase;
use crate::sandbox;
use crate::store::{Cause, Owner, StoreError, SweepDir, TrialState, moment};

/// A process, named so that it cannot be taken for another one: of another machine, or of the same machine before it
/// was booted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Name of the machine.
    pub host: String,
    /// The kernel's id of this boot.
    pub boot: String,
    /// Process id, of this boot.
    pub pid: i32,
    /// When it started, since boot, in clock ticks.
    pub started: u64,
}

/// Whether a process still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs on this machine.
    Alive,
    /// It has ended.
    Gone,
    /// It has ended, since the machine was booted again.
    Rebooted,
    /// It is on another machine, which only its log tells of.
    Elsewhere,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What happened. First in the line, so that a reader can pass over what it does not want.
    #[serde(flatten)]
    pub what: Did,
    /// When it was written.
    #[serde(with = "moment")]
    pub time: Timestamp,
}

/// What happened in a session; each is a line of its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Did {
    /// The session begins.
    SessionStarted {
        /// The session's process: machine, boot, process id, start.
        #[serde(flatten)]
        process: Process,
        /// Trials that are still to be tried.
        left: usize,
        /// How many trials the sweep has.
        trials: usize,
    },
    /// A trial begins.
    TrialStarted {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// Its folder among the attempts.
        attempt: String,
    },
    /// A phase of it begins.
    Phase {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// The phase that begins.
        phase: Phase,
    },
    /// Something that a reader should know.
    Said {
        /// Of which trial; empty: of the sweep.
        trial: String,
        /// The message, for people.
        text: String,
    },
    /// A trial is over.
    TrialEnded {
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// Whether it is done, partial or failed, and why.
        state: TrialState,
        /// Whose failure it is, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// Why its delays cannot be taken for the network's; empty: they can.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unfit: Vec<String>,
        /// What was gone or damaged of births and captures; empty: nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        damage: Vec<String>,
        /// Length of its timeline in seconds.
        planned_s: f64,
        /// From its start until it was committed, in seconds.
        took_s: f64,
        /// Of these seconds, what the commit took.
        #[serde(default)]
        commit_s: f64,
        /// Size of its files, by the nominal bitrate.
        planned_bytes: u64,
        /// Size of its files in bytes, captures included.
        bytes: u64,
        /// It was predicted: what was planned are estimates of the prediction's.
        #[serde(default, skip_serializing_if = "is_false")]
        predicted: bool,
    },
    /// The sweep was handed to Slurm: the session is its jobs, and no process.
    SlurmStarted {
        /// The process that handed it over.
        #[serde(flatten)]
        process: Process,
        /// Trials that are still to be tried.
        left: usize,
        /// How many trials the sweep has.
        trials: usize,
    },
    /// A round of trials was handed to Slurm.
    Submitted {
        /// Number of the round, from 1.
        round: u32,
        /// The job arrays, a trial a task.
        jobs: Vec<String>,
        /// The job that makes the next round when those are over.
        next: String,
        /// How many trials are in the round.
        trials: usize,
        /// Nodes that are left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<String>,
    },
    /// A task of Slurm's begins. Such lines are in a log for each node.
    TaskStarted {
        /// Number of the round, from 1.
        round: u32,
        /// The trial's id, such as `direct-1`.
        trial: String,
        /// Slurm's name of it, `17_3`: array and task.
        task: String,
        /// How often Slurm has started it before.
        restart: u32,
    },
    /// A node cannot run trials, or failed one for its own sake.
    NodeFailed {
        /// Name of the node.
        node: String,
        /// The reason, in words.
        why: String,
    },
    /// The session ends.
    SessionEnded {
        /// The reason, in words.
        why: String,
    },
}

/// A session that runs: it writes its log, and looks whether it is asked to stop.
#[derive(Debug)]
pub struct Session {
    name: String,
    path: PathBuf,
    file: File,
    stop: PathBuf,
    attempts: u32,
}

/// A session as its log tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Name of the session, and of its log without the ending.
    pub name: String,
    /// Path of the log.
    pub log: PathBuf,
    /// Who it is; `None`: its log does not begin.
    pub process: Option<Process>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Process {
    /// The process that this is.
    #[must_use]
    pub fn this() -> Process {
        let pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        Process {
            host: this_host(),
            boot: this_boot(),
            pid,
            started: sandbox::process_start(pid).unwrap_or_default(),
        }
    }

    /// Whether it still is, as far as one can tell from here.
    #[must_use]
    pub fn life(&self) -> Life {
        if self.host != this_host() {
            Life::Elsewhere
        } else if self.boot != this_boot() {
            Life::Rebooted
        } else if sandbox::process_start(self.pid) == Some(self.started) {
            Life::Alive
        } else {
            Life::Gone
        }
    }
}

/// This machine's name, as logs and attempts have it.
#[must_use]
pub fn this_host() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // It becomes part of file names.
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '_' }).collect();
    if plain.is_empty() { "host".to_owned() } else { plain }
}

fn this_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Session {
    /// Begins a log of its own.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn begin(sweep: &SweepDir, owner: Owner, left: usize, trials: usize) -> Result<Session, StoreError> {
        let process = Process::this();
        let name = new_name(&process);
        let path = sweep.log().join(format!("{name}.jsonl"));
        let failed = |source| StoreError::writing(path.clone(), source);
        let file = File::options().append(true).create_new(true).open(&path).map_err(failed)?;
        owner.take(&path)?;
        let stop = stop_file(&path);
        let mut session = Session { name, path, file, stop, attempts: 0 };
        session.write(Did::SessionStarted { process, left, trials })?;
        Ok(session)
    }

    /// Its name: of two sessions the one that began first has the lesser one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder name for an attempt that nobody else has.
    pub fn attempt(&mut self) -> String {
        self.attempts += 1;
        format!("{}-{}", self.name, self.attempts)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn write(&mut self, what: Did) -> Result<(), StoreError> {
        let line = Line { what, time: Timestamp::now() };
        let mut text = serde_json::to_vec(&line)
            .map_err(|error| StoreError::Manifest { path: self.path.clone(), why: error.to_string() })?;
        text.push(b'\n');
        // In one piece, so that whoever reads meanwhile sees whole lines.
        self.file.write_all(&text).map_err(|source| StoreError::writing(self.path.clone(), source))
    }

    /// Where others ask it to stop.
    #[must_use]
    pub fn stop_file(&self) -> PathBuf {
        self.stop.clone()
    }
}

impl Known {
    /// Asks it to stop: after the trial that runs, or at once.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn ask_to_stop(&self, now: bool) -> Result<(), StoreError> {
        crate::store::write_atomic(&stop_file(&self.log), if now { b"now\n" } else { b"after this trial\n" })
    }

    /// Its log's lines.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lines(&self) -> Result<Vec<Line>, StoreError> {
        Ok(text_of(&self.log)?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Whether it still runs here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.life() == Life::Alive)
    }
}

/// A name for a session that this process begins, which no other session has.
#[must_use]
pub fn new_name(process: &Process) -> String {
    // Two sessions of one process id on machines of one name would still differ.
    let unique = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let unique = unique.get(..8).unwrap_or("00000000");
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("{now}-{}-{}-{unique}", process.host, process.pid)
}

fn stop_file(log: &Path) -> PathBuf {
    log.with_extension("stop")
}

/// What was asked of a session: `None`: nothing, `true`: to stop at once.
#[must_use]
pub fn asked(stop: &Path) -> Option<bool> {
    fs::read_to_string(stop).ok().map(|text| text.trim() == "now")
}

/// The text of a log as far as it is written; a line that is cut off is no line yet.
///
/// # Errors
/// [`StoreError::Io`].
pub fn text_of(log: &Path) -> Result<String, StoreError> {
    match crate::file::read(log) {
        Ok(bytes) => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|damaged| String::from_utf8_lossy(damaged.as_bytes()).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(StoreError::Io { doing: "read", path: log.to_owned(), source }),
    }
}

/// The sessions of a sweep, oldest first.
///
/// # Errors
/// [`StoreError::Io`].
pub fn sessions(sweep: &SweepDir) -> Result<Vec<Known>, StoreError> {
    let folder = sweep.log();
    let unreadable = |source| StoreError::Io { doing: "read", path: folder.clone(), source };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut known = Vec::new();
    for entry in entries {
        let log = entry.map_err(unreadable)?.path();
        if log.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        let name = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let process = first_line(&log).and_then(|line| match line.what {
            Did::SessionStarted { process, .. } => Some(process),
            _ => None,
        });
        known.push(Known { name, log, process });
    }
    // Names begin with the time.
    known.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(known)
}

fn first_line(log: &Path) -> Option<Line> {
    use std::io::{BufRead as _, BufReader, Read as _};
    let mut line = String::new();
    BufReader::new(crate::file::open(log).ok()?.take(1 << 16)).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sweep() -> (tempfile::TempDir, SweepDir) {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::of(folder.path(), "x").unwrap();
        sweep.create(Owner::Process).unwrap();
        (folder, sweep)
    }

    #[test]
    fn what_a_session_writes_others_read_and_a_cut_line_is_none() {
        let (_folder, sweep) = sweep();
        let mut session = Session::begin(&sweep, Owner::Process, 3, 8).unwrap();
        let said = Did::Said { trial: String::new(), text: "all is well".into() };
        session.write(said.clone()).unwrap();
        assert_ne!(session.attempt(), session.attempt());
        let known = sessions(&sweep).unwrap();
        assert_eq!(known.len(), 1);
        assert!(known[0].is_alive());
        let mut file = File::options().append(true).open(&known[0].log).unwrap();
        file.write_all(br#"{"event":"said","trial":"","te"#).unwrap();
        let lines = known[0].lines().unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].what, said);
        assert!(fs::read_to_string(&known[0].log).unwrap().lines().all(|line| line.starts_with(r#"{"event":""#)));
    }

    #[test]
    fn a_session_is_asked_to_stop_by_a_file_of_its_own() {
        let (_folder, sweep) = sweep();
        let session = Session::begin(&sweep, Owner::Process, 3, 8).unwrap();
        assert_eq!(asked(&session.stop_file()), None);
        let known = sessions(&sweep).unwrap().remove(0);
        known.ask_to_stop(false).unwrap();
        assert_eq!(asked(&session.stop_file()), Some(false));
        known.ask_to_stop(true).unwrap();
        assert_eq!(asked(&session.stop_file()), Some(true));
        assert_eq!(sessions(&sweep).unwrap().len(), 1, "what asks is no session");
    }

    #[test]
    fn a_process_of_another_boot_or_machine_is_not_taken_for_this_one() {
        let this = Process::this();
        assert_eq!(this.life(), Life::Alive);
        assert_eq!(Process { started: this.started + 1, ..this.clone() }.life(), Life::Gone);
        assert_eq!(Process { boot: "another".into(), ..this.clone() }.life(), Life::Rebooted);
        assert_eq!(Process { host: "elsewhere".into(), ..this }.life(), Life::Elsewhere);
    }
}
