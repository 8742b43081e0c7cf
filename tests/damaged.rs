//! The commands that work on stored results, with the real program, on results that went through other hands.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use livectl::store::{FileRecord, Manifest, RunDir};

/// A run of the first livectl, without its trials' folders: they were deleted to save space.
const OLDEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runs/oldest/smoke/20261123T064313Z");

/// A small run with captures, of a livectl whose viewers had two players; a reader that gives other figures for it is
/// another reader.
const TWO_PLAYERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runs/two-players/islands/20261128T144835Z");

fn livectl(words: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livectl"));
    command.args(words).arg(path).stdin(Stdio::null());
    command
}

fn ends(words: &[&str], path: &Path) -> (i32, String, String) {
    let Output { status, stdout, stderr } = livectl(words, path).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A copy to break.
fn oldest(folder: &Path, name: &str) -> PathBuf {
    let run = folder.join(name);
    fs::create_dir_all(&run).unwrap();
    for entry in fs::read_dir(OLDEST).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), run.join(entry.file_name())).unwrap();
    }
    run
}

fn content(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(run).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn analyze_leaves_a_run_alone_whose_trials_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let run = oldest(folder.path(), "r");
    let before = content(&run);
    for words in [&["analyze"][..], &["analyze", "--force"]] {
        let (code, out, err) = ends(words, &run);
        assert_eq!(code, 5, "{err}");
        assert!(err.contains("direct-1/trial.json") && out.contains("bypass-1  hv1"), "{out}{err}");
        assert_eq!(content(&run), before);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_no_wait() {
    let folder = tempfile::tempdir().unwrap();
    let run = oldest(folder.path(), "r");
    fs::remove_file(run.join("frames.parquet")).unwrap();
    nix::unistd::mkfifo(&run.join("frames.parquet"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (command, code) in [("report", 5), ("plot", 5), ("compare", 5), ("analyze", 5), ("verify", 5)] {
        let mut child = livectl(&[command], &run).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(30) {
                child.kill().unwrap();
                panic!("{command} waits for the pipe");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let err = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert_eq!(status.code(), Some(code), "{command}: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn a_run_that_a_link_leads_to_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    oldest(folder.path(), "run");
    std::os::unix::fs::symlink("run", folder.path().join("latest")).unwrap();
    let (code, out, err) = ends(&["compare"], folder.path());
    assert_eq!((code, out.contains("1 and 1 trials"), out.contains("runs")), (0, true, false), "{out}{err}");
}

#[test]
fn runs_that_are_no_repetitions_of_one_thing_are_not_pooled_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    oldest(folder.path(), "a");
    let other = oldest(folder.path(), "b").join("manifest.json");
    let text = fs::read_to_string(&other).unwrap();
    fs::write(&other, text.replacen("\"name\": \"smoke\"", "\"name\": \"fog\"", 1)).unwrap();
    // What has no tables is left out, and said to be.
    let untold = oldest(folder.path(), "c");
    fs::remove_file(untold.join("summary.csv")).unwrap();
    let (code, out, err) = ends(&["compare"], folder.path());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("(2 runs): schemes\nMIXED in ") && out.contains("recipe: fog, smoke"), "{out}");
    assert!(err.contains("c has no summary.csv") && err.contains("left out"), "{err}");
}

#[test]
fn nobody_to_tell_is_no_reason_to_panic() {
    let folder = tempfile::tempdir().unwrap();
    let run = oldest(folder.path(), "r");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let status = livectl(&["analyze"], &run).stdout(Stdio::null()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(5));
    let plot = ["plot", "--plot", "all", "--out", folder.path().to_str().unwrap()];
    assert_eq!(livectl(&plot, &run).stdout(Stdio::null()).stderr(full()).status().unwrap().code(), Some(0));
}

#[test]
fn conditions_that_nothing_meets_are_named() {
    let (code, _, err) = ends(&["plot", "--where", "viewer=nobody"], Path::new(OLDEST));
    assert_eq!((code, err.matches("meets the conditions of --where").count()), (5, 2), "{err}");
}

#[test]
fn an_interrupted_import_leaves_all_of_the_run_or_nothing() {
    use nix::sys::signal::{Signal, kill};
    let folder = tempfile::tempdir().unwrap();
    let mut import = vec!["import".to_owned(), "ping".to_owned()];
    for n in 0..20 {
        let pings = format!("64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time={n}.5 ms\n").repeat(2);
        let file = folder.path().join(format!("{n}.ping"));
        fs::write(&file, pings).unwrap();
        import.extend(["--bypass".to_owned(), file.display().to_string()]);
    }
    import.push("--results".to_owned());
    let words: Vec<&str> = import.iter().map(String::as_str).collect();
    let mut interrupted = 0;
    for round in 0..20 {
        let results = folder.path().join(format!("results-{round}"));
        let mut child = livectl(&words, &results).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(2 * round));
        kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        interrupted += u32::from(!child.wait().unwrap().success());
        let Ok(runs) = fs::read_dir(results.join("imported")) else { continue };
        for run in runs {
            let run = run.unwrap().path();
            let (code, out, _) = ends(&["verify"], &run);
            assert_eq!(code, 0, "{out}");
            assert!(run.join("delay-plot.png").exists(), "{round}");
            let parts = Command::new("find").arg(&run).args(["-name", "*.part"]).output().unwrap();
            assert_eq!(String::from_utf8(parts.stdout).unwrap(), "", "{round}");
        }
    }
    assert!(interrupted > 0, "no signal came in time");
}

/// Every value of every table of the run, computed again from its captures, against what an earlier livectl computed.
#[test]
fn the_captures_of_an_older_run_still_give_the_tables_that_were_stored_with_them() {
    let (code, out, err) = ends(&["verify"], Path::new(TWO_PLAYERS));
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("the tables of 2 trials recomputed"), "{out}");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("20261128T144835Z");
    let done = Command::new("cp").arg("-r").args([Path::new(TWO_PLAYERS), &copy]).status().unwrap();
    assert!(done.success());
    // A figure that was stored otherwise is told.
    let summary = copy.join("summary.csv");
    let text = fs::read_to_string(&summary).unwrap();
    fs::write(&summary, text.replacen(",75,0,", ",75,1,", 1)).unwrap();
    let (code, out, _) = ends(&["verify"], &copy);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("summary.csv: missing"), "{out}");
}

/// A copy of a folder with all that is in it.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copied(&path, &there);
        } else {
            fs::copy(&path, there).unwrap();
        }
    }
}

