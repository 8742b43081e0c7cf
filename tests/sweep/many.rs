//! A sweep of thousands of trials that nobody ran: its folder with all the tables that trials leave, and what it
//! costs those who look at it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use livectl::plan::delivery::Via;
use livectl::plan::{Datapath, LinkKind, Plan, Trial};
use livectl::run::event::Phase;
use livectl::store::{
    Choice, Machine, Manifest, Owner, RecipeRecord, RunDir, Software, SweepDir, SweepFile, TrialRecord, TrialState,
};
use livectl::sweep::identity::{identified, planned};
use livectl::sweep::session::{Did, Session};
use livectl::table::{self, FrameRow, PingRow, ViewerFacts};

use super::{livectl as command, recipe, text};

const LINK: LinkKind = LinkKind::Emulated;
const DATAPATH: Datapath = Datapath::User;
/// Of each trial's stream.
const FRAMES: u32 = 90;

/// A sweep in `folder` with ten repetitions of `delays` times `bandwidths` points, of which the first trial alone is
/// still to come.
pub fn fabricated(folder: &Path, delays: u32, bandwidths: u32) -> (PathBuf, SweepDir) {
    let results = folder.join("results");
    let numbers = |n: u32, unit: &str| (1..=n).map(|n| format!("{n} {unit}")).collect::<Vec<_>>().join(", ");
    let matrix = format!(
        "repetitions: 10\nmatrix: {{ network.hosts.hs.link.delay: [{}], network.hosts.hb.link.bandwidth: [{}] }}",
        numbers(delays, "ms"),
        numbers(bandwidths, "Mbit/s")
    );
    let path = recipe(folder, &matrix, "size: 160x90, ");
    let begun = Instant::now();
    let loaded = livectl::recipe::load(&path).unwrap();
    let plan = identified(loaded.plan, LINK, DATAPATH).unwrap();
    assert_eq!(plan.trials.len(), 10 * (delays * bandwidths) as usize);
    println!("{} trials; recipe to trials with ids: {:?}", plan.trials.len(), begun.elapsed());
    let dir = SweepDir::of(&results, "tiny").unwrap();
    dir.create(Owner::Process).unwrap();
    let why = || "asked for".to_owned();
    let file = SweepFile {
        format: 1,
        livectl: Software::of_this_livectl(),
        command: Vec::new(),
        recipe: RecipeRecord { name: "tiny".into(), path: None, text: loaded.text },
        description: String::new(),
        seed: plan.seed,
        written: jiff::Timestamp::now(),
        machine: Machine::default(),
        tools: std::collections::BTreeMap::new(),
        link: Choice { asked: LINK, used: LINK, why: why() },
        datapath: Choice { asked: DATAPATH, used: DATAPATH, why: why() },
        until: None,
        model: None,
        trials: planned(&plan),
    };
    file.save(&dir).unwrap();
    log(&dir, &plan);
    // All but one are done.
    let (next, trials) = (AtomicUsize::new(1), &plan.trials);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                    store(&dir, trial);
                }
            });
        }
    });
    (path, dir)
}

fn log(dir: &SweepDir, plan: &Plan) {
    let count = plan.trials.len();
    let mut session = Session::begin(dir, Owner::Process, count, count).unwrap();
    for trial in &plan.trials[1..] {
        session.write(Did::TrialStarted { trial: trial.id.clone(), attempt: "a".into() }).unwrap();
        for phase in [Phase::Boot, Phase::Measure, Phase::Ready, Phase::Stream, Phase::Stop, Phase::Prove] {
            session.write(Did::Phase { trial: trial.id.clone(), phase }).unwrap();
        }
        let did = Did::TrialEnded {
            trial: trial.id.clone(),
            state: TrialState::Done,
            cause: None,
            unfit: Vec::new(),
            damage: Vec::new(),
            planned_s: 4.0,
            took_s: 6.0,
            commit_s: 0.1,
            planned_bytes: 100,
            bytes: 200,
            predicted: false,
        };
        session.write(did).unwrap();
    }
    session.write(Did::SessionEnded { why: "done".into() }).unwrap();
}

/// A trial's folder: record, plan and tables.
fn store(dir: &SweepDir, trial: &Trial) {
    let place = RunDir::open(dir.path()).unwrap().trial(&trial.id);
    std::fs::create_dir(place.path()).unwrap();
    let record = TrialRecord { state: TrialState::Done, zero_ns: Some(ZERO_NS), ..TrialRecord::planned(trial) };
    std::fs::write(place.record(), serde_json::to_vec(&record).unwrap()).unwrap();
    std::fs::write(place.plan(), serde_json::to_vec(trial).unwrap()).unwrap();
    let frames = frames(trial);
    let facts = ViewerFacts {
        stream: "hb".into(),
        viewer: "hv1".into(),
        born: FRAMES,
        captured: true,
        ..ViewerFacts::default()
    };
    let summary = table::summarise(&record, std::slice::from_ref(&facts), &frames);
    let playouts = table::playouts(&record, &[facts], &frames);
    let audience = table::audiences(&record, trial, &[], &summary, &frames);
    let pings: Vec<PingRow> = Vec::new();
    table::write_trial(&place, &frames, &pings, &summary, &playouts, &audience).unwrap();
}

const ZERO_NS: i64 = 1_795_389_420_000_000_000;

