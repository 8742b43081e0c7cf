//! Tools on a running trial for real: tcpdump, and Wireshark and xterm on a display of Xvfb. Needs root and the
//! packages of `install/packages.txt`. Those of its group `tools` are optional: where they are not installed,
//! the tests of windows say that they were skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use livectl::store::{Manifest, RunDir, TrialState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "sweep/tiny.rs"]
mod tiny;

/// For whatever is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// The user `nobody` of Debian.
const NOBODY: u32 = 65_534;

/// Trials measure time, and this machine may have two cores: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// livectl, without what a display or sudo may have left in the environment, and with no signal ignored.
fn livectl(args: &[&str]) -> Command {
    assert!(nix::unistd::geteuid().is_root(), "these tests boot networks: run them as root");
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_livectl")]).args(args).stdin(Stdio::null());
    for variable in ["DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "SUDO_UID", "SUDO_GID", "SUDO_USER"] {
        command.env_remove(variable);
    }
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// A run of one trial that streams.
struct Run {
    results: tempfile::TempDir,
    child: Option<Child>,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Run {
    /// Waits until pictures are on their way, of which there are `seconds` in all.
    fn streaming(seconds: u32) -> Run {
        let results = tempfile::tempdir().unwrap();
        let recipe = tiny::recipe(results.path(), "", "");
        let longer = fs::read_to_string(&recipe).unwrap();
        let longer = longer.replace("frames: 60", &format!("frames: {}", 30 * seconds));
        let longer = longer.replace("end: 4 s", &format!("end: {} s", seconds + 3));
        fs::write(&recipe, longer).unwrap();
        let mut command = livectl(&["run", "--results"]);
        command.arg(results.path()).arg(&recipe).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut before = Vec::new();
        while !before.last().is_some_and(|line: &String| line.contains("hv1: first picture")) {
            before.push(lines.next().unwrap_or_else(|| panic!("livectl ended early:\n{}", before.join("\n"))));
        }
        Run { results, child: Some(child), lines: Box::new(lines) }
    }

    /// The trial's name for `--trial`: there may be other people's trials on this machine.
    fn trial(&self) -> String {
        self.folder().join("direct-1").to_str().unwrap().to_owned()
    }

    fn folder(&self) -> PathBuf {
        fs::read_dir(self.results.path().join("tiny")).unwrap().next().unwrap().unwrap().path()
    }

    fn on(&self, tool: &str, args: &[&str]) -> Command {
        livectl(&[&[tool, "--trial", &self.trial()], args].concat())
    }

    /// The rest of what it says, its exit code and how its trial stands.
    fn end(&mut self) -> (Vec<String>, Option<i32>, TrialState) {
        let lines = self.lines.by_ref().collect();
        let code = self.child.take().unwrap().wait().unwrap().code();
        let manifest = Manifest::load(&RunDir::open(&self.folder()).unwrap()).unwrap();
        (lines, code, manifest.trials[0].state.clone())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads what a program says on its standard error until a line holds `word`.
fn heard(child: &mut Child, word: &str) -> BufReader<std::process::ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut all) = (String::new(), String::new());
    while !line.contains(word) {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended before it said {word:?}: {all}");
        all += &line;
    }
    stderr
}

/// The process of the program that is the first of these words, with all of them in its command line, as it is seen
/// from here.
fn process(words: &[&str]) -> Option<i32> {
    processes(words).next()
}

fn processes(words: &[&str]) -> impl Iterator<Item = i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let has = move |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        line.first() == words.first().map(|word| word.as_bytes()).as_ref()
            && words.iter().all(|word| line.contains(&word.as_bytes()))
    };
    pids.filter(has)
}

