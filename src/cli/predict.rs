//! `livectl predict`: the predicted outcome of a recipe's trials, without a network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use clap::Args;

use super::RunArgs;
use super::exit::{Exit, Failure, WithExit};
use super::whole::whole;
use crate::parallel;
use crate::plan::{Plan, Scheme, Trial};
use crate::plot::{self, PlotError};
use crate::predict::folder::{self, Encoded, Frames, moved};
use crate::predict::{self, Unpredictable, crowd};
use crate::store::{
    self, Choice, Manifest, Owner, Predicted, RecipeRecord, RunDir, Software, TrialRecord, TrialState, write_atomic,
};
use crate::table;
use crate::trace::{Births, fewer_than_planned};
use crate::ui::{self, Progress};

pub(super) const EXAMPLES: &str = "\
Examples:
  livectl predict recipes/relay.yaml
  livectl predict results/p2p/20261122T231700Z                # to compare with it, from the same frames
  livectl predict --births results/relay/20261122T231700Z my-relay.yaml
  livectl predict --viewers 10,100,1000,10000,100000 recipes/relay.yaml   # the same recipe, larger audiences
  livectl compare results/p2p/20261122T231700Z results/p2p/20261201T101500Z
No root, no Mininet: a discrete-event model of the same plan, with the controller's own policies. The result is a run
like any other, marked as predicted. What the model covers, and how accurate it is: docs/prediction.md.";

/// Flags of `livectl predict`.
#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// Recipe files, or folders of measured runs (results/RECIPE/RUN)
    #[arg(required = true, value_name = "RECIPE|RUN")]
    recipes: Vec<PathBuf>,
    /// Take the frames of this measured run, instead of encoding the recipe's video
    #[arg(long, value_name = "RUN")]
    births: Option<PathBuf>,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Only these schemes of the recipe (direct, bypass, relay, multicast)
    #[arg(long = "scheme", value_name = "SCHEME", hide_possible_values = true)]
    schemes: Vec<Scheme>,
    /// Predict for N viewers, of whom each viewer of the recipe stands for an equal share (1 to 1,000,000; several
    /// with commas)
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = count)]
    viewers: Vec<usize>,
    /// How often to predict each scheme, overriding the recipe
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1000))]
    repetitions: Option<u32>,
    /// Seed of jitter, loss, and comings and goings, overriding the recipe
    #[arg(long, value_name = "SEED", value_parser = whole::<u64>(0..=u64::MAX))]
    seed: Option<u64>,
}

/// Viewers times frames from which on a trial is predicted alone.
const LARGE: usize = 100_000_000;
/// The same from which on it may take so long that people want to know what is being done.
const TOLD: usize = 5_000_000;

/// What is to be predicted.
struct Task {
    recipe: RecipeRecord,
    plan: Plan,
    seed: u64,
    /// Whose frames are taken; `None`: the encoder's.
    frames: Option<RunDir>,
}

/// A number as people write it: 100000, 100,000 is two numbers, 100_000 and 1e5 are one.
fn count(text: &str) -> Result<usize, String> {
    let plain: String = text.trim().chars().filter(|c| *c != '_').collect();
    let whole = plain.parse().ok().or_else(|| {
        let number: f64 = plain.parse().ok().filter(|_| plain.contains(['e', 'E']))?;
        // Exact below 2⁵³, and what is no whole number is none.
        (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as usize)
    });
    match whole {
        Some(count @ 1..=crowd::MOST) => Ok(count),
        _ => Err(format!("a number of viewers is expected, 1 to {}, as in 100000, 100_000 or 1e5", crowd::MOST)),
    }
}

/// Predicts the trials of recipes or of measured runs.
pub(super) fn predict(args: &PredictArgs) -> Result<Exit, Failure> {
    let mut exits = Vec::new();
    for path in &args.recipes {
        let exit = task(args, path).and_then(|task| run(args, task)).unwrap_or_else(|failure| {
            if failure.error.is_some() {
                ui::warn(&format!("{}: {failure}", path.display()));
            }
            failure.exit
        });
        exits.push(exit);
    }
    Ok(Exit::worst(exits.into_iter()))
}

