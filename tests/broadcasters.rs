//! Broadcasters other than livectl's own ffmpeg, for real: OBS, and commands. Needs root and the packages of
//! `install/packages.txt`; OBS is in its group `obs`, and without that its test says loudly that it was left out.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use livectl::store::{Manifest, RunDir, TrialState};
use livectl::table::{BroadcastRow, read_broadcasts, read_summary};

/// Trials measure time, and this machine may have two cores: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recipe(program: &str, more: &str) -> String {
    format!(
        "
schemes: [direct]
video: {{ size: 160x90, fps: 30, frames: 90, codec: h264, bitrate: 300 kbit/s, keyframe_every: 30 }}
network:
  switches: [s1]
  hosts:
    hb: {{ role: broadcaster, program: {program}, link: {{ to: s1, bandwidth: 4 Mbit/s, delay: 2 ms }} }}
    hs: {{ role: cdn, link: {{ to: s1, bandwidth: 4 Mbit/s, delay: 2 ms }} }}
    hv: {{ role: viewer, link: {{ to: s1, bandwidth: 4 Mbit/s, delay: 2 ms }} }}
timeline: {{ pings: {{ from: 0 s, until: 0 s }}, view: {{ at: 1 s }}, broadcast: {{ at: 2 s }}, drain: 60 s }}
{more}"
    )
}

/// ffmpeg as somebody would write it by hand.
fn by_hand(frames: &str) -> String {
    let source = "testsrc2=size={size}:rate={fps}";
    format!(
        "{{ command: [ffmpeg, -hide_banner, -nostdin, -re, -f, lavfi, -i, \"{source}\"{frames}, -c:v, libx264, -preset, \
         ultrafast, -tune, zerolatency, -b:v, \"{{bitrate}}\", -g, \"{{fps}}\", -f, flv, \"{{url}}\"] }}"
    )
}

/// A run of that recipe.
struct Played {
    run: RunDir,
    /// Exit code of livectl.
    code: Option<i32>,
    said: String,
}

fn play(results: &Path, name: &str, recipe: &str) -> Played {
    assert!(nix::unistd::geteuid().is_root(), "these tests boot networks: run them as root");
    let file = results.join(format!("{name}.yaml"));
    std::fs::write(&file, recipe).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_livectl"))
        .arg("run")
        .arg(&file)
        .arg("--results")
        .arg(results)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let runs: Vec<PathBuf> = std::fs::read_dir(results.join(name))
        .unwrap_or_else(|error| panic!("{error}: {said}"))
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    Played { run: RunDir::open(&runs[0]).unwrap(), code: output.status.code(), said }
}

impl Played {
    /// It was done, if on a busy machine perhaps unfit, and what was born arrived.
    fn broadcasts(&self) -> Vec<BroadcastRow> {
        assert!(matches!(self.code, Some(0 | 6)), "{}", self.said);
        let manifest = Manifest::load(&self.run).unwrap();
        let all = read_broadcasts(&self.run.broadcasts()).unwrap();
        for (trial, row) in manifest.trials.iter().zip(&all) {
            assert_eq!((&trial.state, &trial.damage), (&TrialState::Done, &Vec::new()), "{}", self.said);
            assert!(!row.partial);
        }
        for row in read_summary(&self.run.summary()).unwrap() {
            let broadcast = all.iter().find(|broadcast| broadcast.trial == row.trial).unwrap();
            assert_eq!((Some(row.frames), row.missing), (broadcast.born, Some(0)), "{}", self.said);
        }
        all
    }

    fn failure(&self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.said);
        match &Manifest::load(&self.run).unwrap().trials[0].state {
            TrialState::Failed { why } => why.clone(),
            other => panic!("{other:?}: {}", self.said),
        }
    }
}

#[test]
fn a_command_broadcasts_until_it_has_done_what_it_was_told_to() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let played = play(results.path(), "counting", &recipe(&by_hand(", -frames:v, \"{frames}\""), ""));
    let row = &played.broadcasts()[0];
    assert_eq!((row.program.as_str(), row.planned, row.born, row.dropped), ("ffmpeg", 90, Some(90), None));
    assert!(row.interval_p50_ms.unwrap() > 10.0, "{row:?}");
}

#[test]
fn a_command_without_an_end_is_ended() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let played = play(results.path(), "endless", &recipe(&by_hand(""), ""));
    // Three seconds and the grace.
    let born = played.broadcasts()[0].born.unwrap();
    assert!((100..200).contains(&born), "{born}: {}", played.said);
}

