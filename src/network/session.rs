//! Mininet's command line, driven through a pseudo-terminal.
//!
//! Mininet boots the network, answers a few commands and ends it. Its CLI has no time-outs and no exit status, and it
//! goes on after errors; so every wait here has a deadline, everything it says is kept in a transcript, and what it
//! says is searched for errors. Programs on hosts do not run through it: they are started with `mnexec -a PID`.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use expectrl::session::OsSession;
use expectrl::{AsyncExpect, Eof, Regex, Session};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout_at};

use super::NetworkError;
use super::topology::TOPOLOGY_NAME;

/// Debian's Mininet is a script that imports modules of Debian's Python; another `python3` earlier on PATH would not
/// find them.
const PYTHON: &str = "/usr/bin/python3";
const MN: &str = "/usr/bin/mn";
/// A line, or the prompt.
const LINE_OR_PROMPT: &str = r"[^\n]*\n|mininet> ";
const PROMPT: &str = "mininet> ";
/// Lines kept for error messages.
const LAST_LINES: usize = 15;
/// Between two looks at a process that is ending.
const REAP_INTERVAL: Duration = Duration::from_millis(10);
/// Between two looks at whether it has said anything.
const LINE_INTERVAL: Duration = Duration::from_millis(3);
/// Between two looks at whether Mininet has ended by itself, which it is not expected to.
const ENDED_INTERVAL: Duration = Duration::from_millis(50);
/// For what it said at its end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Words by which Mininet and the programs it runs speak of errors.
const ALARMS: &[&str] = &[
    "*** Error",
    "Error:",
    "error:",
    "Traceback",
    "Exception",
    "Specified qdisc kind is unknown",
    "RTNETLINK answers",
    "SIOC",
    "annot ",
    "Unable to contact",
    "Unknown command",
    "No such ",
    "not found",
    "Caught exception",
];
/// Lines that hold such a word and are harmless: some sysctls cannot be raised from inside a container.
const HARMLESS: &[&str] = &["Error setting resource limits"];

/// How to boot.
#[derive(Debug, Clone)]
pub struct BootSpec {
    /// The topology file.
    pub topology: PathBuf,
    /// Where the OpenFlow controller listens; `None`: switches get none.
    pub controller: Option<SocketAddrV4>,
    /// Environment for Mininet and, through it, for `ovs-vsctl`: OVS_RUNDIR and the like, HOME for its history file.
    pub env: Vec<(OsString, OsString)>,
    /// Where everything that Mininet says goes.
    pub transcript: PathBuf,
    /// How long booting may take.
    pub deadline: Duration,
}

/// A running Mininet.
pub struct Mininet {
    session: OsSession,
    pid: Pid,
    transcript: File,
    transcript_path: PathBuf,
    last: VecDeque<String>,
    progress: Box<dyn FnMut(&str) + Send>,
    /// False while a command runs whose deadline has passed.
    at_prompt: bool,
    reaped: bool,
}

impl std::fmt::Debug for Mininet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mininet").field("pid", &self.pid).field("transcript", &self.transcript_path).finish()
    }
}

/// The command that boots a topology file.
#[must_use]
pub fn boot_command(topology: &Path, controller: Option<SocketAddrV4>) -> Command {
    let mut command = Command::new(PYTHON);
    command.arg(MN).arg("--custom").arg(topology).args(["--topo", TOPOLOGY_NAME, "--nolistenport", "--controller"]);
    match controller {
        Some(at) => command.arg(format!("remote,ip={},port={}", at.ip(), at.port())),
        None => command.arg("none"),
    };
    command
}