/// Every file below a folder.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files_of(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

#[test]
fn ends_of_lines_that_git_has_changed_change_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let [unix, windows] = ["unix", "windows"].map(|name| folder.path().join(name));
    for run in [&unix, &windows] {
        copied(Path::new(TWO_PLAYERS), run);
    }
    let is_text = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ["csv", "json", "jsonl", "yaml", "txt", "log"].contains(&ending)
    };
    let texts: Vec<PathBuf> = files_of(&windows).into_iter().filter(is_text).collect();
    assert!(texts.iter().any(|path| path.ends_with("births/hb.csv")), "{texts:?}");
    for path in &texts {
        let text = fs::read_to_string(path).unwrap().replace('\n', "\r\n");
        fs::write(path, text).unwrap();
    }
    // What is stored is read alike, before anything is computed anew.
    let [one, other] = [&unix, &windows].map(|run| ends(&["compare", run.to_str().unwrap()], run));
    assert_eq!((one.0, one.2), (other.0, other.2.replace("windows", "unix")));
    let [one, other] = [&unix, &windows].map(|run| ends(&["analyze"], run));
    assert_eq!((one.0, &one.2), (other.0, &other.2.replace("windows", "unix")));
    let is_table = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "parquet" || ending == "csv");
    let mut tables = 0;
    for table in files_of(&unix).iter().filter(is_table).filter(|path| !path.to_string_lossy().contains("births")) {
        let there = windows.join(table.strip_prefix(&unix).unwrap());
        assert_eq!(fs::read(table).unwrap(), fs::read(&there).unwrap(), "{}", there.display());
        tables += 1;
    }
    assert!(tables > 8, "{tables} tables");
}

/// A copy with the checksums of all its files, as runs have them today, and with tables of this livectl.
fn recorded(run: &Path) {
    copied(Path::new(TWO_PLAYERS), run);
    let (code, _, err) = ends(&["analyze"], run);
    assert_eq!(code, 6, "its trials are unfit: {err}");
    let dir = RunDir::open(run).unwrap();
    let mut manifest = Manifest::load(&dir).unwrap();
    for record in &mut manifest.trials {
        record.files = FileRecord::of_folder(dir.trial(&record.id).path()).unwrap();
    }
    manifest.save(&dir).unwrap();
}

/// A run's table as text.
fn summary(run: &Path) -> String {
    fs::read_to_string(run.join("summary.csv")).unwrap()
}

#[test]
fn copies_of_a_run_count_once() {
    let folder = tempfile::tempdir().unwrap();
    oldest(folder.path(), "a");
    let (_, alone, _) = ends(&["compare"], folder.path());
    for copy in ["b", "c"] {
        oldest(folder.path(), copy);
    }
    let (code, out, err) = ends(&["compare"], folder.path());
    assert!(code == 0 && out.contains("1 and 1 trials") && alone.contains("1 and 1 trials"), "{out}{err}");
    assert_eq!(err.matches("2 of its trials are in another of these runs, too").count(), 2, "{err}");
    let box_plot = ["plot", "--plot", "box", "--text", "--out", folder.path().to_str().unwrap()];
    let (code, out, err) = ends(&box_plot, folder.path());
    assert!(code == 0 && err.matches("counted once").count() == 2, "{out}{err}");
}

