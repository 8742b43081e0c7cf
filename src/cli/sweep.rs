//! `livectl sweep`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum as _};
use tokio::sync::watch;

use super::RunArgs;
use super::exit::{Exit, Failure, WithExit};
use super::whole::whole;
use crate::plan::{Datapath, LinkKind, Plan, Until};
use crate::predict;
use crate::predict::refused::{Refused, refused};
use crate::recipe::Loaded;
use crate::run::{Job, Urgency};
use crate::sandbox::capability::{Capabilities, Choice, Places};
use crate::store::{self, Planned};
use crate::sweep::SweepError;
use crate::sweep::identity::identified;
use crate::sweep::keep::Keep;
use crate::sweep::outlook::Outlook;
use crate::sweep::pace::Span;
use crate::sweep::perform::{self, Request};
use crate::sweep::queue::{Policy, Stop};
use crate::sweep::report::{End, Report};
use crate::sweep::status::Failure as FailedTrial;
use crate::table::EstimateRow;
use crate::ui;

/// Trials that a dry run lists.
const LISTED: usize = 40;
/// Lines of the table of estimates; more are left to its file.
const ESTIMATES: usize = 40;
/// Lines of the table of failures.
const FAILURES: usize = 50;

/// The example lines of `livectl sweep --help`.
pub(super) const EXAMPLES: &str = "Examples:
  livectl sweep --dry-run recipes/overnight.yaml         # points, trials, time, disk
  sudo livectl sweep recipes/overnight.yaml
  sudo livectl sweep --keep failed --retry 1 --deadline 8h recipes/overnight.yaml
  sudo livectl sweep --retry-failed recipes/overnight.yaml
  livectl sweep --engine slurm --partition lab recipes/overnight.yaml     # one task for each trial
  livectl sweep --engine slurm --dry-run recipes/overnight.yaml           # what sbatch would get
  nohup sudo livectl sweep recipes/overnight.yaml > sweep.log &
Meanwhile, and from elsewhere:
  livectl status overnight; livectl logs -f overnight; livectl stop overnight
  livectl plot results/overnight --plot sweep --x bandwidth
A trial is done when its folder is in results/RECIPE/sweep/trials. The same command runs the others,
however the last one ended. After a change to the recipe it runs only what the change affects.";

/// Flags of `livectl sweep`.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// The recipe's file, or the name of a recipe that was installed with livectl
    #[arg(value_name = "RECIPE", value_parser = super::recipes::argument())]
    pub(super) recipe: PathBuf,
    /// Print points, trials, expected time and disk; run nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder for results
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub(super) results: PathBuf,
    /// Trials whose captures to keep: all; failed (those that failed, are unfit or damaged); none. The others' are deleted once the tables have been verified
    #[arg(long, value_name = "WHOSE", default_value = "all", hide_possible_values = true)]
    pub(super) keep: Keep,
    /// Retry a failed trial up to N times, after all others
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>(0..=u32::MAX.into()))]
    retry: u32,
    /// Retry an unfit trial (the machine did not keep up) up to N times, after all others
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>(0..=u32::MAX.into()))]
    retry_unfit: u32,
    /// Retry trials that earlier sessions gave up
    #[arg(long)]
    retry_failed: bool,
    /// Stop when a trial has failed for good
    #[arg(long)]
    fail_fast: bool,
    /// Stop when N trials have failed for good
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=u32::MAX.into()))]
    max_failures: Option<u32>,
    /// Start no trial that would end later than this: 90s, 45min, 8h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) deadline: Option<Duration>,
    /// Kill a trial that takes longer than this in total
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) trial_deadline: Option<Duration>,
    /// Kind of links, overriding the recipe (auto, netem, emulated)
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    link: Option<LinkKind>,
    /// Datapath of Open vSwitch, overriding the recipe (auto, kernel, user)
    #[arg(long, value_name = "DATAPATH", hide_possible_values = true)]
    datapath: Option<Datapath>,
    /// How often to run each point, overriding the recipe
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=1000))]
    repetitions: Option<u32>,
    #[command(flatten)]
    pub(super) slurm: super::slurm::SlurmArgs,
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3600,
        _ => return Err("write a whole number with its unit: 90s, 45min, 8h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number with its unit: 90s, 45min, 8h".to_owned())?;
    number
        .checked_mul(seconds)
        .filter(|seconds| (1..=365 * 86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "from 1 s to a year".to_owned())
}

impl SweepArgs {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            retry: self.retry,
            retry_unfit: self.retry_unfit,
            retry_failed: self.retry_failed,
            fail_fast: self.fail_fast,
            max_failures: self.max_failures,
        }
    }

    /// What is read of a recipe in the same way as for `livectl run`.
    fn as_run(&self) -> RunArgs {
        RunArgs {
            recipes: vec![self.recipe.clone()],
            dry_run: self.dry_run,
            results: self.results.clone(),
            jobs: 1,
            link: self.link,
            datapath: self.datapath,
            schemes: Vec::new(),
            repetitions: self.repetitions,
            seed: None,
            is_sweep: true,
        }
    }
}