impl Mininet {
    /// Starts Mininet and waits for its prompt. `progress` gets each line that it says, then and later.
    ///
    /// # Errors
    /// When it cannot be started, reports an error, ends, or is not ready before the deadline. It has ended then.
    pub async fn boot(spec: BootSpec, progress: impl FnMut(&str) + Send + 'static) -> Result<Mininet, NetworkError> {
        let transcript = File::create(&spec.transcript)
            .map_err(|source| NetworkError::Transcript { path: spec.transcript.clone(), source })?;
        let mut command = boot_command(&spec.topology, spec.controller);
        // A dumb terminal keeps readline from sending control sequences.
        command.env("TERM", "dumb").envs(spec.env.iter().map(|(k, v)| (k, v)));
        let start = |source: io::Error| NetworkError::Start { program: MN.to_owned(), source };
        let mut session = Session::spawn(command).map_err(|error| start(io::Error::other(error)))?;
        session.set_expect_timeout(None);
        // Readline scrolls lines that are wider than the terminal sideways, which garbles the echo.
        session.get_process_mut().set_window_size(4096, 50).map_err(|errno| start(errno_error(errno)))?;
        let pid = Pid::from_raw(session.get_process().pid().as_raw());
        let mut mininet = Mininet {
            session,
            pid,
            transcript,
            transcript_path: spec.transcript,
            last: VecDeque::new(),
            progress: Box::new(progress),
            at_prompt: false,
            reaped: false,
        };
        let booted = mininet.until_prompt("boot", spec.deadline).await.map(drop);
        match booted {
            Ok(()) => Ok(mininet),
            Err(error) => {
                mininet.kill(Duration::from_secs(2)).await;
                Err(error)
            }
        }
    }