#[test]
fn tcpdump_on_a_terminal_into_a_pipe_and_to_the_end_of_the_trial() {
    let _alone = alone();
    let mut run = Run::streaming(20);
    // As on a terminal.
    let three = run.on("tcpdump", &["hv1", "--", "-c", "3", "tcp"]).output().unwrap();
    assert_eq!(three.status.code(), Some(0), "{}", text(&three));
    let lines = String::from_utf8_lossy(&three.stdout).lines().filter(|line| line.contains("10.0.0.")).count();
    assert_eq!(lines, 3, "{}", text(&three));
    // Nothing but packets in a pipe; the file's header has the magic number of pcap and, in its last word, Ethernet.
    let mut piped = run
        .on("tcpdump", &["hs-eth0", "--", "-w", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bytes = [0; 24 + 16];
    piped.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 1));
    let since = Duration::from_secs(u64::from(word(24)));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.abs_diff(since) < PATIENCE, "the first packet was captured now");
    // Whoever read it goes, and that is no error. There are packets all the time.
    drop(piped.stdout.take());
    assert_eq!(piped.wait_with_output().unwrap().status.code(), Some(0));
    // A switch's end of a link, and what switches and controller say to each other.
    for spot in ["s1-eth1", "controller"] {
        let one = run.on("tcpdump", &[spot, "--", "-c", "1"]).output().unwrap();
        assert_eq!(one.status.code(), Some(0), "{spot}: {}", text(&one));
    }
    // Ctrl-C.
    let mut interrupted = run.on("tcpdump", &["hv1"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = heard(&mut interrupted, "listening on hv1-eth0");
    signal(&interrupted, Signal::SIGINT);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(interrupted.wait().unwrap().code(), Some(0));
    assert!(said.contains("packets captured") && !said.contains("livectl"), "{said}");
    // What is wrong is said, and by whom it concerns.
    let wrong = run.on("tcpdump", &["hv1", "--", "no", "such", "filter"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong));
    assert!(text(&wrong).contains("tcpdump: ") && !text(&wrong).contains("livectl"), "{}", text(&wrong));
    let nobody = run.on("tcpdump", &["hv7"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody).contains("hb, hs, hv1") && text(&nobody).contains("s1-eth1"), "{}", text(&nobody));
    // One that is stopped and one that is killed: the trial goes on. One that looks on ends with it.
    let quiet = || (Stdio::null(), Stdio::piped());
    let start = |args: &[&str]| {
        let (stdout, stderr) = quiet();
        let mut child = run.on("tcpdump", args).stdout(stdout).stderr(stderr).spawn().unwrap();
        let stderr = heard(&mut child, "listening on");
        (child, stderr)
    };
    let (mut stopped, _stopped_says) = start(&["hv1", "--", "-s", "97"]);
    let (mut killed, _killed_says) = start(&["hv1", "--", "-s", "98"]);
    let (mut looking, mut said) = start(&["controller", "--", "-s", "99"]);
    let pid = |snap: &str| Pid::from_raw(process(&["tcpdump", "-s", snap]).expect("tcpdump runs"));
    kill(pid("97"), Signal::SIGSTOP).unwrap();
    kill(pid("98"), Signal::SIGKILL).unwrap();
    assert_eq!(killed.wait().unwrap().code(), Some(1));
    let (lines, code, state) = run.end();
    assert!(matches!(code, Some(0 | 6)), "{}", lines.join("\n"));
    assert_eq!(state, TrialState::Done, "{}", lines.join("\n"));
    let mut end = String::new();
    said.read_to_string(&mut end).unwrap();
    assert_eq!(looking.wait().unwrap().code(), Some(0), "{end}");
    assert!(end.contains("livectl: the trial has ended"), "{end}");
    assert_eq!(stopped.wait().unwrap().code(), Some(0));
}

#[test]
fn how_a_viewer_stands_is_said_while_it_streams_and_stored_nowhere() {
    let _alone = alone();
    let mut run = Run::streaming(12);
    let (lines, code, _) = run.end();
    assert!(matches!(code, Some(0 | 6)), "{}", lines.join("\n"));
    let said: Vec<&String> = lines.iter().filter(|line| line.contains(" now, by its agent: ")).collect();
    assert!((1..=3).contains(&said.len()), "{}", lines.join("\n"));
    let ms = said[0]
        .split_once("hv1 now, by its agent: from the CDN, ")
        .and_then(|(_, rest)| rest.strip_suffix(" ms after birth"));
    let ms: u64 = ms.unwrap_or_else(|| panic!("{}", said[0])).parse().unwrap();
    // Two links of 5 ms, each passed twice at least.
    assert!((10..60_000).contains(&ms), "{ms}");
    let events = fs::read_to_string(run.folder().join("direct-1/events.jsonl")).unwrap();
    assert!(events.contains("first_keyframe") && !events.contains("\"now\""));
}

/// What tests of windows need.
fn has_windows() -> bool {
    let lacks: Vec<&str> = ["Xvfb", "xauth", "xwininfo", "xterm", "wireshark"]
        .into_iter()
        .filter(|program| !Path::new("/usr/bin").join(program).exists())
        .collect();
    if !lacks.is_empty() {
        // Past the harness, which keeps what a test prints to itself.
        let lacks = lacks.join(", ");
        let line = format!("SKIPPED: no {lacks}; `sudo install/packages.sh install tools` has them\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    lacks.is_empty()
}

/// A display that lets nobody in without its key, which `nobody` has.
struct Display {
    server: Child,
    name: String,
    folder: tempfile::TempDir,
}

impl Display {
    fn new() -> Display {
        let folder = tempfile::tempdir().unwrap();
        let keys = [folder.path().join("server"), folder.path().join("key")];
        for file in &keys {
            // The server looks for the key only; to clients it must be that of their display, whose number is not
            // known before.
            let added = Command::new("xauth")
                .args(["-q", "-f"])
                .arg(file)
                .args(["add", ":0", ".", "00112233445566778899aabbccddeeff"])
                .status()
                .unwrap();
            assert!(added.success());
        }
        let mut server = Command::new("Xvfb");
        server.args(["-displayfd", "1", "-screen", "0", "900x600x24", "-nolisten", "tcp", "-auth"]).arg(&keys[0]);
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        let name = format!(":{}", number.trim());
        let added = Command::new("xauth")
            .args(["-q", "-f"])
            .arg(&keys[1])
            .args(["add", &name, ".", "00112233445566778899aabbccddeeff"])
            .status()
            .unwrap();
        assert!(added.success());
        chown(&keys[1], Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Display { server, name, folder }
    }

    /// Has `command` come from `nobody`, who called sudo there.
    fn dress<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let number = NOBODY.to_string();
        command.env("DISPLAY", &self.name).env("XAUTHORITY", self.folder.path().join("key"));
        command.envs([("SUDO_UID", &number), ("SUDO_GID", &number)])
    }

    /// The titles of all windows.
    fn windows(&self) -> String {
        let mut command = Command::new("xwininfo");
        let output = self.dress(command.args(["-root", "-tree"])).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn owner_of(pid: i32) -> u32 {
    fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}

#[test]
fn windows_are_the_users_and_shells_are_roots_on_the_host() {
    if !has_windows() {
        return;
    }
    let _alone = alone();
    let display = Display::new();
    let mut run = Run::streaming(40);
    let mut command = run.on("xterm", &["hb", "hv1"]);
    let mut windows = display.dress(&mut command).spawn().unwrap();
    let title =
        |host: &str| format!("{host} (tiny/{}/direct-1)", run.folder().file_name().unwrap().to_str().unwrap());
    let [hb, hv1] = ["hb", "hv1"].map(title);
    wait_until("two windows", || {
        let all = display.windows();
        all.contains(&hb) && all.contains(&hv1)
    });
    let xterm = process(&["xterm", "-T", &hv1]).unwrap();
    assert_eq!(owner_of(xterm), NOBODY);
    // Both: a window has its title before xterm tells livectl that it is there, and only then gets its shell.
    let shell = || process(&["bash", "--norc", "-i"]);
    wait_until("two shells", || processes(&["bash", "--norc", "-i"]).count() == 2);
    assert_eq!(owner_of(shell().unwrap()), 0);
    let net = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_ne!(net(shell().unwrap()), net(xterm), "the shell is on the host, the window is not");
    // Windows that are closed.
    for title in [&hb, &hv1] {
        kill(Pid::from_raw(process(&["xterm", "-T", title]).unwrap()), Signal::SIGTERM).unwrap();
    }
    assert_eq!(windows.wait().unwrap().code(), Some(0));
    wait_until("the end of the shells", || shell().is_none());

    // Wireshark shows packets, and stays when the trial has ended.
    let home = tempfile::tempdir().unwrap();
    let mut command = run.on("wireshark", &["hv1", "--", "-o", "gui.update.enabled:FALSE"]);
    // As root's own, for nobody has no home for its settings.
    command.env("DISPLAY", &display.name).env("XAUTHORITY", display.folder.path().join("key"));
    let mut shark = command.env("HOME", home.path()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("Wireshark's capture", || display.windows().contains(&format!("Capturing from - [{hv1}]")));
    let (lines, code, state) = run.end();
    assert!(matches!(code, Some(0 | 6)), "{}", lines.join("\n"));
    assert_eq!(state, TrialState::Done);
    let _said = heard(&mut shark, "the trial has ended; Wireshark keeps what it has");
    assert!(shark.try_wait().unwrap().is_none(), "it is still there");
    signal(&shark, Signal::SIGINT);
    assert_eq!(shark.wait().unwrap().code(), Some(0));
}

#[test]
fn without_a_display_or_a_tool_it_is_said_what_is_missing() {
    let _alone = alone();
    let run = Run::streaming(20);
    let fails = |command: &mut Command, with: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(with), "{with}: {}", text(&output));
    };
    let nowhere = tempfile::tempdir().unwrap();
    let tools: [(&str, &[&str]); 2] = [("xterm", &["hb"]), ("wireshark", &["hb"])];
    for (tool, args) in tools {
        fails(
            run.on(tool, args).env("PATH", nowhere.path()).env("DISPLAY", ":0"),
            &format!("{tool} is not installed: sudo apt-get install"),
        );
    }
    if !has_windows() {
        return;
    }
    let display = Display::new();
    for (tool, args) in tools {
        fails(&mut run.on(tool, args), "DISPLAY is not set");
        fails(run.on(tool, args).env("DISPLAY", ":4095"), "nobody answers there");
        fails(run.on(tool, args).env("DISPLAY", "no display"), "nobody answers there");
        let mut command = run.on(tool, args);
        let without_key = display.dress(&mut command).env("XAUTHORITY", nowhere.path().join("none"));
        fails(without_key, "does not let nobody in");
    }
    let host = run.on("xterm", &["hb", "hv7"]).env("DISPLAY", &display.name).output().unwrap();
    assert!(host.status.code() == Some(1) && text(&host).contains("no host \"hv7\""), "{}", text(&host));
}
