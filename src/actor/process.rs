//! Supervision of a program that runs on a host.
//!
//! An [`Actor`] is a value: what to run, where its output goes, how one knows that it is up, how it is stopped.
//! [`Process::spawn`] is the one place that performs it. Every process leads a process group of its own, so that
//! stopping it reaches whatever it started, and is waited for by a task, so that its death is known at once.

mod actor;
mod readiness;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::{mpsc, watch};

pub use actor::{Actor, Command, Output, Place, Station, Stop};
pub use readiness::Readiness;

/// How a process ended, and whether it was to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// Whether [`Process::stop`] or [`Process::kill`] had been called.
    pub asked: bool,
    /// Whether it was killed without being asked to end first, as in a crash that a recipe plans.
    pub at_once: bool,
}

/// How a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// By itself.
    No,
    /// When it is asked to.
    Politely,
    /// Without being asked.
    AtOnce,
}

/// Why a process could not be started, or did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file or folder that it needs.
    #[error("{actor}: cannot make {}: {source}", path.display())]
    File {
        /// Host and name, as `host/name`.
        actor: String,
        /// Path of the file.
        path: PathBuf,
        /// The underlying I/O error.
        source: std::io::Error,
    },
    /// The program could not be executed.
    #[error("{actor}: cannot run `{command}`: {source}; is the program installed? See `livectl doctor`")]
    Spawn {
        /// Host and name, as `host/name`.
        actor: String,
        /// The command line.
        command: String,
        /// The underlying I/O error.
        source: std::io::Error,
    },
    /// It ended before it was up.
    #[error("{actor} ended before it was ready ({condition}): {exit}{log}")]
    Ended {
        /// Host and name, as `host/name`.
        actor: String,
        /// The condition that was waited for.
        condition: String,
        /// How it ended.
        exit: Exit,
        /// Its last log lines.
        log: LogTail,
    },
    /// It did not come up in time.
    #[error("{actor} was not ready within {} s ({condition}){log}", within.as_secs_f64())]
    NotReady {
        /// Host and name, as `host/name`.
        actor: String,
        /// The condition that was waited for.
        condition: String,
        /// How long was waited.
        within: Duration,
        /// Its last log lines.
        log: LogTail,
    },
}

/// The last lines of a log, for error messages: empty, or `; its last words:` and an indented line each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogTail(pub Vec<String>);

/// Lines that a [`LogTail`] has at most.
const TAIL_LINES: usize = 8;
/// Bytes of a log that a [`LogTail`] is taken from at most.
const TAIL_BYTES: u64 = 4096;
/// Lines of output that wait for their reader at most; a process that writes more is held up.
const LINES_WAITING: usize = 1024;
/// Between two looks at a log for alarms.
const ALARM_INTERVAL: Duration = Duration::from_millis(250);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.status, if self.asked { ", as asked" } else { "" })
    }
}

impl Exit {
    /// Whether it ended well: by itself with status 0, or because it was told to.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.asked || self.status.success()
    }

    /// Whether it did not end when it was asked to and had to be killed.
    #[must_use]
    pub fn was_deaf(&self) -> bool {
        self.asked && !self.at_once && self.status.signal() == Some(Signal::SIGKILL as i32)
    }
}