    /// Mininet's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Runs a command of Mininet's CLI and returns what it said, line breaks as `\n`.
    ///
    /// # Errors
    /// When Mininet reports an error, ends, or does not come back to its prompt before the deadline.
    pub async fn command(&mut self, line: &str, deadline: Duration) -> Result<String, NetworkError> {
        if line.contains(['#', '\n', '\r']) || line.chars().any(char::is_control) {
            return Err(NetworkError::Command(line.to_owned()));
        }
        let until = Instant::now() + deadline;
        if !self.at_prompt {
            match self.until_prompt("finish the command before", deadline).await {
                // What that command had to complain of has nothing to do with this one.
                Ok(_) | Err(NetworkError::Reported { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.session.send_line(line).await.map_err(|e| NetworkError::Session(e.to_string()))?;
        let left = until.saturating_duration_since(Instant::now());
        let said = self.until_prompt(&format!("run `{line}`"), left).await?;
        // The terminal echoes what was typed.
        let echo_ends = said.find('\n').map_or(0, |at| at + 1);
        Ok(if said[..echo_ends].trim_end() == line { said[echo_ends..].to_owned() } else { said })
    }

    /// The process ids of all hosts and switches, by name, for `mnexec -a`.
    ///
    /// # Errors
    /// As [`Mininet::command`].
    pub async fn pids(&mut self, deadline: Duration) -> Result<BTreeMap<String, i32>, NetworkError> {
        Ok(parse_dump(&self.command("dump", deadline).await?))
    }

    /// Takes the links between two nodes up or down.
    ///
    /// # Errors
    /// As [`Mininet::command`], and when Mininet says anything at all: it does so when there is no such link.
    pub async fn link_up_down(&mut self, a: &str, b: &str, up: bool, deadline: Duration) -> Result<(), NetworkError> {
        let line = format!("link {a} {b} {}", if up { "up" } else { "down" });
        let said = self.command(&line, deadline).await?;
        if said.trim().is_empty() {
            return Ok(());
        }
        Err(NetworkError::Reported {
            doing: format!("run `{line}`"),
            lines: said.lines().map(str::to_owned).collect(),
            transcript: self.transcript_path.clone(),
        })
    }

    /// Waits until Mininet has ended by itself, for `select!` beside other work. Nothing is lost when it is
    /// cancelled.
    pub async fn ended(&mut self) -> NetworkError {
        // Not for the end of its terminal: to await that takes a whole processor, for expectrl's stream is read again
        // and again as long as there is nothing to read. Between commands Mininet says nothing that could fill its
        // terminal.
        while !self.reap(Duration::ZERO).await {
            sleep(ENDED_INTERVAL).await;
        }
        if let Ok(Ok(found)) = tokio::time::timeout(LAST_WORDS, self.session.expect(Eof)).await {
            self.note(&String::from_utf8_lossy(found.as_bytes()));
        }
        self.end_error("continue")
    }

    /// Leaves the CLI, so that Mininet takes its network down, and waits for its end; kills it when the deadline has
    /// passed.
    ///
    /// # Errors
    /// When it had to be killed or reported errors while stopping. It has ended in any case.
    pub async fn exit(mut self, deadline: Duration) -> Result<(), NetworkError> {
        let until = Instant::now() + deadline;
        let sent = self.session.send_line("exit").await;
        let mut said = String::new();
        let stopped = timeout_at(until, async {
            while let Ok(lines) = self.next_lines().await {
                said += &lines;
            }
            // The terminal is closed; its owner ends any moment.
            self.reap(until.saturating_duration_since(Instant::now())).await
        })
        .await
        .unwrap_or(false);
        if !stopped {
            self.kill(Duration::from_secs(2)).await;
            return Err(NetworkError::Deadline {
                doing: "exit".to_owned(),
                within: deadline,
                last: self.last_lines(),
                transcript: self.transcript_path.clone(),
            });
        }
        if sent.is_err() {
            return Err(self.end_error("exit"));
        }
        self.without_alarms("exit", &said)
    }

    /// Ends Mininet at once: TERM, then KILL after the grace. What it built stays.
    pub async fn kill(&mut self, grace: Duration) {
        for (signal, patience) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, Duration::from_secs(5))] {
            if self.reaped || kill(self.pid, signal) == Err(Errno::ESRCH) || self.reap(patience).await {
                return;
            }
        }
    }

    async fn until_prompt(&mut self, doing: &str, within: Duration) -> Result<String, NetworkError> {
        let until = Instant::now() + within;
        let mut said = String::new();
        self.at_prompt = false;
        loop {
            match timeout_at(until, self.next_lines()).await {
                Ok(Ok(lines)) => match lines.strip_suffix(PROMPT) {
                    Some(rest) => {
                        said += rest;
                        self.at_prompt = true;
                        break;
                    }
                    None => said += &lines,
                },
                Ok(Err(_)) => {
                    self.reap(Duration::from_secs(1)).await;
                    return Err(self.end_error(doing));
                }
                Err(_) => {
                    return Err(NetworkError::Deadline {
                        doing: doing.to_owned(),
                        within,
                        last: self.last_lines(),
                        transcript: self.transcript_path.clone(),
                    });
                }
            }
        }
        self.without_alarms(doing, &said)?;
        Ok(said)
    }

    /// The next lines with their line breaks, or what ends in the prompt. Fails at the end of the terminal.
    async fn next_lines(&mut self) -> Result<String, NetworkError> {
        // Looked for, and not awaited: see `ended`.
        let found = loop {
            let found = self.session.check(Regex(LINE_OR_PROMPT)).await;
            let found = found.map_err(|error| NetworkError::Session(error.to_string()))?;
            if !found.is_empty() {
                break found;
            }
            sleep(LINE_INTERVAL).await;
        };
        let lines = String::from_utf8_lossy(found.as_bytes()).replace("\r\n", "\n").replace('\r', "");
        self.note(&lines);
        Ok(lines)
    }

    fn note(&mut self, lines: &str) {
        // Its own loss must not end a trial; the disk's fullness shows at everything else that is written.
        let _ = self.transcript.write_all(lines.as_bytes());
        for shown in lines.lines().map(str::trim_end).filter(|line| !line.is_empty() && *line != PROMPT.trim_end()) {
            if self.last.len() == LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(shown.to_owned());
            (self.progress)(shown);
        }
    }

    fn last_lines(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn end_error(&self, doing: &str) -> NetworkError {
        NetworkError::Ended {
            doing: doing.to_owned(),
            last: self.last_lines(),
            transcript: self.transcript_path.clone(),
        }
    }

    fn without_alarms(&self, doing: &str, said: &str) -> Result<(), NetworkError> {
        let lines = alarms(said);
        if lines.is_empty() {
            return Ok(());
        }
        Err(NetworkError::Reported { doing: doing.to_owned(), lines, transcript: self.transcript_path.clone() })
    }

    /// Waits for the process to end and takes its exit status. `false`: it still runs.
    async fn reap(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !self.reaped {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {
                    if Instant::now() >= until {
                        return false;
                    }
                    // A process gives no descriptor to wait on here; this is a look at a condition, not a guess.
                    sleep(REAP_INTERVAL).await;
                }
                // ECHILD: someone else has reaped it.
                Ok(_) | Err(_) => self.reaped = true,
            }
        }
        true
    }
}

fn errno_error(errno: impl std::fmt::Display) -> io::Error {
    io::Error::other(errno.to_string())
}

/// The lines that speak of errors.
#[must_use]
pub fn alarms(said: &str) -> Vec<String> {
    said.lines()
        .filter(|line| {
            ALARMS.iter().any(|word| line.contains(word)) && !HARMLESS.iter().any(|word| line.contains(word))
        })
        .map(|line| line.trim().to_owned())
        .collect()
}

/// Names and process ids in the output of Mininet's `dump`: `<Peer hb: hb-eth0:10.0.0.1 pid=4242>`. Between the kind
/// of a node and its name there may be parameters:
/// `<RemoteController{'ip': '127.0.0.1', 'port': 6653} c0: 127.0.0.1:6653 pid=4235>`.
#[must_use]
pub fn parse_dump(said: &str) -> BTreeMap<String, i32> {
    said.lines()
        .filter_map(|line| {
            let inside = line.trim().strip_prefix('<')?.strip_suffix('>')?;
            let (_, after_kind) = inside.split_once("} ").or_else(|| inside.split_once(' '))?;
            let name = after_kind.split_once(':')?.0;
            let pid = inside.rsplit_once("pid=")?.1.trim().parse().ok()?;
            Some((name.to_owned(), pid))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_boot_command_names_the_controller() {
        let command = boot_command(Path::new("/x y/topology.py"), Some("127.0.0.1:6653".parse().unwrap()));
        let arguments: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(command.get_program(), "/usr/bin/python3");
        assert_eq!(
            arguments,
            [
                "/usr/bin/mn",
                "--custom",
                "/x y/topology.py",
                "--topo",
                "livectl",
                "--nolistenport",
                "--controller",
                "remote,ip=127.0.0.1,port=6653",
            ]
        );
    }

    #[test]
    fn dump_gives_names_and_process_ids() {
        let said = "<Peer hb: hb-eth0:10.0.0.1 pid=4242> \n<Peer hs: hs-eth0:10.0.1.1,hs-eth1:10.0.2.1 pid=4244> \n\
                    <OVSSwitch s1: lo:127.0.0.1,s1-eth1:None,s1-eth2:None pid=4250> \n\
                    <RemoteController{'ip': '127.0.0.1', 'port': 6653} c0: 127.0.0.1:6653 pid=4235> \nnoise\n";
        let pids: Vec<_> = parse_dump(said).into_iter().collect();
        assert_eq!(
            pids,
            [("c0".into(), 4235), ("hb".into(), 4242), ("hs".into(), 4244), ("s1".into(), 4250)]
                as [(String, i32); 4]
        );
    }

    #[test]
    fn what_mininet_says_of_errors_is_found() {
        // Mininet 2.3.0 on a kernel without netem, without a controller, and with a name it does not know.
        let said = "*** Adding links:\n(4.00Mbit 100ms delay) *** Error: Error: Specified qdisc kind is unknown.\n\
                    (hb, s1) \nUnable to contact the remote controller at 127.0.0.1:6653\n\
                    *** Unknown command: nonsense\n";
        assert_eq!(
            alarms(said),
            [
                "(4.00Mbit 100ms delay) *** Error: Error: Specified qdisc kind is unknown.",
                "Unable to contact the remote controller at 127.0.0.1:6653",
                "*** Unknown command: nonsense",
            ]
        );
    }

    #[test]
    fn what_is_normal_raises_no_alarm() {
        let said = "*** Error setting resource limits. Mininet's performance may be affected.\n\
                    *** Creating network\n*** Adding controller\n*** Adding hosts:\nhb hs hv1 \n*** Adding switches:\ns1 \n\
                    *** Adding links:\n(hb, s1) (hs, s1) (hv1, s1) \n*** Configuring hosts\nhb hs hv1 \n\
                    *** Starting controller\nc0 \n*** Starting 1 switches\ns1 ...\n*** Starting CLI:\nmininet> ";
        assert!(alarms(said).is_empty(), "{:?}", alarms(said));
    }
}