fn task(args: &PredictArgs, path: &Path) -> Result<Task, Failure> {
    let frames = args.births.as_deref().map(measured).transpose()?;
    if path.is_dir() {
        let run = measured(path)?;
        let manifest = Manifest::load(&run).exit(Exit::Results)?;
        let mut plan = manifest.plan;
        if args.seed.is_some() || args.repetitions.is_some() {
            plan = plan
                .repeated(args.repetitions, args.seed)
                .map_err(|why| Failure::new(Exit::Usage, anyhow!("{why}")))?;
        }
        let seed = args.seed.unwrap_or(manifest.seed);
        plan.trials.retain(|trial| args.schemes.is_empty() || args.schemes.contains(&trial.point.scheme));
        if plan.trials.is_empty() {
            return Err(Failure::new(Exit::Usage, anyhow!("it has no trials of these schemes")));
        }
        return Ok(Task { recipe: manifest.recipe, plan, seed, frames: frames.or(Some(run)) });
    }
    let asked = RunArgs {
        recipes: vec![path.to_owned()],
        dry_run: false,
        results: args.results.clone(),
        jobs: 1,
        link: None,
        datapath: None,
        schemes: args.schemes.clone(),
        repetitions: args.repetitions,
        seed: args.seed,
        is_sweep: true,
    };
    let loaded = super::recipes::load(&asked, path)?;
    for warning in &loaded.warnings {
        ui::warn(&format!("{}: warning: {warning}", path.display()));
    }
    let recipe = RecipeRecord {
        name: loaded.plan.recipe.clone(),
        path: Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
        text: std::fs::read_to_string(path).exit(Exit::Recipe)?,
    };
    Ok(Task { recipe, seed: loaded.plan.seed, plan: loaded.plan, frames })
}

/// A run whose frames can be taken.
fn measured(path: &Path) -> Result<RunDir, Failure> {
    let run = RunDir::open(path).exit(Exit::Results)?;
    let manifest = Manifest::load_brief(&run).exit(Exit::Results)?;
    match manifest.predicted.is_some() || manifest.imported.is_some() || run.is_sweep() {
        true => {
            let what = if run.is_sweep() {
                "is a sweep: `--births` takes a run, and frames of a sweep's trials cannot be taken"
            } else {
                "is no measured run: it has no frames of its own to predict with"
            };
            let why = anyhow!("{} {what}", path.display());
            Err(Failure::new(Exit::Results, why))
        }
        false => Ok(run),
    }
}