impl LogTail {
    /// The last lines of the file; empty when it cannot be read.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(path)?;
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        // Programs that draw a status line separate its states by carriage returns.
        let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
        Self(lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| (*line).to_owned()).collect())
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str("; its last words:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// A running program. Dropping it kills its group: the backstop for paths that did not [`stop`](Process::stop) it.
#[derive(Debug)]
pub struct Process {
    label: String,
    pid: u32,
    log: PathBuf,
    ready: Readiness,
    ready_within: Duration,
    alarms: Vec<String>,
    stop: Stop,
    lines: Option<mpsc::Receiver<String>>,
    seen: Arc<readiness::Seen>,
    asked: Arc<Mutex<Asked>>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// Starts an actor. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When its files cannot be made or the program cannot be executed. With [`Place::Host`] a program that does not
    /// exist shows as an exit of `mnexec` instead, which [`Process::ready`] reports.
    pub fn spawn(actor: &Actor, place: Place) -> Result<Self, ProcessError> {
        let label = actor.label();
        prepare(actor)?;
        let open = |path: &Path| {
            let made = OpenOptions::new().create(true).append(true).open(path);
            made.map_err(|source| ProcessError::File { actor: label.clone(), path: path.to_owned(), source })
        };
        let stdout = match &actor.output {
            Output::Log => open(&actor.log)?.into(),
            Output::File(path) => open(path)?.into(),
            Output::Lines => Stdio::piped(),
        };
        let command = actor.command.at(place);
        let spawned = tokio::process::Command::new(&command.program)
            .args(&command.args)
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(open(&actor.log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let failed = |source| ProcessError::Spawn { actor: label.clone(), command: command.to_string(), source };
        let mut child = spawned.map_err(failed)?;
        let pid = child.id().unwrap_or_default();
        let seen = Arc::new(readiness::Seen::default());
        let lines = child.stdout.take().map(|stdout| forward_lines(stdout, Arc::clone(&seen)));
        let asked = Arc::new(Mutex::new(Asked::No));
        let (told, exit) = watch::channel(None);
        tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                // An error here means that someone else has reaped it; there is nothing left to learn.
                if let Ok(status) = child.wait().await {
                    let asked = *asked.lock().unwrap_or_else(PoisonError::into_inner);
                    // What it started and left behind goes with it.
                    signal(pid, Signal::SIGKILL);
                    let (asked, at_once) = (asked != Asked::No, asked == Asked::AtOnce);
                    let _ = told.send(Some(Exit { status, asked, at_once }));
                }
            }
        });
        Ok(Self {
            label,
            pid,
            log: actor.log.clone(),
            ready: actor.ready.clone(),
            ready_within: actor.ready_within,
            alarms: actor.alarms.clone(),
            stop: actor.stop,
            lines,
            seen,
            asked,
            exit,
        })
    }

    /// Host and name, as `host/name`.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its process id, which is also that of its group. As `mnexec` executes in place, `/proc/PID/net` is the host's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The lines of its standard output, for [`Output::Lines`]; once.
    pub fn lines(&mut self) -> Option<mpsc::Receiver<String>> {
        self.lines.take()
    }

    /// Waits until it is up.
    ///
    /// # Errors
    /// When it ends before, or takes longer than its actor allows; with its last log lines.
    pub async fn ready(&self) -> Result<(), ProcessError> {
        let condition = || self.ready.to_string();
        tokio::select! {
            () = self.ready.met(self.pid, &self.log, &self.seen) => Ok(()),
            exit = self.wait() => Err(ProcessError::Ended {
                actor: self.label.clone(), condition: condition(), exit, log: LogTail::of(&self.log),
            }),
            () = tokio::time::sleep(self.ready_within) => Err(ProcessError::NotReady {
                actor: self.label.clone(), condition: condition(), within: self.ready_within, log: LogTail::of(&self.log),
            }),
        }
    }

    /// Waits until it has printed a JSON line with that `event`, for [`Output::Lines`].
    pub async fn told(&self, event: &str) {
        self.seen.event(event).await;
    }

    /// Waits until it ends. Any number of callers may wait, and stop waiting, at any time.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        // Without a sender nobody will ever know; then this waits for ever, and the caller's deadline counts.
        match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            _ => std::future::pending().await,
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Its last log lines.
    #[must_use]
    pub fn log_tail(&self) -> LogTail {
        LogTail::of(&self.log)
    }

    /// The first line in its log that means failure though it goes on, if there is one.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        readiness::line_with(&self.log, &self.alarms)
    }

    /// Waits for such a line; for ever if the actor has no alarms.
    pub async fn alarmed(&self) -> String {
        if self.alarms.is_empty() {
            return std::future::pending().await;
        }
        loop {
            if let Some(line) = self.alarm() {
                return line;
            }
            tokio::time::sleep(ALARM_INTERVAL).await;
        }
    }

    /// Stops it: SIGINT, and after a grace SIGTERM, and after another SIGKILL, to its whole group. Returns at once if
    /// it has ended.
    pub async fn stop(&self) -> Exit {
        self.ask(Asked::Politely);
        let steps = [(Signal::SIGINT, self.stop.interrupt), (Signal::SIGTERM, self.stop.terminate)];
        for (what, grace) in steps {
            if let Some(exit) = self.exit() {
                return exit;
            }
            signal(self.pid, what);
            if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
                return exit;
            }
        }
        signal(self.pid, Signal::SIGKILL);
        self.wait().await
    }

    /// Kills its whole group, without waiting for its end.
    pub fn kill(&self) {
        if self.exit().is_none() {
            self.ask(Asked::AtOnce);
            signal(self.pid, Signal::SIGKILL);
        }
    }

    /// Notes how it is to end, unless that was said before or it has ended.
    fn ask(&self, how: Asked) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if *asked == Asked::No && self.exit().is_none() {
            *asked = how;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit().is_none() {
            signal(self.pid, Signal::SIGKILL);
        }
    }
}

fn prepare(actor: &Actor) -> Result<(), ProcessError> {
    let failed = |path: &Path| {
        let (actor, path) = (actor.label(), path.to_owned());
        |source| ProcessError::File { actor, path, source }
    };
    let output = if let Output::File(path) = &actor.output { path.parent() } else { None };
    let folders = actor.folders.iter().map(PathBuf::as_path).chain(actor.log.parent()).chain(output);
    for folder in folders {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    for (path, text) in &actor.files {
        let write = || File::create(path)?.write_all(text.as_bytes());
        write().map_err(failed(path))?;
    }
    Ok(())
}

/// Sends a signal to the group that the process leads. That it is gone already is fine.
fn signal(pid: u32, what: Signal) {
    // Group 0 and 1 would be our own and everyone's.
    if let Some(group) = i32::try_from(pid).ok().filter(|pid| *pid > 1) {
        let _ = killpg(Pid::from_raw(group), what);
    }
}

fn forward_lines(stdout: tokio::process::ChildStdout, seen: Arc<readiness::Seen>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_WAITING);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stdout).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            // A line that is no UTF-8 is one line that cannot be understood; those after it still count.
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
            seen.note(&line);
            // Without a reader the pipe is still drained, or the process would be held up.
            let _ = sender.send(line).await;
        }
    });
    receiver
}

#[cfg(test)]
mod tests;
