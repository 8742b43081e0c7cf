//! `livectl plot` on stored runs, with the real program: what comes out, where, and what is said of what does not.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use livectl::plan::delivery::Via;
use livectl::plan::{Scheme, Trial};
use livectl::store::{Manifest, Owner, RecipeRecord, RunDir, Software, TrialState};
use livectl::table::{self, FrameRow, PingRow, ViewerFacts};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn plot(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_livectl")).arg("plot").args(words).current_dir(HERE).output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

fn assert_ends(output: &Output, code: i32, says: &[&str]) {
    let (out, err) = said(output);
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    for word in says {
        assert!(err.contains(word), "{word:?} is not in:\n{err}");
    }
}

/// A CSV file without quotes: a map from column to text for each row.
fn csv(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines.map(|l| names.iter().zip(l.split(',')).map(|(n, v)| ((*n).to_owned(), v.to_owned())).collect()).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

/// A frame with all its parts; those of repetition n take n ms longer.
fn frame(trial: &Trial, viewer: &str, index: u32, delay_ms: f64, via: Via) -> FrameRow {
    let birth_ns = 1_795_389_420_000_000_000 + i64::from(index) * 40_000_000;
    let delay_ms = delay_ms + f64::from(trial.point.repetition);
    #[allow(clippy::cast_possible_truncation)]
    let arrival_ns = birth_ns + (delay_ms * 1e6) as i64;
    let cdn = via == Via::Cdn;
    FrameRow {
        trial: trial.id.clone(),
        point: trial.point.clone(),
        stream: "hb".into(),
        viewer: viewer.into(),
        index: index.into(),
        timestamp_ms: index * 40,
        size_bytes: 4000,
        keyframe: index.is_multiple_of(10),
        // As random as a hash, so that the tables are as large as real ones.
        id: format!(
            "{:032x}",
            fastrand::Rng::with_seed(u64::from(trial.point.repetition * 100_000 + index)).u128(..)
        ),
        birth_ns,
        arrival_ns: Some(arrival_ns),
        via: Some(via),
        copies: 1,
        delay_ms: Some(delay_ms),
        floor_ms: Some(20.0),
        excess_ms: Some(delay_ms - 20.0),
        time_s: f64::from(index) * 0.04,
        late: false,
        server: Some(if via == Via::Cdn { "hs" } else { "hb" }.into()),
        sent_ns: Some(birth_ns + 5_000_000),
        cdn_arrival_ns: cdn.then_some(birth_ns + 30_000_000),
        cdn_departure_ns: cdn.then_some(birth_ns + 32_000_000),
        queue_ms: Some(5.0),
        uplink_ms: cdn.then_some(25.0),
        dwell_ms: cdn.then_some(2.0),
        downlink_ms: cdn.then_some(delay_ms - 32.0),
        transfer_ms: (!cdn).then_some(delay_ms - 5.0),
        stream_floor_ms: None,
        stream_excess_ms: None,
        relay_ms: (!cdn).then_some(0.0),
        hops: Some(u32::from(cdn)),
        relays: cdn.then(|| "hs".into()),
        spell: Some(1),
        chunking_ms: None,
        polling_ms: None,
        segment: None,
    }
}

/// Through the CDN frames take 80 ms, from peers 30 ms, each with a wave of ±5 ms.
fn frames(trial: &Trial, viewer: &str, count: u32) -> Vec<FrameRow> {
    let wave = |index: u32| f64::from(index % 11) - 5.0;
    let one = |index| match (trial.point.scheme, index) {
        (Scheme::Bypass, 30..) => frame(trial, viewer, index, 30.0 + wave(index), Via::Peer),
        _ => frame(trial, viewer, index, 80.0 + wave(index), Via::Cdn),
    };
    (0..count).map(one).collect()
}

/// Stores a run of the smoke recipe's network as `livectl run` leaves it.
fn stored(results: &Path, recipe: &str, repetitions: u32, count: u32, change: impl Fn(&mut Trial)) -> RunDir {
    let recipe_file = livectl::recipe::load(Path::new(HERE).join("recipes/smoke.yaml")).unwrap();
    let mut plan = recipe_file.plan;
    plan.recipe = recipe.to_owned();
    let models: Vec<Trial> = [Scheme::Direct, Scheme::Bypass]
        .iter()
        .map(|scheme| plan.trials.iter().find(|trial| trial.point.scheme == *scheme).unwrap().clone())
        .collect();
    plan.trials = (1..=repetitions)
        .flat_map(|repetition| models.iter().cloned().map(move |trial| (repetition, trial)))
        .map(|(repetition, mut trial)| {
            trial.point.repetition = repetition;
            trial.id = format!("{}-{repetition}", trial.point.scheme);
            change(&mut trial);
            trial
        })
        .collect();
    let now = "2026-11-22T23:17:00Z".parse().unwrap();
    let run = RunDir::create(results, recipe, now, Owner::Process).unwrap();
    let record = RecipeRecord { name: recipe.to_owned(), path: None, text: recipe_file.text };
    let mut manifest = Manifest::new(&run, record, plan.clone(), 1, Software::default(), now);
    manifest.trials.iter_mut().for_each(|trial| trial.state = TrialState::Done);
    manifest.save(&run).unwrap();
    let (mut all, mut summary, mut playouts) = (Vec::new(), Vec::new(), Vec::new());
    for trial in &plan.trials {
        let rows = frames(trial, "hv1", count);
        let facts = ViewerFacts {
            stream: "hb".into(),
            viewer: "hv1".into(),
            born: count,
            captured: true,
            cdn_bytes: Some(rows.iter().filter(|row| row.via == Some(Via::Cdn)).count() as u64 * 4000),
            peer_bytes: Some(rows.iter().filter(|row| row.via == Some(Via::Peer)).count() as u64 * 4000),
            viewer_bytes: Some(0),
            ..ViewerFacts::default()
        };
        let record = manifest.trial(&trial.id).unwrap();
        summary.extend(table::summarise(record, std::slice::from_ref(&facts), &rows));
        playouts.extend(table::playouts(record, &[facts], &rows));
        all.extend(rows);
    }
    table::write_frames(&run.frames(), &all).unwrap();
    table::write_summary(&run.summary(), &summary).unwrap();
    table::write_playouts(&run.playouts(), &playouts).unwrap();
    table::write_pings(&run.pings(), &pings(&plan.trials)).unwrap();
    run
}

fn pings(trials: &[Trial]) -> Vec<PingRow> {
    let row = |trial: &Trial, from: &str, to: &str, seq: u32, rtt_ms: f64| PingRow {
        trial: trial.id.clone(),
        point: trial.point.clone(),
        from: from.into(),
        to: to.into(),
        seq,
        sent_ns: None,
        time_s: f64::from(seq),
        rtt_ms: Some(rtt_ms),
        duplicate: false,
    };
    let trains = [("hb", "hs", 40.0), ("hs", "hv1", 40.0), ("hb", "hv1", 20.0)];
    let of = |trial: &Trial| -> Vec<PingRow> {
        (1..10).flat_map(|seq| trains.map(|(from, to, rtt)| row(trial, from, to, seq, rtt))).collect()
    };
    trials.iter().flat_map(of).collect()
}

/// Marks trials of a stored run as unfit, in its manifest and its summary.
fn unfit(run: &RunDir, ids: &[&str]) {
    let mut manifest = Manifest::load(run).unwrap();
    let mut summary = table::read_summary(&run.summary()).unwrap();
    for id in ids {
        manifest.trial_mut(id).unwrap().unfit = vec!["CPU pressure 31 %".into()];
        let row = summary.iter_mut().find(|row| row.trial == *id).unwrap();
        (row.fit, row.note) = (false, table::Note("UNFIT: CPU pressure 31 %".into()));
    }
    manifest.save(run).unwrap();
    table::write_summary(&run.summary(), &summary).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn one_run_gives_every_picture_its_table_and_its_file() {
    let results = tempfile::tempdir().unwrap();
    let run = stored(results.path(), "p2p", 3, 100, |_| {});
    let axes = ["--x", "repetition", "--y", "viewer"];
    let output = plot(&[&[text(run.path()), "--plot", "all", "--text", "--data", "csv"][..], &axes].concat());
    let (out, err) = said(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
    let of_runs =
        ["delay", "frame-delay", "cdf", "box", "parts", "stalls", "sources", "audience", "offload", "sweep", "heat"];
    let of_trials = ["tree", "servers"].map(|name| (1..=3).map(move |n| format!("{name}-plot-bypass-{n}")));
    for name in of_runs.iter().map(|name| format!("{name}-plot")).chain(of_trials.into_iter().flatten()) {
        let picture = run.path().join(format!("{name}.png"));
        assert!(out.lines().any(|line| line == text(&picture)), "{out}");
        assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"));
        assert!(run.path().join(format!("{name}.csv")).is_file(), "{name}");
    }
    assert!(out.contains("p2p: what the mean delay is made of\nscheme"), "{out}");

    let parts = csv(&run.path().join("parts-plot.csv"));
    assert_eq!(parts.iter().map(|row| row["scheme"].as_str()).collect::<Vec<_>>(), ["direct", "bypass"]);
    for row in &parts {
        let sum: f64 = ["queue", "uplink", "dwell", "downlink", "transfer"]
            .iter()
            .map(|p| number(row, &format!("{p}_mean_ms")))
            .sum();
        assert!((sum - number(row, "delay_mean_ms")).abs() < 0.01, "{row:?}");
        assert_eq!((number(row, "floor_mean_ms"), number(row, "trials")), (20.0, 3.0));
        assert!(number(row, "delay_mean_low_95_ms") < number(row, "delay_mean_high_95_ms"));
    }
    let sources = csv(&run.path().join("sources-plot.csv"));
    let shares: Vec<f64> = sources.iter().map(|row| number(row, "peer_offload")).collect();
    assert_eq!(shares, [0.0, 0.7], "70 of 100 frames");
    assert_eq!(number(&sources[1], "peer_frames"), 70.0);
    let audience = csv(&run.path().join("audience-plot.csv"));
    assert_eq!(number(&audience[0], "viewers"), 1.0);
    // Over the trials' medians: 80 and 1, 2, 3 ms.
    assert_eq!(number(&audience[0], "delay_p50_worst_ms"), 82.0);
    let servers = csv(&run.path().join("servers-plot-bypass-1.csv"));
    assert_eq!(servers.iter().map(|row| number(row, "frames")).sum::<f64>(), 100.0);
    let heat = csv(&run.path().join("heat-plot.csv"));
    let cells: Vec<(&str, f64)> = heat.iter().map(|row| (row["scheme"].as_str(), number(row, "trials"))).collect();
    assert_eq!(
        cells,
        [("direct", 1.0), ("direct", 1.0), ("direct", 1.0), ("bypass", 1.0), ("bypass", 1.0), ("bypass", 1.0)]
    );
    let summary = csv(&run.summary());
    let direct = |row: &&BTreeMap<String, String>| row["scheme"] == "direct";
    for (cell, row) in heat.iter().filter(direct).zip(summary.iter().filter(direct)) {
        assert_eq!(
            (number(cell, "repetition"), number(cell, "value")),
            (number(row, "repetition"), number(row, "excess_p95_ms"))
        );
    }
    let boxes = csv(&run.path().join("box-plot.csv"));
    assert_eq!((boxes[0]["viewer"].as_str(), number(&boxes[0], "delay_p50_ms")), ("hv1", 82.0), "80 and 1, 2, 3 ms");
    let cdf = csv(&run.path().join("cdf-plot.csv"));
    let within = |scheme: &str, ms: f64| {
        cdf.iter()
            .filter(|r| r["scheme"] == scheme && number(r, "delay_ms") <= ms)
            .map(|r| number(r, "share"))
            .fold(0.0, f64::max)
    };
    assert_eq!((within("direct", 70.0), within("bypass", 70.0), within("direct", 100.0)), (0.0, 0.7, 1.0));
    let stalls = csv(&run.path().join("stalls-plot.csv"));
    assert_eq!(
        stalls.iter().map(|row| number(row, "buffer_s")).collect::<Vec<_>>(),
        [0.0, 0.5, 1.0, 2.0, 0.0, 0.5, 1.0, 2.0]
    );
    assert_eq!(csv(&run.path().join("frame-delay-plot.csv")).len(), 600);
}

#[test]
fn a_folder_of_runs_is_swept_over_a_parameter_of_the_plan() {
    let results = tempfile::tempdir().unwrap();
    for mbit in [2_u64, 4, 8] {
        stored(results.path(), "p2p", 3, 60, |trial| trial.network.links[0].shape.bandwidth = Some(mbit * 1_000_000));
    }
    let recipe = results.path().join("p2p");
    std::fs::create_dir(recipe.join("figures")).unwrap();
    let words =
        ["--plot", "sweep,cdf", "--metric", "delay_p95_ms", "--where", "scheme=bypass", "--where", "repetition!=3"];
    let output = plot(&[&[text(&recipe), "--data", "csv"][..], &words].concat());
    assert_ends(&output, 0, &["figures: not a run, left out"]);
    // Without --out the pictures go where all these runs lie.
    let rows = csv(&recipe.join("sweep-plot.csv"));
    let key = "network.links.hb.shape.bandwidth";
    assert_eq!(rows.iter().map(|row| number(row, key)).collect::<Vec<_>>(), [2e6, 4e6, 8e6], "the one that differs");
    for row in &rows {
        assert_eq!(
            (row["scheme"].as_str(), row["metric"].as_str(), row["trials"].as_str()),
            ("bypass", "delay_p95_ms", "2")
        );
        assert!(number(row, "low_95") <= number(row, "value") && number(row, "value") <= number(row, "high_95"));
    }
    let words = [
        "--plot",
        "sweep",
        "--where",
        "network.links.hb.shape.bandwidth=4e6,8e6",
        "--by",
        "video.bitrate",
        "--x",
        key,
    ];
    let output = plot(&[&[text(&recipe), "--data", "parquet", "--format", "svg"][..], &words].concat());
    assert_eq!(output.status.code(), Some(0), "{:?}", said(&output));
    let svg = std::fs::read_to_string(recipe.join("sweep-plot.svg")).unwrap();
    assert!(
        svg.contains("network.links.hb.shape.bandwidth (Mbit/s)")
            && svg.contains("3 runs")
            && svg.contains("12 trials")
    );
    assert!(
        svg.contains("<polygon") && std::fs::read(recipe.join("sweep-plot.parquet")).unwrap().starts_with(b"PAR1")
    );
}

#[test]
fn unfit_trials_are_left_out_unless_asked_for_and_both_is_said() {
    let results = tempfile::tempdir().unwrap();
    let run = stored(results.path(), "p2p", 3, 60, |_| {});
    unfit(&run, &["direct-2"]);
    let svg = run.path().join("box-plot.svg");
    let words = [text(run.path()), "--plot", "box", "--format", "svg", "--data", "csv"];
    let output = plot(&words);
    assert_ends(
        &output,
        0,
        &["1 of 6 trials are unfit or partial and left out of comparisons (direct-2); --include-unfit"],
    );
    assert!(std::fs::read_to_string(&svg).unwrap().contains("5 of 6 trials: 1 unfit or partial left out"));
    assert_eq!(number(&csv(&run.path().join("box-plot.csv"))[0], "trials"), 2.0);
    let output = plot(&[&words[..], &["--include-unfit"]].concat());
    assert_eq!((output.status.code(), said(&output).1.as_str()), (Some(0), ""));
    let text = std::fs::read_to_string(&svg).unwrap();
    assert!(text.contains("direct-2 UNFIT: CPU pressure 31 %") && text.contains("direct (1 unfit or partial)"));
    assert_eq!(number(&csv(&run.path().join("box-plot.csv"))[0], "trials"), 3.0);
    unfit(&run, &["direct-1", "direct-3", "bypass-1", "bypass-2", "bypass-3"]);
    assert_ends(&plot(&words), 5, &["all 6 trials are unfit or partial; --include-unfit includes them"]);
}

#[test]
fn the_oldest_tables_are_drawn_and_what_they_lack_is_said() {
    let out = tempfile::tempdir().unwrap();
    let run = "tests/runs/oldest/smoke/20261123T064313Z";
    let output = plot(&[run, "--plot", "all", "--out", text(out.path()), "--data", "csv"]);
    assert_ends(
        &output,
        0,
        &["there is no parts-plot to draw", "there is no sweep-plot to draw: no parameter differs"],
    );
    for name in ["delay", "frame-delay", "cdf", "box", "stalls", "sources"] {
        assert!(out.path().join(format!("{name}-plot.png")).is_file(), "{name}");
    }
    // What summary.csv has had from the first.
    let medians: Vec<f64> =
        csv(&out.path().join("box-plot.csv")).iter().map(|row| number(row, "delay_p50_ms")).collect();
    assert!((medians[0] - 77.152).abs() < 1e-3 && (medians[1] - 24.208).abs() < 1e-3, "{medians:?}");
}

#[test]
fn pings_alone_are_drawn_and_the_rest_is_left_out_with_a_sentence() {
    let results = tempfile::tempdir().unwrap();
    let run = stored(results.path(), "import", 1, 10, |_| {});
    for file in [run.frames(), run.summary(), run.playouts()] {
        std::fs::remove_file(file).unwrap();
    }
    let output = plot(&[text(run.path()), "--plot", "all"]);
    assert_ends(
        &output,
        0,
        &["frame-delay-plot to draw: the run has no frames.parquet", "no cdf-plot to draw: the runs have no frames"],
    );
    assert_eq!(said(&output).0.lines().count(), 1, "the delay plot");
}

#[test]
fn wrong_keys_metrics_and_too_many_groups_are_explained() {
    let results = tempfile::tempdir().unwrap();
    let run = stored(results.path(), "p2p", 13, 12, |_| {});
    let run = text(run.path());
    assert_ends(
        &plot(&[run, "--plot", "cdf", "--by", "bitrate"]),
        2,
        &["no trial has \"bitrate\"", "did you mean video.bitrate"],
    );
    assert_ends(&plot(&[run, "--where", "schem=direct"]), 2, &["did you mean scheme"]);
    assert_ends(
        &plot(&[run, "--plot", "stalls", "--metric", "delay"]),
        2,
        &["no metric \"delay\"", "stalled, stalls, continuity"],
    );
    assert_ends(&plot(&[run, "--plot", "cdf", "--by", "trial"]), 5, &["26 groups are too many", "at most 24"]);
    assert_ends(&plot(&[run, "--x", "repetition"]), 2, &["--plot sweep"]);
    assert_ends(&plot(&[run, "--by", "viewer"]), 2, &["are for comparisons"]);
    assert_ends(&plot(&[run, "--plot", "box", "--where", "viewer=hv7"]), 5, &["no trial meets the conditions"]);
    assert_ends(&plot(&[text(results.path()), "nowhere", "--plot", "cdf"]), 5, &["nowhere"]);
}

/// Not a test of speed, for it asserts none: `cargo test --release --test plot -- --ignored --nocapture thousand`
/// says how long it takes to read the tables of 1,000 stored trials of 600 frames (ten runs, 50 repetitions of both
/// schemes) and to draw all are for comparisons them.
#[test]
#[ignore = "a benchmark"]
fn a_thousand_trials() {
    let results = tempfile::tempdir().unwrap();
    for step in 1..=10 {
        stored(results.path(), "sweep", 50, 600, |trial| {
            trial.network.links[0].shape.bandwidth = Some(step * 1_000_000);
        });
    }
    let families = ["cdf", "box", "parts", "stalls", "sources", "sweep"];
    for chosen in families.iter().map(|f| vec![*f]).chain([families.to_vec(), vec!["all"]]) {
        let out: PathBuf = results.path().join("out");
        let begin = Instant::now();
        let names = chosen.join(",");
        let output =
            plot(&[text(&results.path().join("sweep")), "--plot", &names, "--out", text(&out), "--data", "csv"]);
        println!("{:6.2} s  --plot {names}", begin.elapsed().as_secs_f64());
        assert_eq!(output.status.code(), Some(0), "{:?}", said(&output));
    }
    if let Some(keep) = std::env::var_os("LIVECTL_BENCH_KEEP") {
        std::fs::rename(results.keep(), keep).unwrap();
    }
}
