//! The trial's own Open vSwitch: a database server and a switch daemon that the host's never meet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::environment::{Environment, OVS_RUNDIR};

/// The database schema that Debian's openvswitch-common installs.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long Open vSwitch may take to be ready. It takes about 50 ms on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a daemon may take to end after being asked, and again after TERM.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);
/// How much of a log an error quotes.
const LOG_LINES: usize = 8;

/// Open vSwitch could not be started or ended early.
#[derive(Debug, thiserror::Error)]
pub enum OvsError {
    /// A program could not be run at all.
    #[error("cannot start {program}: {source}; install it with: sudo apt-get install -y openvswitch-switch")]
    Start {
        /// Name of the program.
        program: &'static str,
        /// The underlying I/O error.
        source: io::Error,
    },
    /// A one-shot command failed.
    #[error("{command} failed ({status}): {said}")]
    Command {
        /// The command line.
        command: String,
        /// Exit code or signal that it ended with.
        status: String,
        /// Its error output, or the end of the daemon's log.
        said: String,
    },
    /// A daemon ended although nobody asked it to.
    #[error("{program} ended early ({status}); the last lines of {}:\n{tail}", log.display())]
    Died {
        /// Name of the daemon.
        program: &'static str,
        /// Exit code or signal that it ended with.
        status: ExitStatus,
        /// Path of the program's log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// A daemon was not ready in time.
    #[error("{program} was not ready after {within:?}; the last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// Name of the daemon.
        program: &'static str,
        /// The deadline.
        within: Duration,
        /// Path of the program's log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// A folder or log file could not be made.
    #[error("cannot make {}: {source}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// The underlying I/O error.
        source: io::Error,
    },
}

/// One of the two programs.
#[derive(Debug)]
struct Daemon {
    program: &'static str,
    child: Child,
    log: PathBuf,
    control: PathBuf,
}

/// A running Open vSwitch. Its programs are killed when it is dropped; [`stop`](Ovs::stop) ends them politely.
#[derive(Debug)]
pub struct Ovs {
    environment: Environment,
    database: Daemon,
    switch: Daemon,
}

impl Ovs {
    /// Starts `ovsdb-server` on a new database in `dir` and `ovs-vswitchd`, with logs in `logs`, and waits until the
    /// switch daemon has applied a first configuration. To be called inside a sandbox.
    ///
    /// # Errors
    /// A program is missing, ends early, or is not ready within 20 s.
    pub async fn start(dir: &Path, logs: &Path, environment: &Environment) -> Result<Ovs, OvsError> {
        let environment = environment.clone().with_ovs(dir, logs);
        for path in [dir, logs, Path::new(OVS_RUNDIR)] {
            fs::create_dir_all(path).map_err(|source| OvsError::Folder { path: path.to_owned(), source })?;
        }
        let deadline = Instant::now() + READY_WITHIN;
        let conf = dir.join("conf.db");
        let mut create = Command::new("ovsdb-tool");
        create.arg("create").arg(&conf).arg(SCHEMA);
        one_shot("ovsdb-tool", create, &environment, deadline).await?;

        let socket = format!("{OVS_RUNDIR}/db.sock");
        let mut database = Daemon::start("ovsdb-server", logs, &environment, |command| {
            command.arg(format!("--remote=punix:{socket}")).arg(&conf);
        })?;
        database.until_there(Path::new(&socket), deadline).await?;
        let mut init = Command::new("ovs-vsctl");
        init.args(["--no-wait", &remaining(deadline), "init"]);
        database.instead_of(one_shot("ovs-vsctl", init, &environment, deadline), deadline).await?;

        let mut switch = Daemon::start("ovs-vswitchd", logs, &environment, |command| {
            command.arg(format!("unix:{socket}"));
        })?;
        // Without --no-wait, ovs-vsctl returns when ovs-vswitchd has applied what it wrote.
        let mut apply = Command::new("ovs-vsctl");
        apply.args([&remaining(deadline), "set", "Open_vSwitch", ".", "external-ids:system-id=livectl"]);
        switch.instead_of(one_shot("ovs-vsctl", apply, &environment, deadline), deadline).await?;
        Ok(Ovs { environment, database, switch })
    }

