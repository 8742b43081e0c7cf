//! Sweeps for real: killed in mid-trial and resumed, stopped from elsewhere, with a point that fails. Needs root and
//! the packages of `install/packages.txt`; without them these tests fail and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "sweep/many.rs"]
mod many;
#[path = "sweep/tiny.rs"]
mod tiny;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use livectl::sandbox::running::running;
use livectl::store::{Captures, Cause, Made, Manifest, RunDir, SweepDir, TrialState};
use livectl::sweep::session::{Did, sessions};
use livectl::sweep::status::Status;
use livectl::table::{read_models, read_summary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tiny::recipe;

/// Trials measure time, and this machine may have two cores: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn livectl(words: &[&str], results: &Path) -> Command {
    assert!(nix::unistd::geteuid().is_root(), "these tests boot networks: run them as root");
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_livectl")]).args(words);
    command.arg("--results").arg(results).stdin(Stdio::null());
    command
}

fn sweep(recipe: &Path, results: &Path, more: &[&str]) -> Command {
    let mut command = livectl(&["sweep"], results);
    command.arg(recipe).args(more);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Starts a sweep and reads its lines until so many have held `word`.
fn until(command: &mut Command, word: &str, times: usize) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    for _ in 0..times {
        loop {
            let begins = seen.len();
            assert!(lines.read_line(&mut seen).unwrap() > 0, "it ended before it said {word:?}:\n{seen}");
            if seen[begins..].contains(word) {
                break;
            }
        }
    }
    (child, lines)
}

/// Interfaces and mounts of this machine, and trials that run with their files in `folder`: others may run as well.
fn host(folder: &Path) -> (Vec<String>, String, usize) {
    let folder = folder.canonicalize().unwrap();
    let mut links: Vec<String> =
        std::fs::read_dir("/sys/class/net").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    links.sort();
    (
        links,
        std::fs::read_to_string("/proc/self/mounts").unwrap(),
        running().unwrap().iter().filter(|trial| trial.marker.dir().starts_with(&folder)).count(),
    )
}

fn assert_host_becomes(before: &(Vec<String>, String, usize), folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while host(folder) != *before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(host(folder), *before, "a sweep left something behind");
}

/// All that is in a folder, by its path within it.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn killed_in_mid_trial_it_goes_on_and_every_trial_is_done_once() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let before = host(folder.path());
    let results = folder.path().join("results");
    let path = recipe(folder.path(), "matrix: { network.hosts.hs.link.delay: [2 ms, 4 ms, 6 ms] }", "size: 160x90, ");
    let (mut child, _lines) = until(&mut sweep(&path, &results, &[]), "streaming", 2);
    let dir = SweepDir::open(&results.join("tiny")).unwrap();
    let running = Status::of(&dir).unwrap();
    assert_eq!((running.done, running.sessions.len(), running.to_come), (1, 1, 2));
    let other = sweep(&path, &results, &[]).output().unwrap();
    assert_eq!(other.status.code(), Some(2), "{}", text(&other));
    assert!(text(&other).contains("is running here already"), "{}", text(&other));

    child.kill().unwrap();
    child.wait().unwrap();
    assert_host_becomes(&before, folder.path());
    let done = dir.done().unwrap();
    assert_eq!((done.len(), dir.tried().unwrap().len()), (1, 1));
    let kept = content(&dir.trials());
    let told = livectl(&["status", "tiny"], &results).output().unwrap();
    assert!(text(&told).contains("ended without a message") && text(&told).contains("1 of 3"), "{}", text(&told));

    let output = sweep(&path, &results, &[]).output().unwrap();
    // 6: everything was done on a machine that was too busy for its delays to be trusted.
    assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
    assert_host_becomes(&before, folder.path());
    assert_eq!(dir.done().unwrap().len(), 3);
    assert!(dir.done().unwrap().is_superset(&done) && dir.tried().unwrap().is_empty());
    let now = content(&dir.trials());
    assert!(kept.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "what was done is as it was");
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for line in sessions(&dir).unwrap().iter().flat_map(|session| session.lines().unwrap()) {
        if let Did::TrialEnded { trial, state: TrialState::Done, .. } = line.what {
            *ends.entry(trial).or_default() += 1;
        }
    }
    assert_eq!(ends.len(), 3, "{ends:?}");
    assert!(ends.values().all(|times| *times == 1), "{ends:?}");

    // Whoever reads runs reads it, parameter and all.
    let run = RunDir::open(dir.path()).unwrap();
    let manifest = Manifest::load(&run).unwrap();
    assert!(manifest.trials.iter().all(|trial| trial.state == TrialState::Done), "{:?}", manifest.trials);
    assert_eq!((manifest.trials.len(), manifest.ended.is_some()), (3, true));
    let summary = read_summary(&run.summary()).unwrap();
    let mut delays: Vec<&str> =
        summary.iter().map(|row| row.point.parameters.get("network.hosts.hs.link.delay").unwrap()).collect();
    delays.sort_unstable();
    assert_eq!(delays, ["2 ms", "4 ms", "6 ms"]);
    assert!(summary.iter().all(|row| row.frames == 60 && row.missing == Some(0)));
    for words in [&["plot", "--plot", "sweep", "--include-unfit"][..], &["report"], &["verify"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livectl"));
        let output = command.args(words).arg(dir.path()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output));
    }

    let again = sweep(&path, &results, &[]).output().unwrap();
    assert!(matches!(again.status.code(), Some(0 | 6)), "{}", text(&again));
    assert!(text(&again).contains("3 of 3 trials are done (0 now)"), "{}", text(&again));
}

