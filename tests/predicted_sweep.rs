//! Sweeps whose points are predicted: without root, without Mininet. Needs ffmpeg, and as root `setpriv` to do without.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "sweep/tiny.rs"]
mod tiny;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use livectl::store::{Captures, Made, Manifest, RunDir, SweepDir, TrialState};
use livectl::sweep::session::{Did, sessions};
use livectl::table::{SummaryRow, read_summary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tiny::recipe;

/// A user who may do nothing.
const NOBODY: u32 = 65_534;

/// A folder for that user, with livectl and a place for results in it.
struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Room {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_livectl")).parent().unwrap();
        for program in ["livectl", "live-controller", "live-agent"] {
            let from = programs.join(program);
            std::fs::copy(&from, folder.path().join(program)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        }
        let room = Room { folder };
        std::fs::create_dir(room.results()).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(room.results(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        room
    }

    fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    fn livectl(&self, words: &[&str]) -> Command {
        let program = self.folder.path().join("livectl");
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            let nobody = NOBODY.to_string();
            command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(words).current_dir(self.results()).stdin(Stdio::null());
        command
    }

    fn does(&self, words: &[&str], code: i32) -> String {
        let output = self.livectl(words).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output));
        text(&output)
    }

    fn sweep(&self, recipe: &Path, more: &[&str], code: i32) -> String {
        let (results, recipe) = (self.results(), recipe.display().to_string());
        let words = [&["sweep", "--results", results.to_str().unwrap()], more, &[recipe.as_str()]].concat();
        self.does(&words, code)
    }

    fn dir(&self) -> SweepDir {
        SweepDir::open(&self.results().join("tiny")).unwrap()
    }

    fn summary(&self) -> Vec<SummaryRow> {
        read_summary(&RunDir::open(self.dir().path()).unwrap().summary()).unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const DELAYS: &str = "network.hosts.hs.link.delay: [2 ms, 4 ms, 6 ms]";

/// The median delay at each value of the CDN's delay.
fn medians(summary: &[SummaryRow]) -> BTreeMap<String, f64> {
    let median = |row: &SummaryRow| {
        let delay = row.point.parameters.get("network.hosts.hs.link.delay").unwrap();
        (delay.to_owned(), row.delay_p50_ms.unwrap())
    };
    summary.iter().map(median).collect()
}

#[test]
fn whoever_may_do_nothing_may_predict_a_sweep() {
    let room = Room::new();
    let path = recipe(room.folder.path(), &format!("engine: predict\nmatrix: {{ {DELAYS} }}"), "size: 160x90, ");
    let told = room.sweep(&path, &["--dry-run"], 0);
    assert!(told.contains("tiny: 3 points, once each, 3 trials") && told.contains("predicted: 3, about "), "{told}");
    assert!(!room.results().join("tiny").exists(), "a dry run writes nothing");

    let told = room.sweep(&path, &[], 0);
    assert!(told.contains("3 of 3 trials are done (3 now)") && told.contains("PREDICTED, not measured"), "{told}");
    let dir = room.dir();
    let run = RunDir::open(dir.path()).unwrap();
    let manifest = Manifest::load(&run).unwrap();
    assert_eq!((manifest.made(), manifest.trials.len()), (Made::Predicted, 3));
    assert_eq!(manifest.predicted.as_ref().unwrap().model, livectl::predict::MODEL);
    for record in &manifest.trials {
        assert_eq!((&record.state, record.captures), (&TrialState::Done, Captures::Never), "{}", record.id);
        assert!(record.point.is_predicted() && record.ended.is_some() && record.damage.is_empty(), "{record:?}");
        assert!(run.trial(&record.id).births("hb").exists());
    }
    // The CDN's link is passed twice.
    let found = medians(&room.summary());
    let [two, four, six] = ["2 ms", "4 ms", "6 ms"].map(|delay| found[delay]);
    assert!((four - two - 4.0).abs() < 0.5 && (six - four - 4.0).abs() < 0.5, "{found:?}");
    assert!(room.summary().iter().all(|row| row.frames == 60 && row.missing == Some(0) && row.fit && !row.partial));

    // `livectl predict` has the same figures of the same recipe.
    let plain = recipe(room.folder.path(), &format!("matrix: {{ {DELAYS} }}"), "size: 160x90, ");
    let own = room.results().join("own");
    room.does(&["predict", "--results", own.to_str().unwrap(), plain.to_str().unwrap()], 0);
    let runs = RunDir::find(&own).unwrap().runs;
    let predicted = read_summary(&RunDir::open(&runs[0]).unwrap().summary()).unwrap();
    assert_eq!(medians(&predicted), found);

    // What is done stays; what is gone is predicted again, to the same figures.
    let path = recipe(room.folder.path(), &format!("engine: predict\nmatrix: {{ {DELAYS} }}"), "size: 160x90, ");
    std::fs::remove_dir_all(dir.trials().join(&manifest.trials[1].id)).unwrap();
    let told = room.sweep(&path, &["--retry", "1", "--keep", "none"], 0);
    assert!(told.contains("3 of 3 trials are done (1 now)"), "{told}");
    assert_eq!(medians(&room.summary()), found);
    let folder = dir.path().to_str().unwrap();
    let told = room.does(&["status", folder], 0);
    assert!(told.contains("3 of 3 trials are done"), "{told}");
    for words in [&["plot", "--plot", "all"][..], &["report"], &["verify"]] {
        room.does(&[words, &[folder]].concat(), 0);
    }
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("PREDICTED, model"));
    let ran = sessions(&dir).unwrap().iter().flat_map(|session| session.lines().unwrap()).collect::<Vec<_>>();
    let ends = ran.iter().filter(|line| matches!(line.what, Did::TrialEnded { predicted: true, .. })).count();
    assert_eq!(ends, 4, "{ran:?}");
    let told = room.sweep(&path, &["--dry-run", "--repetitions", "2"], 0);
    assert!(told.contains("3 to try") && told.contains("learned from 4 trials"), "{told}");
}

#[test]
fn what_cannot_be_predicted_is_named_before_anything_runs() {
    let room = Room::new();
    let matrix = format!("matrix: {{ engine: [emulate, predict], {DELAYS} }}");
    let write = |more: &str, schemes: &str| {
        let path = recipe(room.folder.path(), more, "size: 160x90, codec: h264, ");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("schemes: [direct]", schemes)).unwrap();
        path
    };
    let path = write(&matrix, "schemes: [direct, hls]");
    let told = room.sweep(&path, &["--dry-run"], 0);
    assert!(told.contains("and 2 trials more: scheme hls is not in the model"), "{told}");
    // Three delays: direct by both engines, hls measured alone.
    assert!(told.contains("6 points, once each, 9 trials") && told.contains("of them predicted: 3, "), "{told}");
    let told = room.sweep(&path, &[], 4);
    assert!(told.contains("needs root"), "{told}");
    assert!(told.find("not in the model") < told.find("needs root"), "{told}");
    let path = write("engine: predict", "schemes: [hls]");
    let told = room.sweep(&path, &[], 3);
    assert!(told.contains("no trial of it can be predicted"), "{told}");
    assert!(!room.results().join("tiny").exists());

    let path = write("engine: predict", "schemes: [direct]");
    let told = room.does(&["run", "--dry-run", path.to_str().unwrap()], 2);
    assert!(told.contains("livectl predict ") && told.contains("livectl sweep "), "{told}");
    // Whoever predicts a recipe with both engines has each point once.
    let path = write(&matrix, "schemes: [direct]");
    let own = room.results().join("own");
    room.does(&["predict", "--results", own.to_str().unwrap(), path.to_str().unwrap()], 0);
    let runs = RunDir::find(&own).unwrap().runs;
    assert_eq!(Manifest::load(&RunDir::open(&runs[0]).unwrap()).unwrap().trials.len(), 3);
}

#[test]
fn a_long_prediction_is_interrupted_and_ended_at_its_deadline() {
    let room = Room::new();
    let path = recipe(room.folder.path(), "engine: predict", "size: 160x90, ");
    let text = std::fs::read_to_string(&path).unwrap();
    // An hour's worth of packets for thirty viewers: nobody waits for that.
    let text =
        text.replace("count: 1", "count: 30").replace("frames: 60", "frames: 3000").replace("end: 4 s", "end: 120 s");
    let text = text.replace("bitrate: 300 kbit/s", "bitrate: 2 Mbit/s").replace("4 Mbit/s", "200 Mbit/s");
    std::fs::write(&path, text).unwrap();
    let results = room.results();
    let mut child = room
        .livectl(&["sweep", "--results", results.to_str().unwrap(), path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("predicting") {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let asked = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    std::io::Read::read_to_string(&mut lines, &mut seen).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{seen}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let dir = room.dir();
    assert_eq!((dir.done().unwrap().len(), dir.tried().unwrap()), (0, Vec::new()), "nothing is left of it");

    let told = room.sweep(&path, &["--trial-deadline", "1s"], 1);
    assert!(told.contains("longer than --trial-deadline allows") && told.contains("1 failed"), "{told}");
    let told = room.sweep(&path, &["--dry-run"], 0);
    assert!(told.contains("0 done, 1 given up, 0 to try"), "{told}");
    let told = room.sweep(&path, &["--dry-run", "--retry-failed"], 0);
    assert!(told.contains("1 to try"), "{told}");
}

/// A figure over fewer viewers than there were is a wrong figure.
#[test]
fn a_table_of_a_trial_that_was_cut_or_lost_is_named_and_not_passed_over() {
    let room = Room::new();
    let path = recipe(room.folder.path(), &format!("engine: predict\nmatrix: {{ {DELAYS} }}"), "size: 160x90, ");
    room.sweep(&path, &[], 0);
    let dir = room.dir();
    let folder = dir.path().display().to_string();
    let plot = ["plot", "--plot", "sweep", "--text", folder.as_str()];
    room.does(&plot, 0);
    let trial = dir.done().unwrap().first().unwrap().clone();
    let summary = dir.trials().join(&trial).join("summary.csv");
    let whole = std::fs::read_to_string(&summary).unwrap();

    // What git makes of it is the same.
    std::fs::write(&summary, whole.replace('\n', "\r\n")).unwrap();
    room.does(&plot, 0);
    std::fs::write(&summary, &whole[..whole.find('\n').unwrap() + 1]).unwrap();
    for words in [&plot[..], &["analyze", &folder], &["report", &folder]] {
        let told = room.does(words, 5);
        assert!(told.contains(&trial) && told.contains("when it was stored"), "{words:?}: {told}");
    }
    std::fs::remove_file(&summary).unwrap();
    let told = room.does(&plot, 5);
    assert!(told.contains(&trial) && told.contains("it was stored and is gone"), "{told}");
    std::fs::write(&summary, whole.replacen("direct", "bypass", 1)).unwrap();
    let told = room.does(&plot, 5);
    assert!(told.contains("its content is not what was stored"), "{told}");
    std::fs::write(&summary, &whole).unwrap();
    room.does(&plot, 0);

    // The sweep's own tables are for people: compared, and made again.
    let own = dir.path().join("summary.csv");
    let whole = std::fs::read_to_string(&own).unwrap();
    room.does(&["verify", &folder], 0);
    let edited = whole.replacen("sweep", "swept", 1).replacen(",60,", ",61,", 1);
    assert_ne!(edited, whole);
    for wrong in [edited.as_str(), &whole[..whole.len() / 2]] {
        std::fs::write(&own, wrong).unwrap();
        let told = room.does(&["verify", &folder], 1);
        assert!(told.contains("the run's summary.csv"), "{told}");
        room.does(&["analyze", &folder], 0);
        assert_eq!(std::fs::read_to_string(&own).unwrap(), whole);
        room.does(&["verify", &folder], 0);
    }
    // A record that contradicts its plan.
    let record = dir.trials().join(&trial).join("record.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("\"repetition\":1", "\"repetition\":2", 1)).unwrap();
    let told = room.does(&plot, 5);
    assert!(told.contains("record.json") && told.contains("than its plan"), "{told}");
    std::fs::write(&record, &text[..text.len() / 2]).unwrap();
    let told = room.does(&plot, 5);
    assert!(told.contains("it ends in the middle"), "{told}");
}
