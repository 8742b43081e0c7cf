//! Players with screens, for real: the clock in the picture, from the source to what a viewer sees. Needs root and
//! the packages of `install/packages.txt`; mpv is in its group `screens`, and without it its test says loudly that it
//! was left out.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use livectl::store::{Manifest, RunDir, TrialDir, TrialState};
use livectl::table::{ShownRow, SummaryRow, quantile, read_shown, read_summary};

/// Trials measure time, and this machine may have two cores: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const FRAMES: u32 = 120;
/// Each picture as soon as it is there.
const AT_ONCE: &str = "{ command: [ffplay, -loglevel, error, -nostats, -noborder, -left, '0', -top, '0', -autoexit, -an, -flags, low_delay, -probesize, \
                       '32', -analyzeduration, '0', -vf, setpts=0, '{url}'], window: true }";

fn recipe(video: &str, viewers: &str, more: &str) -> String {
    format!(
        "
schemes: [direct]
video: {{ size: 320x180, fps: 30, frames: {FRAMES}, bitrate: 500 kbit/s, keyframe_every: 15, {video} }}
network:
  initial_window: 128
  switches: [s1]
  hosts:
    hb: {{ role: broadcaster, link: {{ to: s1, bandwidth: 10 Mbit/s, delay: 5 ms }} }}
    hs: {{ role: cdn, link: {{ to: s1, bandwidth: 10 Mbit/s, delay: 5 ms }} }}
{viewers}
timeline: {{ pings: {{ from: 0 s, until: 0 s }}, view: {{ at: 0.5 s }}, broadcast: {{ at: 4 s }}, end: 12 s }}
{more}"
    )
}

fn viewer(name: &str, player: &str, delay_ms: u32) -> String {
    format!(
        "    {name}: {{ role: viewer, player: {player}, link: {{ to: s1, bandwidth: 10 Mbit/s, delay: {delay_ms} ms }} }}\n"
    )
}

fn livectl(command: &str, results: &Path, name: &str, recipe: &str) -> Output {
    assert!(nix::unistd::geteuid().is_root(), "these tests boot networks: run them as root");
    let file = results.join(format!("{name}.yaml"));
    std::fs::write(&file, recipe).unwrap();
    let mut livectl = Command::new(env!("CARGO_BIN_EXE_livectl"));
    livectl.arg(command).arg(&file).stdin(Stdio::null());
    if command == "run" {
        livectl.arg("--results").arg(results);
    }
    livectl.output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Plays a recipe of one trial, which is done, if on a busy machine perhaps unfit; its run and what livectl said.
fn play(results: &Path, name: &str, recipe: &str) -> (RunDir, String) {
    let output = livectl("run", results, name, recipe);
    let said = text(&output);
    assert!(matches!(output.status.code(), Some(0 | 6)), "{said}");
    let runs: Vec<PathBuf> = std::fs::read_dir(results.join(name)).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let run = RunDir::open(&runs[0]).unwrap();
    let manifest = Manifest::load(&run).unwrap();
    let trial = &manifest.trials[0];
    assert_eq!((&trial.state, &trial.damage), (&TrialState::Done, &Vec::new()), "{said}");
    (run, said)
}

fn summary(run: &RunDir, viewer: &str) -> SummaryRow {
    read_summary(&run.summary()).unwrap().into_iter().find(|row| row.viewer == viewer).unwrap()
}

/// What a viewer's screen showed, whose parts are compared with each other.
fn shown(run: &RunDir, viewer: &str) -> Vec<ShownRow> {
    let rows: Vec<ShownRow> =
        read_shown(&run.shown()).unwrap().into_iter().filter(|row| row.viewer == viewer).collect();
    assert_eq!(rows.len(), FRAMES as usize, "{viewer}");
    for row in &rows {
        let encode = row.encode_ms.expect("the clock of every frame can be read");
        // Decoded, drawn and read; coded and handed over.
        assert!((0.0..5_000.0).contains(&encode), "{row:?}");
        let Some(shown) = row.shown_delay_ms else { continue };
        let parts = encode + row.network_ms.unwrap() + row.player_ms.unwrap();
        assert!((parts - shown).abs() < 1e-6, "{row:?}");
        assert!(row.player_ms.unwrap() > -1.0, "seen before it had arrived: {row:?}");
        assert!(row.times > 0 && row.unsure_ms.unwrap() >= 0.0, "{row:?}");
    }
    rows
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5).unwrap()
}