#[test]
fn a_point_that_fails_stops_no_other_and_a_sweep_stops_when_it_is_asked_to() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let before = host(folder.path());
    let results = folder.path().join("results");
    // What a program does at 25 pictures a second nobody can know before.
    let script = "test $0 = 25 && exit 3; exec ffmpeg -v error -re -f lavfi -i testsrc2=size=160x90:rate=30 -frames:v 60 \
                  -c:v flv1 -b:v 300k -g 30 -f flv $1";
    let matrix = "matrix: { fps: { of: video.fps, values: [25, 30] } }";
    let publishing = |path: PathBuf| {
        let program =
            format!("role: broadcaster, program: {{ command: [/bin/sh, -c, '{script}', '{{fps}}', '{{url}}'] }}");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("role: broadcaster", &program)).unwrap();
        path
    };
    let path = publishing(recipe(folder.path(), matrix, ""));
    let output = sweep(&path, &results, &["--retry", "1", "--keep", "none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let told = text(&output);
    assert!(told.contains("1 of 2 trials are done (1 now), 1 failed"), "{told}");
    assert!(told.contains("direct, fps 25, repetition 1: ") && told.contains("(2 times; "), "{told}");
    assert_host_becomes(&before, folder.path());
    let dir = SweepDir::open(&results.join("tiny")).unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    let done = dir.done().unwrap();
    let good = done.first().unwrap();
    let manifest = Manifest::load(&run).unwrap();
    assert_eq!(manifest.trial(good).unwrap().captures, Captures::Dropped);
    assert!(!run.trial(good).path().join("pcap").exists());
    let status = Status::of(&dir).unwrap();
    assert_eq!((status.done, status.failed.len(), status.failed[0].times), (1, 1, 2));
    assert!(status.failed[0].folder.join("log").is_dir());

    // What was given up stays so, and more repetitions hold what was done.
    let matrix = format!("repetitions: 3\n{matrix}\nexclude: [{{ fps: 25 }}]");
    let path = publishing(recipe(folder.path(), &matrix, ""));
    let (mut child, mut lines) = until(&mut sweep(&path, &results, &[]), "streaming", 1);
    let asked = livectl(&["stop", "tiny"], &results).output().unwrap();
    assert_eq!(asked.status.code(), Some(0), "{}", text(&asked));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7), "{rest}");
    assert!(rest.contains("stopped, as `livectl stop` asked: 2 of 3 trials are done (1 now)"), "{rest}");
    assert!(dir.done().unwrap().is_superset(&done));
    assert_eq!(livectl(&["stop", "tiny"], &results).output().unwrap().status.code(), Some(2));
    assert_host_becomes(&before, folder.path());
}