/// More delay is more delay, less bandwidth is more, and some of it is luck.
fn frames(trial: &Trial) -> Vec<FrameRow> {
    let mut luck = fastrand::Rng::with_seed(trial.seed ^ trial.id.len() as u64 ^ u64::from(trial.id.as_bytes()[9]));
    let measure = |name: &str| {
        let text = trial.point.parameters.get(name).unwrap();
        text.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let delay = 2.0 * measure("network.hosts.hs.link.delay");
    let slow = 60.0 / measure("network.hosts.hb.link.bandwidth");
    let shared = 5.0 * luck.f64();
    (0..FRAMES)
        .map(|index| {
            let excess = 10.0 + delay + slow * (1.0 + f64::from(index % 30) / 30.0) + shared + luck.f64();
            let birth_ns = ZERO_NS + 1_000_000_000 + i64::from(index) * 33_333_333;
            let arrival_ns = birth_ns + ((20.0 + excess) * 1e6) as i64;
            FrameRow {
                trial: trial.id.clone(),
                point: trial.point.clone(),
                stream: "hb".into(),
                viewer: "hv1".into(),
                index: index.into(),
                timestamp_ms: index * 33,
                size_bytes: 1000 + index,
                keyframe: index.is_multiple_of(30),
                id: format!("{:032x}", (u128::from(luck.u64(..)) << 64) | u128::from(index)),
                birth_ns,
                arrival_ns: Some(arrival_ns),
                via: Some(Via::Cdn),
                copies: 1,
                delay_ms: Some(20.0 + excess),
                floor_ms: Some(20.0),
                excess_ms: Some(excess),
                time_s: 1.0 + f64::from(index) / 30.0,
                late: false,
                server: Some("hs".into()),
                sent_ns: Some(birth_ns + 1_000_000),
                cdn_arrival_ns: Some(birth_ns + 9_000_000),
                cdn_departure_ns: Some(birth_ns + 10_000_000),
                queue_ms: Some(1.0),
                uplink_ms: Some(8.0),
                dwell_ms: Some(1.0),
                downlink_ms: Some(10.0 + excess),
                transfer_ms: None,
                stream_floor_ms: Some(20.0),
                stream_excess_ms: Some(excess),
                relay_ms: None,
                hops: Some(1),
                relays: Some("hs".into()),
                spell: Some(1),
                chunking_ms: None,
                polling_ms: None,
                segment: None,
            }
        })
        .collect()
}

/// `cargo test --release --test sweep -- --ignored --nocapture` tells what a thousand and ten thousand trials cost
/// those who look at them: seconds, and the most memory (`/usr/bin/time`). With `LIVECTL_MANY=FOLDER` the sweeps are
/// left there, and taken from there.
#[test]
#[ignore = "it makes eleven thousand folders, and its times mean something on a quiet machine alone"]
fn ten_thousand_trials() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("LIVECTL_MANY").map(PathBuf::from);
    for (delays, bandwidths) in [(10, 10), (50, 20)] {
        let count = 10 * delays * bandwidths;
        let folder = kept.as_deref().unwrap_or(temporary.path()).join(count.to_string());
        let there = SweepDir::open(&folder.join("results/tiny")).map(|dir| (folder.join("tiny.yaml"), dir));
        let (recipe, dir) = there.unwrap_or_else(|_| {
            std::fs::create_dir_all(&folder).unwrap();
            fabricated(&folder, delays, bandwidths)
        });
        look(&folder, &recipe, &dir, count as usize);
    }
}

fn look(folder: &Path, recipe: &Path, dir: &SweepDir, count: usize) {
    let results = folder.join("results");
    let timed = |words: &[&str]| {
        let begun = Instant::now();
        let output = command(words, &results).output().unwrap();
        println!("{words:?}: {:.2} s", begun.elapsed().as_secs_f64());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        text(&output)
    };
    let done = count - 1;
    let told = timed(&["status", "tiny"]);
    assert!(told.contains(&format!("{done} of {count} trials are done, 1 to come")), "{told}");
    let recipe = recipe.to_str().unwrap();
    let told = timed(&["sweep", "--dry-run", "--link", "emulated", "--datapath", "user", recipe]);
    assert!(told.contains(&format!("{count} trials: {done} done, 0 given up, 1 to try")), "{told}");
    let begun = Instant::now();
    let run = RunDir::open(dir.path()).unwrap();
    let manifest = Manifest::load(&run).unwrap();
    println!("what plots read first: {:.2} s", begun.elapsed().as_secs_f64());
    assert_eq!(manifest.trials.len(), done);
    let begun = Instant::now();
    let trials = manifest.trials.iter().map(|record| (record.id.as_str(), &record.point));
    let tables = table::SweepTables::of(&run, trials).unwrap();
    println!("the tables at the end of a sweep: {:.2} s", begun.elapsed().as_secs_f64());
    assert_eq!(tables.summary.len(), done);
    assert!(tables.effects.rows.iter().any(|row| row.real == Some(true)));
    drop((manifest, tables));
    look_at_tables(folder, dir);
}

/// What pictures, comparison and report cost.
fn look_at_tables(folder: &Path, dir: &SweepDir) {
    let out = folder.join("out");
    let sweep = dir.path().to_str().unwrap();
    for words in [
        &["plot", "--plot", "sweep"][..],
        &["plot", "--plot", "heat"],
        &["plot", "--plot", "cdf"],
        &["plot", "--plot", "all"],
        &["compare"],
        &["report"],
    ] {
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", "%e s, %M KiB at most", env!("CARGO_BIN_EXE_livectl")]).args(words).arg(sweep);
        match words[0] {
            "plot" => command.arg("--out").arg(&out),
            "report" => command.arg("--out").arg(out.join("report.html")),
            // With itself, for it has one scheme alone.
            _ => command.arg(sweep),
        };
        let output =
            command.output().expect("/usr/bin/time, of the package time, tells how much memory a program takes");
        let told = text(&output);
        println!("{words:?}: {}", told.lines().last().unwrap_or_default());
        assert!(matches!(output.status.code(), Some(0)), "{told}");
    }
}