/// Tries every point of a recipe.
pub(super) fn sweep(args: &SweepArgs) -> Result<Exit, Failure> {
    if args.dry_run {
        return dry_run(args);
    }
    if args.slurm.is_asked_for() {
        return super::slurm::submit(args);
    }
    if let Some(flag) = args.slurm.in_vain() {
        return Err(Failure::new(Exit::Usage, anyhow!("{flag} is for Slurm: add `--engine slurm`")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, run(args))
}

/// The recipe, without what the model does not cover.
fn load(args: &SweepArgs) -> Result<Loaded, Failure> {
    let mut loaded = super::recipes::load(&args.as_run(), &args.recipe)?;
    for warning in &loaded.warnings {
        ui::warn(&format!("{}: warning: {warning}", args.recipe.display()));
    }
    let refused = refused(&mut loaded.plan);
    for Refused { why, first, trials } in &refused {
        let more = match trials - 1 {
            0 => String::new(),
            1 => ", and one more trial".to_owned(),
            more => format!(", and {more} trials more"),
        };
        ui::warn(&format!("not predicted: {first}{more}: {why}"));
    }
    if loaded.plan.trials.is_empty() {
        return Err(Failure::new(Exit::Recipe, anyhow!("no trial of it can be predicted")));
    }
    Ok(loaded)
}

/// Whether none of the trials is played.
fn only_predicts(plan: &Plan) -> bool {
    plan.trials.iter().all(|trial| trial.point.is_predicted())
}

/// The job of a recipe on this machine.
pub(super) fn job(args: &SweepArgs, here: &Capabilities) -> Result<(Job, Option<Until>), Failure> {
    job_of(args, load(args)?, here)
}

fn job_of(args: &SweepArgs, loaded: Loaded, here: &Capabilities) -> Result<(Job, Option<Until>), Failure> {
    let played = loaded.plan.trials.iter().filter(|trial| !trial.point.is_predicted());
    let longest = played.map(|trial| trial.timeline.end).max().unwrap_or_default();
    if let Some(deadline) = args.trial_deadline.filter(|deadline| *deadline <= longest) {
        let (deadline, longest) = (ui::span(deadline), ui::span(longest));
        let why = anyhow!(
            "--trial-deadline {deadline} would kill trials in the middle: their timelines are up to {longest} long"
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    let until = loaded.until;
    let mut job = if args.slurm.is_asked_for() {
        super::slurm::job(args, loaded, here)?
    } else if only_predicts(&loaded.plan) {
        let why = || "the model's".to_owned();
        let links = (predict::LINKS, Choice { kind: predict::LINKS, why: why() });
        let datapath = (Datapath::User, Choice { kind: Datapath::User, why: why() });
        super::run::job_elsewhere(&args.results, &args.recipe, loaded, here, (links, datapath))?
    } else {
        super::run::job((&args.results, 1), &args.recipe, loaded, here)?
    };
    job.plan = identified(job.plan, job.links.1.kind, job.datapath.1.kind).exit(Exit::Results)?;
    Ok((job, until))
}

async fn run(args: &SweepArgs) -> Result<Exit, Failure> {
    let (urgency_in, urgency) = watch::channel(Urgency::None);
    tokio::task::spawn_local(super::run::heed_signals(urgency_in));
    let loaded = load(args)?;
    if !only_predicts(&loaded.plan) && !nix::unistd::geteuid().is_root() {
        let again = crate::actor::process::Command::new("sudo", super::run::command_line());
        return Err(Failure::new(Exit::Machine, anyhow!("running a network needs root; try: {again}")));
    }
    let places = Places { results: args.results.clone() };
    let here = tokio::task::spawn_blocking(move || Capabilities::probe(&places)).await?;
    let (job, until) = job_of(args, loaded, &here)?;
    let outlook = Outlook::of(&job, until).map_err(failure)?;
    warn_of_changes(&outlook);
    require_disk(args, &job, &outlook)?;
    let request = Request {
        job,
        until,
        policy: args.policy(),
        keep: args.keep,
        deadline: args.deadline,
        trial_deadline: args.trial_deadline,
    };
    let (updates, screen) = ui::screen();
    let ended = perform::perform(request, outlook, updates, urgency).await;
    screen.await?;
    let report = ended.map_err(failure)?;
    ui::print(&text(&report))?;
    Ok(exit(&report))
}

/// Tells what a changed recipe means, and that another livectl began it.
pub(super) fn warn_of_changes(outlook: &Outlook) {
    if let Some(change) = &outlook.change {
        ui::warn(&change.to_string());
    }
    if let Some(livectl) = &outlook.begun_with {
        let commit = livectl.commit.as_deref().map(|commit| format!(" ({commit})")).unwrap_or_default();
        ui::warn(&format!("this sweep was started with another livectl, {}{commit}", livectl.version));
    }
}

pub(super) fn failure(error: SweepError) -> Failure {
    let exit = match error {
        SweepError::Running { .. } => Exit::Usage,
        SweepError::Store(_) | SweepError::Table(_) | SweepError::Run(_) => Exit::Results,
    };
    Failure::new(exit, error)
}

pub(super) fn exit(report: &Report) -> Exit {
    match &report.end {
        End::Interrupted => Exit::Interrupted,
        End::Machine(_) => Exit::Results,
        End::Stopped(Stop::Machine(_)) => Exit::Machine,
        End::Stopped(_) => Exit::Failed,
        End::Asked | End::Deadline => Exit::Unfinished,
        // As the order of exit codes has it.
        End::Finished if report.partial > 0 => Exit::Results,
        End::Finished if !report.failed.is_empty() => Exit::Failed,
        End::Finished if report.doubtful > 0 => Exit::Unfit,
        End::Finished => Exit::Done,
    }
}

/// What a person reads in the morning.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    let who = |row: &EstimateRow| (row.scheme, row.parameters.clone(), row.stream.clone(), row.viewer.clone());
    let lines = report.estimates.iter().map(who).collect::<BTreeSet<_>>().len();
    if lines > ESTIMATES {
        let (path, typed) = (report.sweep.path().display(), crate::shell_word::path(report.sweep.path()));
        let _ = writeln!(
            text,
            "\nthe figures of {lines} viewers at all points are in {path}/estimates.csv; `livectl plot {typed} --plot sweep` draws them"
        );
    } else if let Some(estimates) = crate::table::estimates_text(&report.estimates) {
        text += &format!("\n{estimates}\n");
    }
    if let Some(effects) = crate::table::effects_text(&report.effects) {
        text += &effects;
    }
    if let Some(models) = crate::table::models_text(&report.models) {
        text += &models;
    }
    if let Some(nodes) = &report.nodes {
        let _ = writeln!(text, "{nodes}");
    }
    text += &failures(&report.failed);
    if let Some((until, known, unknown)) = &report.precision {
        let (figure, precision) = (until.figure, until.precision * 100.0);
        let _ = write!(text, "{figure} is known within {precision} % at {known} of {}", ui::points(known + unknown));
        let _ = match (&report.end, unknown) {
            (_, 0) => writeln!(text),
            (End::Finished, _) => {
                writeln!(text, "; precision not reached at {unknown} after {} repetitions", until.most)
            }
            _ => writeln!(text, " so far"),
        };
    }
    let parts = [(report.failed.len(), "failed"), (report.doubtful, "unfit or damaged")];
    let parts: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}")).collect();
    let Report { done, trials, done_now, .. } = report;
    let _ = writeln!(text, "{}: {done} of {trials} trials are done ({done_now} now){parts}", report.end);
    let (path, typed) = (report.sweep.path().display(), crate::shell_word::path(report.sweep.path()));
    let _ = write!(text, "{path}; `livectl report {typed}` writes its report");
    if matches!(report.end, End::Interrupted | End::Asked | End::Deadline) {
        text += "; the same command resumes the sweep";
    }
    text
}

/// A line for each trial that failed: which, why, how often, and where its logs are.
pub(super) fn failures(failed: &[FailedTrial]) -> String {
    let mut text = String::new();
    if failed.is_empty() {
        return text;
    }
    text += "failed:\n";
    for failure in failed.iter().take(FAILURES) {
        let whose = match failure.cause {
            Some(store::Cause::Machine) => "the machine's failure".to_owned(),
            _ if failure.times > 1 => format!("{} times", failure.times),
            _ => "once".to_owned(),
        };
        let why = failure.why.lines().next().unwrap_or_default();
        let logs = failure.folder.join("log");
        let _ = writeln!(text, "  {}: {why} ({whose}; {})", failure.trial.point, logs.display());
    }
    if failed.len() > FAILURES {
        let _ = writeln!(text, "  … and {} more", failed.len() - FAILURES);
    }
    text
}

/// `about 3 min (2 min 50 s to 3 min 20 s)`.
pub(super) fn about(span: &Span) -> String {
    let (low, high) = (ui::span(span.between.0), ui::span(span.between.1));
    let range = if low == high { String::new() } else { format!(" ({low} to {high})") };
    format!("about {}{range}", ui::span(span.likely))
}

pub(super) fn require_disk(args: &SweepArgs, job: &Job, outlook: &Outlook) -> Result<u64, Failure> {
    let queue = outlook.queue(args.policy());
    let need = outlook.disk(&outlook.to_try(&queue), args.keep);
    store::require_space(&job.results, need).map_err(|error| {
        let advice = match args.keep {
            Keep::None => String::new(),
            _ => ". `--keep none` or `--keep failed` needs less".to_owned(),
        };
        Failure::new(Exit::Results, anyhow!("{error}{advice}"))
    })?;
    Ok(need)
}

fn dry_run(args: &SweepArgs) -> Result<Exit, Failure> {
    let here = Capabilities::probe(&Places { results: args.results.clone() });
    let (job, until) = job(args, &here)?;
    let outlook = Outlook::of(&job, until).map_err(failure)?;
    let queue = outlook.queue(args.policy());
    let to_try = outlook.to_try(&queue);
    let points: BTreeSet<_> = outlook.trials.iter().map(|trial| &trial.point.parameters).collect();
    let repetitions = outlook.trials.iter().map(|trial| trial.point.repetition).max().unwrap_or(1);
    let needed = outlook.trials.iter().filter(|trial| outlook.needs(trial)).count();
    let (repetitions, count) = match until {
        None if repetitions == 1 => ("once each".to_owned(), ui::trials(needed)),
        None => (format!("{repetitions} times each"), ui::trials(needed)),
        Some(Until { least, most, .. }) => {
            (format!("{least} to {most} times each"), format!("{needed} to {}", ui::trials(outlook.trials.len())))
        }
    };
    let mut text = format!(
        "{}: {}, {repetitions}, {count}: {} done, {} given up, {} to try\n",
        job.plan.recipe,
        ui::points(points.len()),
        outlook.done_count(),
        queue.given_up().len(),
        to_try.len()
    );
    if let Some(change) = &outlook.change {
        let _ = writeln!(text, "{change}");
    }
    let (predicted, played): (Vec<&Planned>, Vec<&Planned>) = to_try.iter().partition(|trial| trial.is_predicted());
    let learned = |from: usize, without: &str| match from {
        0 => without.to_owned(),
        count => format!("learned from {count} trials"),
    };
    let span = outlook.pace.span(to_try.iter().copied());
    if !played.is_empty() || predicted.is_empty() {
        let from = learned(outlook.pace.from, "typical values; no trial has run here yet");
        let _ = writeln!(text, "{}, {from}", about(&span));
    }
    if !predicted.is_empty() {
        let count = predicted.len();
        let span = outlook.pace.span(predicted);
        let from = learned(outlook.pace.predicted.from, "an estimate; nothing was predicted here yet");
        let of = if played.is_empty() { "predicted: " } else { "of them predicted: " };
        let _ = writeln!(text, "{of}{count}, {}, {from}", about(&span));
    }
    if let Some(until) = until {
        let beyond = outlook.beyond();
        let more = about(&outlook.pace.span(beyond.iter().copied()));
        let (figure, precision) = (until.figure, until.precision * 100.0);
        let count = beyond.len();
        let _ = writeln!(text, "and up to {count} more ({more}), until {figure} is known within {precision} %");
    }
    let need = outlook.disk(&to_try, args.keep);
    let free = store::free_space(&job.results).exit(Exit::Results)?;
    let keep = args.keep.to_possible_value();
    let keep = keep.as_ref().map_or("", PossibleValue::get_name);
    let _ = writeln!(text, "up to {} of results (--keep {keep}), {} are free", ui::bytes(need), ui::bytes(free));
    let _ = writeln!(text, "in {}, in this order (shuffled by seed {}):", outlook.sweep.path().display(), job.seed);
    for trial in to_try.iter().take(LISTED) {
        let _ = writeln!(text, "  {}  {}", trial.id, trial.point);
    }
    if to_try.len() > LISTED {
        let _ = writeln!(text, "  … and {} more", to_try.len() - LISTED);
    }
    if args.slurm.is_asked_for() {
        text += &super::slurm::planned(args, &job, &outlook)?;
    }
    ui::print(&text)?;
    require_disk(args, &job, &outlook)?;
    Ok(Exit::Done)
}

/// The sweep that a word means: a folder, or the name of a recipe with a folder in the results.
pub(super) fn named(results: &Path, word: &Path) -> Result<store::SweepDir, Failure> {
    store::SweepDir::open(word)
        .or_else(|error| store::SweepDir::open(&results.join(word)).map_err(|_| error))
        .exit(Exit::Results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(
            (Keep::from_str("failed", false), Keep::from_str("some", false).is_err()),
            (Ok(Keep::Failed), true)
        );
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("45 min"), Ok(Duration::from_secs(2700)));
        assert_eq!(time("8h"), Ok(Duration::from_secs(28_800)));
        for wrong in ["", "8", "h", "-1h", "0s", "1.5h", "999999999999999999h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