#[test]
fn predicted_points_are_computed_beside_measured_ones_and_never_pooled_with_them() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let before = host(folder.path());
    let results = folder.path().join("results");
    let delays = "network.hosts.hs.link.delay: [2 ms, 20 ms]";
    let plain = recipe(folder.path(), &format!("matrix: {{ {delays} }}"), "size: 160x90, ");
    let output = sweep(&plain, &results, &[]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
    let dir = SweepDir::open(&results.join("tiny")).unwrap();
    let kept = content(&dir.trials());

    // What was measured before holds; only the predictions are new.
    let path =
        recipe(folder.path(), &format!("matrix: {{ engine: [emulate, predict], {delays} }}"), "size: 160x90, ");
    let output = sweep(&path, &results, &["--dry-run"]).output().unwrap();
    assert!(text(&output).contains("4 trials: 2 done, 0 given up, 2 to try"), "{}", text(&output));
    let began = Instant::now();
    let output = sweep(&path, &results, &[]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
    assert!(text(&output).contains("4 of 4 trials are done (2 now)"), "{}", text(&output));
    assert!(!text(&output).contains("booting"), "no network is booted for a prediction: {}", text(&output));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_host_becomes(&before, folder.path());
    let now = content(&dir.trials());
    assert!(kept.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "what was measured is as it was");

    let run = RunDir::open(dir.path()).unwrap();
    let manifest = Manifest::load(&run).unwrap();
    assert_eq!(manifest.made(), Made::Both { predicted: 2 });
    let summary = read_summary(&run.summary()).unwrap();
    for delay in ["2 ms", "20 ms"] {
        let mine =
            summary.iter().filter(|row| row.point.parameters.get("network.hosts.hs.link.delay") == Some(delay));
        let (predicted, measured): (Vec<_>, Vec<_>) = mine.partition(|row| row.point.is_predicted());
        assert_eq!((predicted.len(), measured.len()), (1, 1), "{delay}");
        let [model, truth] = [predicted[0], measured[0]].map(|row| row.delay_p50_ms.unwrap());
        eprintln!("{delay}: predicted {model:.1} ms, measured {truth:.1} ms, fit: {}", measured[0].fit);
        // A busy machine is slower than the model; it is never faster by more than what a program takes.
        assert!(truth > model - 3.0 && (!measured[0].fit || truth < model + 10.0), "{delay}: {model} and {truth}");
    }
    let models = read_models(&run.models()).unwrap();
    let medians: Vec<_> = models.iter().filter(|row| row.metric == "delay_p50_ms").collect();
    assert_eq!(medians.len(), 2, "{models:#?}");
    for row in medians {
        let is = |predicted: bool| {
            let mut rows = summary.iter().filter(|line| line.point.is_predicted() == predicted);
            let delay = rows.find(|line| line.point.parameters.without("engine") == row.parameters).unwrap();
            delay.delay_p50_ms.unwrap()
        };
        assert_eq!((row.measured, row.predicted, row.trials, row.predictions), (is(false), is(true), 1, 1));
    }
    assert!(
        text(&output).contains("and predicted:\nscheme  at ") && text(&output).contains("within 5 % + 2 ms"),
        "{}",
        text(&output)
    );
    let estimates = std::fs::read_to_string(run.estimates()).unwrap();
    assert!(estimates.lines().next().unwrap().split(',').any(|name| name == "parameter.engine"), "{estimates}");

    let picture = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livectl"));
        command.args(["plot", "--plot", "sweep", "--include-unfit", "--text", "--format", "svg"]).args(more);
        let output = command.arg(dir.path()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        (text(&output), std::fs::read_to_string(dir.path().join("sweep-plot.svg")).unwrap())
    };
    for more in [&[][..], &["--by", "scheme"]] {
        let (table, svg) = picture(more);
        assert_eq!(table.matches("predict").count().min(2), 2, "a line for each of its points: {table}");
        assert!(
            svg.contains("measured") && svg.contains("predicted") && svg.contains("2 trials PREDICTED"),
            "{table}"
        );
    }
    for words in [&["report"][..], &["verify"], &["analyze"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livectl"));
        let output = command.args(words).arg(dir.path()).stdin(Stdio::null()).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 6)), "{words:?}: {}", text(&output));
    }
}