fn run(args: &PredictArgs, mut task: Task) -> Result<Exit, Failure> {
    // A recipe may have a point as measured and as predicted, which are the same here.
    let mut known = BTreeSet::new();
    task.plan.trials.retain(|trial| known.insert(trial.point.as_predicted()));
    // What the model does not cover is left out and named, so that the rest of a recipe can be predicted.
    let mut told: Vec<Unpredictable> = Vec::new();
    let are_stored = task.frames.is_some();
    if !args.viewers.is_empty() {
        let mut sizes = args.viewers.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let all = |trial: &Trial| sizes.iter().map(|viewers| crowd::scaled(trial, *viewers)).collect::<Vec<_>>();
        task.plan.trials = task.plan.trials.iter().flat_map(all).collect();
    }
    let holds = |trial: &Trial| match trial.crowd {
        Some(viewers) => crowd::holds(trial, are_stored, viewers),
        None => predict::holds(trial, are_stored),
    };
    task.plan.trials.retain(|trial| match holds(trial) {
        Ok(()) => true,
        Err(why) => {
            if !told.contains(&why) {
                ui::warn(&format!("{} is left out: {why}", trial.id));
                told.push(why);
            }
            false
        }
    });
    if task.plan.trials.is_empty() {
        return Err(Failure::new(Exit::Recipe, anyhow!("no trial of it can be predicted")));
    }
    let now = jiff::Timestamp::now();
    let zero_ns = i64::try_from(now.as_nanosecond()).unwrap_or_default();
    let frames = frames(&task, zero_ns)?;
    for trial in &mut task.plan.trials {
        trial.point = trial.point.as_predicted();
        trial.links = predict::LINKS;
        trial.id = trial.point.id();
    }

    let owner = Owner::of_this_process().exit(Exit::Results)?;
    let results = super::run::results_folder(&args.results)?;
    let run = RunDir::create(&results, &task.plan.recipe, now, owner).exit(Exit::Results)?;
    let _settled = owner.settle_when_done(run.path());
    let mut manifest =
        Manifest::new(&run, task.recipe, task.plan.clone(), task.seed, Software::of_this_livectl(), now);
    manifest.command = super::run::command_line();
    let births = task.frames.as_ref().map(|run| run.path().display().to_string());
    manifest.predicted = Some(Predicted { model: predict::MODEL, births });
    manifest.link = Some(Choice { asked: predict::LINKS, used: predict::LINKS, why: "the model's".to_owned() });
    write_atomic(&run.recipe(), manifest.recipe.text.as_bytes()).exit(Exit::Results)?;
    manifest.save(&run).exit(Exit::Results)?;

    let progress = Progress::new("predicting", task.plan.trials.len() as u64);
    let work: Vec<(&Trial, &Frames)> = task.plan.trials.iter().zip(&frames).collect();
    // Each trial is computed by one thread, so that nothing depends on how many there are. Large ones, which need gigabytes, come one after the other.
    let frames_of = |trial: &Trial| trial.crowd.unwrap_or_default().saturating_mul(trial.video.frames as usize);
    let is_large = |trial: &Trial| frames_of(trial) > LARGE;
    let predict = |(trial, frames): &(&Trial, &Frames)| {
        if frames_of(trial) > TOLD {
            let (viewers, frames) = (trial.crowd.unwrap_or_default(), trial.video.frames);
            progress.say(&format!("{}: {viewers} viewers, {frames} frames", trial.point));
        }
        let made = one(&run, trial, frames, zero_ns);
        progress.step();
        made
    };
    let predicted: Vec<_> = match task.plan.trials.iter().any(is_large) {
        true => work.iter().map(predict).collect(),
        false => parallel::map(&work, predict),
    };
    drop(progress);
    let mut dropped = 0;
    for ((record, trial), made) in manifest.trials.iter_mut().zip(&mut manifest.plan.trials).zip(predicted) {
        let (made, planned, lost) = made?;
        (*record, *trial, dropped) = (made, planned, dropped + lost);
    }
    manifest.ended = Some(jiff::Timestamp::now());
    let _whole = store::writing();
    let gathered = table::gather(&run, task.plan.trials.iter().map(|trial| trial.id.as_str())).exit(Exit::Results)?;
    manifest.record_files(&run).exit(Exit::Results)?;
    manifest.save(&run).exit(Exit::Results)?;
    // Where nothing ever arrives there are tables, and nothing to draw.
    let drawn = match plot::draw_run(run.path(), &plot::Options::default()) {
        Ok(drawn) => drawn,
        // The tables have it all the same.
        Err(nothing @ PlotError::Empty { .. }) => plot::Drawn { pictures: Vec::new(), left_out: vec![nothing] },
        Err(error) => return Err(Failure::new(Exit::Results, error)),
    };

    let mut text = format!("{}\npredicted, not measured\n{}", run.path().display(), gathered.text(ui::width()));
    if dropped > 0 {
        text += &format!(
            "links dropped or lost {dropped} packets; how TCP makes up for it differs from trial to trial\n"
        );
    }
    if !gathered.crowds.is_empty() {
        let run = crate::shell_word::path(run.path());
        text += &format!("over the size of the audience: livectl plot --plot audience,offload {run}\n");
    }
    for picture in &drawn.pictures {
        text += &format!("{}\n", picture.display());
    }
    if let (true, Some(nothing)) = (drawn.pictures.is_empty(), drawn.left_out.first()) {
        text += &format!("{nothing}\n");
    }
    ui::print(text.trim_end())?;
    let is_unfit = manifest.trials.iter().any(|trial| !trial.unfit.is_empty());
    Ok(if is_unfit { Exit::Unfit } else { Exit::Done })
}