#[test]
fn nothing_is_computed_from_what_is_not_as_it_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let altered = |name: &str, alter: &dyn Fn(&Path)| -> PathBuf {
        let run = folder.path().join(name);
        recorded(&run);
        alter(&run.join("direct-1"));
        run
    };
    let births = "births/hb.csv";
    let earlier = |trial: &Path| {
        let text = fs::read_to_string(trial.join(births)).unwrap();
        let line = |line: &str| match line.rsplit_once(',') {
            Some((head, ns)) if ns.parse::<i64>().is_ok() => {
                format!("{head},{}\n", ns.parse::<i64>().unwrap() - 50_000_000)
            }
            _ => format!("{line}\n"),
        };
        fs::write(trial.join(births), text.lines().map(line).collect::<String>()).unwrap();
    };
    let run = altered("earlier", &earlier);
    let before = summary(&run);
    let (code, _, err) = ends(&["analyze"], &run);
    assert!(code == 5 && err.contains("births/hb.csv: its content is not what was stored"), "{err}");
    assert!(err.contains("its tables stay as they are") && summary(&run) == before, "{err}");
    // Whoever wants it all the same has it marked.
    let (code, _, err) = ends(&["analyze", "--force"], &run);
    assert!(code == 5 && summary(&run).contains("PARTIAL: births/hb.csv: its content"), "{err}{}", summary(&run));

    // Births of a day later: no delay of theirs means anything.
    let run = altered("other", &|trial| {
        let text = fs::read_to_string(trial.join(births)).unwrap();
        let line = |line: &str| match line.rsplit_once(',') {
            Some((head, ns)) if ns.parse::<i64>().is_ok() => {
                format!("{head},{}\n", ns.parse::<i64>().unwrap() + 86_400_000_000_000)
            }
            _ => format!("{line}\n"),
        };
        fs::write(trial.join(births), text.lines().map(line).collect::<String>()).unwrap();
    });
    for words in [&["analyze"] as &[&str], &["analyze", "--force"]] {
        let (code, _, err) = ends(words, &run);
        assert!(code == 5 && err.contains("of its frames arrived more than a second before their births"), "{err}");
        assert_eq!(summary(&run), before);
    }

    // Another path's pings.
    let run = altered("pings", &|trial| {
        let mut pings = files_of(&trial.join("ping"));
        pings.sort();
        fs::copy(&pings[0], &pings[pings.len() - 1]).unwrap();
    });
    let (code, _, err) = ends(&["analyze"], &run);
    assert!(code == 5 && err.contains("it pinged 10.0.1.2, which is no address of hv2"), "{err}");

    // The folders of two trials exchanged.
    let run = altered("exchanged", &|_| {});
    fs::rename(run.join("direct-1"), run.join("x")).unwrap();
    fs::rename(run.join("bypass-1"), run.join("direct-1")).unwrap();
    fs::rename(run.join("x"), run.join("bypass-1")).unwrap();
    let (code, _, err) = ends(&["analyze"], &run);
    assert!(code == 5 && err.contains("trial.json: it is the plan of bypass-1 and not of direct-1"), "{err}");
    assert_eq!(summary(&run), before);

    // A manifest that contradicts itself.
    let run = altered("edited", &|_| {});
    let manifest = run.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let at = text.rfind("\"scheme\": \"bypass\"").unwrap();
    fs::write(&manifest, format!("{}\"scheme\": \"relay\"{}", &text[..at], &text[at + 18..])).unwrap();
    for command in ["plot", "report", "analyze", "verify"] {
        let (code, out, err) = ends(&[command], &run);
        assert!(code == 5 && err.contains("than its plan"), "{command}: {out}{err}");
    }
}

#[test]
fn a_table_that_was_edited_is_not_read_whatever_its_lines_end_with() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    recorded(&run);
    let text = summary(&run);
    let digit = text.rfind(|c: char| c.is_ascii_digit()).unwrap();
    let other = if &text[digit..=digit] == "1" { "2" } else { "1" };
    let edited = format!("{}{other}{}", &text[..digit], &text[digit + 1..]);
    for text in [edited.clone(), edited.replace('\n', "\r\n")] {
        fs::write(run.join("summary.csv"), text).unwrap();
        for command in ["plot", "report", "compare"] {
            let plot = ["plot", "--plot", "box", "--include-unfit"];
            let words: &[&str] = if command == "plot" { &plot } else { &[command] };
            let (code, out, err) = ends(words, &run);
            assert!(code == 5 && err.contains("summary.csv"), "{command}: {out}{err}");
        }
    }
}
