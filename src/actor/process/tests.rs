#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Instant;

use super::*;

fn shell(folder: &Path, script: &str) -> Actor {
    Actor {
        name: "sh".into(),
        station: "h1".into(),
        command: Command::new("sh", ["-c", script]),
        folders: vec![],
        files: vec![],
        output: Output::Log,
        log: folder.join("log/h1-sh.log"),
        ready: Readiness::Started,
        ready_within: Duration::from_secs(5),
        alarms: vec![],
        stop: Stop { interrupt: Duration::from_millis(300), terminate: Duration::from_millis(300) },
    }
}

fn start(actor: &Actor) -> Process {
    Process::spawn(actor, Place::Here).unwrap()
}

#[test]
fn a_command_reads_as_one_would_type_it() {
    let command = Command::new("ffmpeg", ["-i", "a b", "it's", ""]).env("HOME", "/x y");
    assert_eq!(command.to_string(), r"HOME='/x y' ffmpeg -i 'a b' 'it'\''s' ''");
    assert_eq!(command.at(Place::Here), command);
    assert_eq!(Command::new("ping", ["-n"]).at(Place::Host(42)).to_string(), "mnexec -a 42 ping -n");
}

#[tokio::test]
async fn ordinary_death_is_noticed_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), "echo one; echo two >&2; exit 3");
    actor.ready = Readiness::LogLine("three".into());
    let process = start(&actor);
    let begun = Instant::now();
    let error = process.ready().await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2));
    let text = error.to_string();
    assert!(
        text.starts_with("h1/sh ended before it was ready (waiting for `three` in its log): exit status: 3"),
        "{text}"
    );
    assert!(text.ends_with("; its last words:\n    one\n    two"), "{text}");
    let exit = process.wait().await;
    assert!(!exit.is_fine() && !exit.asked);
    assert_eq!(process.stop().await, exit, "stopping what has ended changes nothing");
}

#[tokio::test]
async fn a_line_that_is_no_utf8_does_not_silence_those_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), r"printf 'one\n\377\376\r\ntwo\n'");
    actor.output = Output::Lines;
    let mut process = start(&actor);
    let mut lines = process.lines().unwrap();
    let mut told = Vec::new();
    while let Some(line) = lines.recv().await {
        told.push(line);
    }
    assert_eq!(told, ["one", "\u{fffd}\u{fffd}", "two"]);
}

#[tokio::test]
async fn not_ready_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), "echo waiting; exec sleep 60");
    actor.ready = Readiness::LogLine("never".into());
    actor.ready_within = Duration::from_millis(200);
    let process = start(&actor);
    let text = process.ready().await.unwrap_err().to_string();
    assert!(text.contains("not ready within 0.2 s ("), "{text}");
    assert!(process.stop().await.asked);
}

#[tokio::test]
async fn stopping_escalates_and_reaches_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grandchild");
    let script = format!("trap '' INT TERM; sleep 61 & echo $! > {}; echo up; wait; wait; wait", path.display());
    let mut actor = shell(folder.path(), &script);
    actor.ready = Readiness::LogLine("up".into());
    let process = start(&actor);
    process.ready().await.unwrap();
    let grandchild = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    assert!(Path::new(&format!("/proc/{grandchild}")).exists());
    let begun = Instant::now();
    let exit = process.stop().await;
    assert!(begun.elapsed() >= Duration::from_millis(600), "two graces");
    assert!(exit.asked && exit.is_fine() && exit.was_deaf());
    let gone =
        || !std::fs::read_to_string(format!("/proc/{grandchild}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..100 {
        if gone() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(gone(), "the grandchild was killed with its group");
}

#[tokio::test]
async fn an_alarm_is_found_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), "echo fine; sleep 0.1; echo '[flv] Broken connection'; exec sleep 60");
    actor.alarms = vec!["Broken connection".into()];
    let process = start(&actor);
    assert_eq!(process.alarmed().await, "[flv] Broken connection");
    process.stop().await;
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), "");
    actor.command.program = "no-such-program".into();
    let error = Process::spawn(&actor, Place::Here).unwrap_err().to_string();
    assert!(
        error.contains("h1/sh: cannot run `no-such-program -c ''`") && error.contains("livectl doctor"),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_kills() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(&shell(folder.path(), "exec sleep 62"));
    let pid = process.pid();
    drop(process);
    let running = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..200 {
        if !running() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still running");
}

#[tokio::test]
async fn lines_and_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), "echo note >&2; echo '{\"event\":\"go\"}'; sleep 60");
    actor.output = Output::Lines;
    actor.ready = Readiness::Event("go".into());
    let mut process = Process::spawn(&actor, Place::Here).unwrap();
    process.ready().await.unwrap();
    assert_eq!(process.lines().unwrap().recv().await.unwrap(), "{\"event\":\"go\"}");
    process.stop().await;
    assert_eq!(process.log_tail().0, ["note"]);
}

#[tokio::test]
async fn who_is_killed_on_purpose_was_not_deaf() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = shell(folder.path(), "echo up; exec sleep 60");
    actor.ready = Readiness::LogLine("up".into());
    let process = start(&actor);
    process.ready().await.unwrap();
    process.kill();
    process.wait().await;
    // At the end of the trial everybody is stopped, who has crashed as planned too.
    let exit = process.stop().await;
    assert!(exit.asked && exit.at_once && exit.is_fine() && !exit.was_deaf(), "{exit:?}");
}