/// The frames of all trials, as if moment 0 of each was `zero_ns`.
fn frames(task: &Task, zero_ns: i64) -> Result<Vec<Frames>, Failure> {
    if let Some(run) = &task.frames {
        let manifest = Manifest::load(run).exit(Exit::Results)?;
        return task.plan.trials.iter().map(|trial| stored(run, &manifest, trial, zero_ns)).collect();
    }
    let encoded = Encoded::default();
    task.plan.trials.iter().map(|trial| encoded.frames(trial, zero_ns).exit(Exit::Machine)).collect()
}

/// Those of a measured trial: the same one, or else the first with the same scheme, or any.
fn stored(run: &RunDir, manifest: &Manifest, trial: &Trial, zero_ns: i64) -> Result<Frames, Failure> {
    let with_births = |record: &&TrialRecord| {
        let dir = run.trial(&record.id);
        let is_whole = record.state == TrialState::Done && record.damage.is_empty();
        is_whole
            && record.zero_ns.is_some()
            && trial.streams.iter().all(|stream| dir.births(&stream.broadcaster).exists())
    };
    let same_video = |record: &&TrialRecord| {
        let known = manifest.plan.trials.iter().find(|known| known.id == record.id);
        known.is_some_and(|known| {
            known.video == trial.video && known.timeline.broadcast_at == trial.timeline.broadcast_at
        })
    };
    let candidates: Vec<&TrialRecord> = manifest.trials.iter().filter(with_births).filter(same_video).collect();
    let alike = |record: &&&TrialRecord| record.point.scheme == trial.point.scheme;
    let same = candidates.iter().find(|record| record.id == trial.id);
    let Some(record) = same.or_else(|| candidates.iter().find(alike)).or(candidates.first()) else {
        let why = anyhow!(
            "{} has no whole trial with the same video from the same moment, by {}",
            run.path().display(),
            names(trial)
        );
        return Err(Failure::new(Exit::Results, why));
    };
    let (dir, before) = (run.trial(&record.id), record.zero_ns.unwrap_or_default());
    let read = |stream: &crate::plan::Stream| {
        let path = dir.births(&stream.broadcaster);
        let name = format!("births/{}.csv", stream.broadcaster);
        if let Some(what) = store::altered(dir.path(), &record.files, |file| file == name).first() {
            return Err(Failure::new(Exit::Results, anyhow!("{}: {what}", dir.path().display())));
        }
        let births = crate::file::open(&path)
            .and_then(|file| Births::read(std::io::BufReader::new(file)))
            .map_err(|error| Failure::new(Exit::Results, anyhow!("{}: {error}", path.display())))?;
        match births.problems.first() {
            Some(problem) => Err(Failure::new(Exit::Results, anyhow!("{}: {problem}", path.display()))),
            None if births.frames.is_empty() => {
                Err(Failure::new(Exit::Results, anyhow!("{}: it has no frames", path.display())))
            }
            None => match fewer_than_planned(trial, stream, births.frames.len(), || false) {
                Some(few) => Err(Failure::new(Exit::Results, anyhow!("{}: {few}", path.display()))),
                None => Ok(moved(births, zero_ns.saturating_sub(before))),
            },
        }
    };
    trial.streams.iter().map(read).collect()
}

fn names(trial: &Trial) -> String {
    trial.streams.iter().map(|stream| stream.broadcaster.as_str()).collect::<Vec<_>>().join(", ")
}

/// Predicts a trial and writes its folder. Returns its record, its plan as it was predicted, and how many packets never came out of a link.
fn one(run: &RunDir, trial: &Trial, frames: &Frames, zero_ns: i64) -> Result<(TrialRecord, Trial, u64), Failure> {
    let code = |why: Unpredictable| Failure::new(Exit::Recipe, anyhow!("{}: {why}", trial.id));
    let dir = run.trial(&trial.id);
    let predicted = folder::tabulated(&dir, trial, frames, zero_ns, &AtomicBool::new(false)).map_err(code)?;
    let (dropped, planned) = (predicted.dropped, predicted.trial.clone());
    Ok((folder::write(&dir, frames, predicted).exit(Exit::Results)?, planned, dropped))
}