/// Processes below `root`, with their command lines.
fn below(root: u32) -> Vec<(i32, String)> {
    let read = |pid: &str, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (Ok(pid), Some(stat), Some(line)) = (name.parse::<i32>(), read(&name, "stat"), read(&name, "cmdline"))
        else {
            continue;
        };
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let parent: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        all.push((pid, parent, String::from_utf8_lossy(&line).replace('\0', " ")));
    }
    let mut family = vec![i32::try_from(root).unwrap()];
    let mut known = 0;
    while known < family.len() {
        let parent = family[known];
        family.extend(all.iter().filter(|(_, of, _)| *of == parent).map(|(pid, _, _)| *pid));
        known += 1;
    }
    all.into_iter().filter(|(pid, _, _)| family[1..].contains(pid)).map(|(pid, _, line)| (pid, line)).collect()
}

#[test]
fn what_is_done_to_a_trial_from_outside_is_named_and_the_trial_is_tried_again() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let before = host(folder.path());
    let results = folder.path().join("results");
    let path = recipe(folder.path(), "matrix: { network.hosts.hs.link.delay: [2 ms, 4 ms, 6 ms] }", "size: 160x90, ");
    let (mut child, mut lines) = until(&mut sweep(&path, &results, &[]), "encoding", 1);
    let hit = |program: &str, signal: Signal| {
        let family = below(child.id());
        let (pid, _) = family.iter().find(|(_, line)| line.contains(program)).unwrap_or_else(|| panic!("{family:?}"));
        kill(Pid::from_raw(*pid), signal).unwrap();
    };
    hit("live-controller --listen", Signal::SIGSTOP);
    let mut line = String::new();
    while !line.contains("encoding") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0);
    }
    hit("internal emulator", Signal::SIGKILL);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 6)), "{rest}");
    assert!(rest.contains("3 of 3 trials are done (3 now)"), "{rest}");
    let dir = SweepDir::open(&results.join("tiny")).unwrap();
    let mut failed: Vec<(String, Option<Cause>)> = Vec::new();
    for line in sessions(&dir).unwrap().iter().flat_map(|session| session.lines().unwrap()) {
        if let Did::TrialEnded { state: TrialState::Failed { why }, cause, .. } = line.what {
            failed.push((why, cause));
        }
    }
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].0.starts_with("controller stood still"), "{failed:?}");
    assert!(failed[1].0.starts_with("emulator ended early (signal: 9"), "{failed:?}");
    assert!(failed.iter().all(|(_, cause)| *cause == Some(Cause::Machine)), "{failed:?}");
    assert_host_becomes(&before, folder.path());
}

/// Two machines with one folder, which know of each other by nothing but that.
#[test]
fn two_machines_share_a_sweep() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let before = host(folder.path());
    let results = folder.path().join("results");
    let path = recipe(folder.path(), "repetitions: 5", "size: 160x90, ");
    let machine = |name: &str| {
        let mut command = Command::new("unshare");
        let script = format!("hostname {name} && exec \"$@\"");
        command.args(["--uts", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_livectl"), "sweep"]).arg(&path);
        command.arg("--results").arg(&results).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let machines = ["one", "two"].map(machine);
    for machine in machines {
        let output = machine.wait_with_output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 6)), "{}", text(&output));
        assert!(text(&output).contains("5 of 5 trials are done"), "{}", text(&output));
    }
    assert_host_becomes(&before, folder.path());
    let dir = SweepDir::open(&results.join("tiny")).unwrap();
    assert_eq!((dir.done().unwrap().len(), dir.tried().unwrap()), (5, Vec::new()), "none was done twice");
    let summary = read_summary(&RunDir::open(dir.path()).unwrap().summary()).unwrap();
    let nodes: std::collections::BTreeSet<&str> = summary.iter().map(|row| row.node.as_deref().unwrap()).collect();
    assert_eq!(nodes, ["one", "two"].into(), "both had a part in it");
}