/// A known delay between source and eye comes out again: one of two equal viewers is 200 ms farther away. By the
/// screens alone, without births and captures.
#[test]
fn a_known_delay_is_seen_on_the_screens() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let viewers = viewer("near", AT_ONCE, 5) + &viewer("far", AT_ONCE, 205);
    let (run, said) = play(results.path(), "known", &recipe("clock: true", &viewers, "film: [near, far]"));
    let delay = |name: &str| {
        let rows = shown(&run, name);
        let seen = rows.iter().filter(|row| row.shown_delay_ms.is_some()).count();
        assert!(seen * 2 > rows.len(), "{name}: {seen} of {}: {said}", rows.len());
        // The second half: at the beginning TCP makes its own delays.
        median(rows[rows.len() / 2..].iter().filter_map(|row| row.shown_delay_ms))
    };
    let (near, far) = (delay("near"), delay("far"));
    // Within what a busy machine does to decoders, a tenth of a second here and there; see docs for what a quiet one
    // gives.
    assert!((far - near - 200.0).abs() < 100.0, "{near} and {far}: {said}");
    assert!(said.contains("on the screens:"), "{said}");
    for name in ["near", "far"] {
        let row = summary(&run, name);
        assert_eq!((row.player.as_deref(), row.missing), (Some("ffplay"), Some(0)), "{said}");
        assert!(row.shown_delay_p50_ms.unwrap() > row.delay_p50_ms.unwrap(), "{row:?}");
    }

    // The film, and what a page makes of it.
    let trial = run.trial("direct-1");
    let still = std::fs::read(trial.still()).unwrap();
    assert_eq!(&still[1..4], b"PNG");
    assert_eq!(
        &still[16..24],
        [640u32.to_be_bytes(), 204u32.to_be_bytes()].concat(),
        "two of 320x180 with names below"
    );
    assert!(std::fs::metadata(trial.film()).unwrap().len() > 10_000);
    let report = Command::new(env!("CARGO_BIN_EXE_livectl")).arg("report").arg(run.path()).output().unwrap();
    assert!(report.status.success(), "{}", text(&report));
    let page = std::fs::read_to_string(run.path().join("report.html")).unwrap();
    assert!(page.contains("direct-1: the screens") && page.contains("width=\"640\" height=\"204\""));

    // All of it comes out of the stored files again; and a file that is damaged is told, and nothing is made of it.
    let analyze = |force: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_livectl")).arg("analyze").args(force).arg(run.path()).output().unwrap()
    };
    let verify = Command::new(env!("CARGO_BIN_EXE_livectl")).arg("verify").arg(run.path()).output().unwrap();
    assert!(verify.status.success(), "{}", text(&verify));
    let screen = trial.screen("near");
    let log = std::fs::read_to_string(&screen).unwrap();
    std::fs::write(&screen, &log[..log.len() / 2]).unwrap();
    let said = text(&analyze(&[]));
    assert!(said.contains("screen/near.csv: it is cut off after line"), "{said}");
    assert!(summary(&run, "near").shown.is_some(), "what was known is not given up unasked: {said}");
    let said = text(&analyze(&["--force"]));
    assert_eq!((summary(&run, "near").shown, summary(&run, "far").shown.is_some()), (None, true), "{said}");
}

/// The same recipe with each player.
#[test]
fn every_player_watches_and_gives_what_it_can() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let dumps = "{ command: [ffmpeg, -v, error, -nostdin, -i, '{url}', -c, copy, -f, flv, '{dump}'] }";
    let viewers = viewer("mp", "mplayer", 5)
        + &viewer("rd", "rtmpdump", 5)
        + &viewer("mw", "mplayer-window", 5)
        + &viewer("fp", "ffplay", 5)
        + &viewer("ff", dumps, 5);
    let (run, said) = play(results.path(), "players", &recipe("clock: true", &viewers, ""));
    let trial = run.trial("direct-1");
    for name in ["mp", "rd", "mw", "fp", "ff"] {
        let row = summary(&run, name);
        assert_eq!(row.missing, Some(0), "{name}: {said}");
        let (is_shown, is_dumped) = (row.shown.is_some(), trial.dump(name).is_file());
        assert_eq!(
            (is_shown, is_dumped),
            (matches!(name, "mw" | "fp"), matches!(name, "mp" | "rd" | "ff")),
            "{name}"
        );
    }
    for name in ["mw", "fp"] {
        let rows = shown(&run, name);
        let seen = rows.iter().filter(|row| row.shown_ns.is_some()).count();
        assert!(seen * 2 > rows.len(), "{name}: {seen}: {said}");
    }
    assert!(!said.contains("dump/mw.flv"), "nobody asks it for a dump: {said}");
}

#[test]
fn mpv_watches() {
    let _alone = alone();
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|folder| folder.join("mpv").is_file());
    if !found {
        eprintln!(
            "LEFT OUT: mpv is not installed (sudo install/packages.sh install screens): this test has tested nothing"
        );
        return;
    }
    let results = tempfile::tempdir().unwrap();
    let (run, said) = play(results.path(), "mpv", &recipe("clock: true, codec: h264", &viewer("hv", "mpv", 5), ""));
    let seen = shown(&run, "hv").iter().filter(|row| row.shown_ns.is_some()).count();
    assert!(seen > FRAMES as usize / 3, "{seen}: {said}");
}

/// Without a clock screens show the stream and nothing is read of them; players that do not do their work fail the
/// trial, or are told.
#[test]
fn what_goes_wrong_is_told() {
    let _alone = alone();
    let results = tempfile::tempdir().unwrap();
    let (run, said) = play(results.path(), "blind", &recipe("audio: false", &viewer("hv", "ffplay", 5), ""));
    assert_eq!((summary(&run, "hv").shown, run.shown().exists()), (None, false), "{said}");
    assert!(!TrialDir::at(run.trial("direct-1").path()).screen("hv").exists());

    let fails =
        viewer("hv", "{ command: [sh, -c, 'echo cannot open the display >&2; exit 3', '{url}'], window: true }", 5);
    let output = livectl("run", results.path(), "fails", &recipe("clock: true", &fails, ""));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("hv/player ended early (exit status: 3)") && said.contains("cannot open the display"),
        "{said}"
    );

    let absent = recipe("clock: true", &viewer("hv", "{ command: [no-such-player, '{url}'] }", 5), "");
    let said = text(&livectl("check", results.path(), "absent", &absent));
    assert!(said.contains("hv watches with the command no-such-player, which is not on the trials' PATH"), "{said}");
    let output = livectl("run", results.path(), "absent", &absent);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}