/// A trial has its own `/tmp`; what the recipe names there it sees, also by way of folders that `..` leaves.
#[test]
fn files_in_tmp_are_there_for_those_who_are_named_with_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let _alone = alone();
    let results = tempfile::tempdir_in("/tmp").unwrap();
    let root = results.path();
    std::fs::create_dir_all(root.join("deep")).unwrap();
    let clip = root.join("clip.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=30:duration=3"]);
    assert!(ffmpeg.arg(&clip).status().unwrap().success());
    std::fs::write(root.join("words"), "options='-preset ultrafast -tune zerolatency -g 30'").unwrap();
    let script = "#!/bin/sh\n. \"$(dirname \"$0\")/words\"\n\
                  exec ffmpeg -nostdin -re -i \"${2#*=}\" -c:v libx264 $options -f flv \"$1\"\n";
    std::fs::write(root.join("publish"), script).unwrap();
    std::fs::set_permissions(root.join("publish"), std::fs::Permissions::from_mode(0o755)).unwrap();

    let by_script = format!("{{ command: [deep/../publish, \"{{url}}\", \"clip={}\"] }}", clip.display());
    let text = recipe(&by_script, "").replace("size: 160x90", "file: deep/../clip.mp4");
    let link = "link: { to: s1, bandwidth: 4 Mbit/s, delay: 2 ms } }";
    let more = format!("    hc: {{ role: broadcaster, {link}\n    hw: {{ role: viewer, watch: hc, {link}\ntimeline:");
    let text = text.replace("role: viewer,", "role: viewer, watch: hb,").replace("timeline:", &more);
    let played = play(root, "temporary", &text);
    assert!(matches!(played.code, Some(0 | 6)), "{}", played.said);
    let trial = &Manifest::load(&played.run).unwrap().trials[0];
    assert_eq!((&trial.state, &trial.damage), (&TrialState::Done, &Vec::new()), "{}", played.said);
    let seen = read_summary(&played.run.summary()).unwrap();
    let seen: Vec<_> = seen.iter().map(|row| (row.viewer.as_str(), row.frames, row.missing)).collect();
    assert_eq!(seen, [("hv", 90, Some(0)), ("hw", 90, Some(0))], "{}", played.said);
}

#[test]
fn a_command_that_does_not_broadcast_fails_its_trial_and_says_how() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let failure = |name: &str, command: &str| {
        play(results.path(), name, &recipe(&format!("{{ command: {command} }}"), "")).failure()
    };
    let why = failure("exits", "[sh, -c, 'echo there is no camera >&2', \"{url}\"]");
    assert!(why.contains("hb/encoder ended (exit status: 0) and had not connected to its agent"), "{why}");
    assert!(why.contains("there is no camera"), "{why}");
    let why = failure("fails", "[sh, -c, 'echo no licence >&2; exit 3', \"{url}\"]");
    assert!(why.contains("hb/encoder ended early (exit status: 3)") && why.contains("no licence"), "{why}");
    let why = failure("silent", "[tail, -f, /dev/null]");
    assert!(why.contains("hb/encoder has not connected to its agent, rtmp://127.0.0.1:1935 within 20 s"), "{why}");
}

#[test]
fn a_command_that_is_not_there_is_told_before_anything_is_started() {
    let results = tempfile::tempdir().unwrap();
    let file = results.path().join("absent.yaml");
    std::fs::write(&file, recipe("{ command: [no-such-publisher, \"{url}\"] }", "")).unwrap();
    let said = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_livectl")).args(args).arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let what = "hb broadcasts with the command no-such-publisher, which is not on the trials' PATH";
    let (code, text) = said(&["check"]);
    assert!(code == Some(0) && text.contains(what), "{code:?} {text}");
    let (code, text) = said(&["run", "--results", results.path().to_str().unwrap()]);
    assert!(code == Some(4) && text.contains(what), "{code:?} {text}");
    assert!(!results.path().join("absent").exists(), "nothing was begun");
}

#[test]
fn obs_broadcasts_and_says_what_it_dropped() {
    if !Path::new("/usr/bin/obs").exists() {
        // Not by a macro: the harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "LEFT OUT: OBS is not installed here: install/packages.sh install obs");
        return;
    }
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let played = play(results.path(), "obs", &recipe("obs", "").replace("frames: 90", "frames: 150"));
    let row = &played.broadcasts()[0];
    assert_eq!((row.program.as_str(), row.planned, row.dropped), ("obs", 150, Some(0)), "{}", played.said);
    assert!(row.born.unwrap() >= 135 && row.output.is_some() && row.lagged.is_some(), "{row:?}");
    assert!(played.said.contains("hb: OBS composed"), "{}", played.said);
}