    /// The environment in which `ovs-vsctl`, `ovs-ofctl` and `mn` talk to this Open vSwitch.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Waits until one of the programs ends, which neither does by itself. For `select!` beside what needs them.
    pub async fn died(&mut self) -> OvsError {
        tokio::select! {
            error = self.database.died() => error,
            error = self.switch.died() => error,
        }
    }

    /// Ends both programs: asked over their control sockets, by TERM, by KILL.
    pub async fn stop(mut self) {
        // The switch first: `--cleanup` has it take its datapath away.
        self.switch.stop(&["exit", "--cleanup"], &self.environment).await;
        self.database.stop(&["exit"], &self.environment).await;
    }
}

impl Daemon {
    fn start(
        program: &'static str,
        logs: &Path,
        environment: &Environment,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<Daemon, OvsError> {
        let log = logs.join(format!("{program}.log"));
        let control = Path::new(OVS_RUNDIR).join(format!("{program}.ctl"));
        let mut command = Command::new(program);
        command
            .args(["--no-chdir", "--verbose=console:off", "--verbose=syslog:off"])
            .arg(format!("--pidfile={OVS_RUNDIR}/{program}.pid"))
            .arg(format!("--unixctl={}", control.display()))
            .arg(format!("--log-file={}", log.display()));
        arguments(&mut command);
        environment.apply(command.as_std_mut());
        // What a daemon says before it opens its log, such as a refused option, belongs there too.
        let early = fs::OpenOptions::new().create(true).append(true).open(&log);
        let early = early.map_err(|source| OvsError::Folder { path: log.clone(), source })?;
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(early).kill_on_drop(true);
        let child = command.spawn().map_err(|source| OvsError::Start { program, source })?;
        Ok(Daemon { program, child, log, control })
    }

    /// Waits for a file the daemon makes.
    async fn until_there(&mut self, path: &Path, deadline: Instant) -> Result<(), OvsError> {
        let there = async {
            while !path.exists() {
                sleep(POLL).await;
            }
            Ok(())
        };
        self.instead_of(there, deadline).await
    }

    /// Waits for `condition` unless the daemon ends first or the deadline passes.
    async fn instead_of(
        &mut self,
        condition: impl Future<Output = Result<(), OvsError>>,
        deadline: Instant,
    ) -> Result<(), OvsError> {
        let outcome = tokio::select! {
            outcome = timeout_at(deadline, condition) => outcome,
            error = self.died() => return Err(error),
        };
        outcome.unwrap_or_else(|_| {
            let (log, tail) = (self.log.clone(), last_lines(&self.log));
            Err(OvsError::NotReady { program: self.program, within: READY_WITHIN, log, tail })
        })
    }

    async fn died(&mut self) -> OvsError {
        match self.child.wait().await {
            Ok(status) => {
                OvsError::Died { program: self.program, status, log: self.log.clone(), tail: last_lines(&self.log) }
            }
            Err(source) => OvsError::Start { program: self.program, source },
        }
    }

    async fn stop(&mut self, request: &[&str], environment: &Environment) {
        let mut ask = Command::new("ovs-appctl");
        ask.arg("--timeout=2").arg("--target").arg(&self.control).args(request);
        // When asking fails, the signal below does it.
        let _ = one_shot("ovs-appctl", ask, environment, Instant::now() + GRACE).await;
        if timeout(GRACE, self.child.wait()).await.is_ok() {
            return;
        }
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // A process that has ended meanwhile is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if timeout(GRACE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Runs a command to its end.
async fn one_shot(
    program: &'static str,
    mut command: Command,
    environment: &Environment,
    deadline: Instant,
) -> Result<(), OvsError> {
    let line = format!("{:?}", command.as_std()).replace('"', "");
    environment.apply(command.as_std_mut());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let failed = |status: String, said: String| OvsError::Command { command: line.clone(), status, said };
    match timeout_at(deadline, command.output()).await {
        Err(_) => Err(failed("no end in sight".into(), "it was killed at the deadline".into())),
        Ok(Err(source)) => Err(OvsError::Start { program, source }),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            Err(failed(output.status.to_string(), String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        }
    }
}

/// What is left until `deadline` as a `--timeout` option in whole seconds, at least one.
fn remaining(deadline: Instant) -> String {
    format!("--timeout={}", deadline.saturating_duration_since(Instant::now()).as_secs().max(1))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
