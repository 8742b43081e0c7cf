//! `livectl sweep --engine slurm`, and what its jobs call.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::exit::{Exit, Failure, WithExit};
use super::sweep::SweepArgs;
use super::whole::whole;
use crate::plan::{Datapath, LinkKind};
use crate::recipe::Loaded;
use crate::run::Job;
use crate::sandbox::capability::{self, Capabilities, Choice, Places};
use crate::store::{self, SweepDir, SweepFile};
use crate::sweep::outlook::Outlook;
use crate::sweep::perform::file_of;
use crate::sweep::session::{Did, Process, new_name};
use crate::sweep::slurm::log::{Log, Logs};
use crate::sweep::slurm::measure::{self, Ended};
use crate::sweep::slurm::next::{self, After};
use crate::sweep::slurm::order::{Asked, Order};
use crate::sweep::slurm::progress::{self, Progress};
use crate::sweep::slurm::submit::{self, Submitted};
use crate::sweep::slurm::task::{self, Outcome, Task};
use crate::sweep::slurm::{SlurmError, control, script};
use crate::ui;

/// What plays the trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Engine {
    /// This machine, a trial after the other.
    Local,
    /// Slurm, on as many nodes as there are, a trial a task.
    Slurm,
}

/// Flags of `livectl sweep` that are about Slurm.
#[derive(Debug, Args)]
#[command(next_help_heading = "Slurm")]
pub(super) struct SlurmArgs {
    /// Where trials run: local (this machine) or slurm (a job array, one task for each trial)
    #[arg(long, value_name = "ENGINE", default_value = "local", hide_possible_values = true)]
    engine: Engine,
    /// Slurm partition
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Slurm account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Run at most N trials at a time
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=u32::MAX.into()))]
    at_once: Option<u32>,
    /// Further option for sbatch, such as --sbatch=--qos=night; may be repeated
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// Folder for measuring, on each node's own disk [default: the job's $TMPDIR, or /var/tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// Which trial a task of Slurm's has.
#[derive(Debug, Args)]
pub(super) struct TaskArgs {
    /// What was asked for
    #[arg(long)]
    order: PathBuf,
    /// Of which round
    #[arg(long)]
    round: u32,
    /// Which of its trials
    #[arg(long)]
    place: usize,
    /// ARRAY_TASK
    #[arg(long)]
    task: String,
    /// How often it was started before
    #[arg(long)]
    restart: u32,
    /// This node
    #[arg(long, value_parser = node_name)]
    node: String,
    /// Folder to measure in
    #[arg(long)]
    scratch: PathBuf,
}

/// It becomes part of file names.
fn node_name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if plain { Ok(text.to_owned()) } else { Err("no name of a node".to_owned()) }
}

impl SlurmArgs {
    /// Whether Slurm is to play the trials.
    pub(super) fn is_asked_for(&self) -> bool {
        self.engine == Engine::Slurm
    }

    /// A flag that means nothing without Slurm.
    pub(super) fn in_vain(&self) -> Option<&'static str> {
        [
            (self.partition.is_some(), "--partition"),
            (self.account.is_some(), "--account"),
            (self.at_once.is_some(), "--at-once"),
            (!self.sbatch.is_empty(), "--sbatch"),
            (self.scratch.is_some(), "--scratch"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

/// The job of a recipe on nodes of which this machine knows nothing but that they run the same livectl. What was settled when the sweep was begun stays so.
pub(super) fn job(args: &SweepArgs, loaded: Loaded, here: &Capabilities) -> Result<Job, Failure> {
    let trial = loaded.plan.trials.first().ok_or_else(|| anyhow!("the recipe has no trials"))?;
    let before = SweepDir::of(&args.results, &loaded.plan.recipe).and_then(|sweep| SweepFile::load(&sweep));
    let before = before.exit(Exit::Results)?;
    let of = before.as_ref();
    let hint = |error: capability::Unavailable| {
        Failure::new(
            Exit::Machine,
            anyhow!(
                "{error}. The nodes' kernels matter, not this one's: `--link` and `--datapath` select what they have"
            ),
        )
    };
    let links = match (trial.links, of.filter(|file| file.link.asked == LinkKind::Auto)) {
        (LinkKind::Auto, Some(file)) => Choice { kind: file.link.used, why: file.link.why.clone() },
        (LinkKind::Auto, None) => capability::resolve_links(LinkKind::Auto, here).map_err(hint)?,
        (kind, _) => Choice { kind, why: "it was asked for".to_owned() },
    };
    let datapath = match (trial.datapath, of.filter(|file| file.datapath.asked == Datapath::Auto)) {
        (Datapath::Auto, Some(file)) => Choice { kind: file.datapath.used, why: file.datapath.why.clone() },
        (Datapath::Auto, None) => capability::resolve_datapath(Datapath::Auto, here).map_err(hint)?,
        (kind, _) => Choice { kind, why: "it was asked for".to_owned() },
    };
    let settled = ((trial.links, links), (trial.datapath, datapath));
    super::run::job_elsewhere(&args.results, &args.recipe, loaded, here, settled)
}

fn order(args: &SweepArgs, job: &Job, outlook: &Outlook) -> Result<Order, Failure> {
    let livectl = std::env::current_exe().map_err(|error| anyhow!("cannot find livectl's own file: {error}"))?;
    let SlurmArgs { partition, account, at_once, sbatch, scratch, .. } = &args.slurm;
    Ok(Order {
        session: new_name(&Process::this()),
        recipe: job.plan.recipe.clone(),
        recipe_path: job.recipe.path.clone().unwrap_or_default(),
        livectl,
        sweep: outlook.sweep.path().to_owned(),
        given: jiff::Timestamp::now(),
        links: job.links.1.kind,
        datapath: job.datapath.1.kind,
        policy: args.policy(),
        keep: args.keep,
        trial_deadline_s: args.trial_deadline.map(|deadline| deadline.as_secs()),
        deadline_s: args.deadline.map(|deadline| deadline.as_secs()),
        failed_before: outlook.failed.iter().map(|failure| (failure.trial.id.clone(), failure.times)).collect(),
        slurm: Asked {
            partition: partition.clone(),
            account: account.clone(),
            at_once: *at_once,
            more: sbatch.clone(),
        },
        scratch: scratch.clone(),
    })
}

fn failure(error: SlurmError) -> Failure {
    let exit = match &error {
        SlurmError::Control(_) => Exit::Machine,
        SlurmError::Running { .. } => Exit::Usage,
        SlurmError::Store(_) | SlurmError::Sweep(_) | SlurmError::NotShared { .. } | SlurmError::Changed => {
            Exit::Results
        }
    };
    Failure::new(exit, error)
}

/// Hands a sweep to Slurm.
pub(super) fn submit(args: &SweepArgs) -> Result<Exit, Failure> {
    let here = Capabilities::probe(&Places { results: args.results.clone() });
    let (job, until) = super::sweep::job(args, &here)?;
    let outlook = Outlook::of(&job, until).map_err(super::sweep::failure)?;
    super::sweep::warn_of_changes(&outlook);
    super::sweep::require_disk(args, &job, &outlook)?;
    submit::require_none(&outlook, |session| script::job_name(&job.plan.recipe, session)).map_err(failure)?;
    let order = order(args, &job, &outlook)?;
    let first = next::first(&order, &outlook).map_err(failure)?;
    if first.is_empty() {
        let report = next::finished(&outlook).map_err(failure)?;
        ui::print(&super::sweep::text(&report))?;
        return Ok(super::sweep::exit(&report));
    }
    let is_new = outlook.change.is_some() || !outlook.sweep.file().exists();
    let file = file_of(&job, &outlook);
    let submitted = submit::begin(&order, &file, is_new, &job.plan.trials, &first).map_err(failure)?;
    let Submitted { arrays, next, trials } = submitted;
    let (arrays, name) = (arrays.join(", "), &order.recipe);
    let count = if trials == first.len() { trials.to_string() } else { format!("{trials} of {}", first.len()) };
    let results = &args.results;
    let at =
        if results == Path::new("results") { String::new() } else { format!(" --results {}", results.display()) };
    ui::print(&format!(
        "{count} trials submitted to Slurm as job {arrays}; job {next} continues after them. Nothing has to stay here.
How it stands, from any machine with this folder:
  livectl status{at} {name}; livectl logs -f{at} {name}; livectl stop{at} {name}
{}",
        outlook.sweep.path().display()
    ))?;
    Ok(Exit::Done)
}

/// What sbatch would be given.
pub(super) fn planned(args: &SweepArgs, job: &Job, outlook: &Outlook) -> Result<String, Failure> {
    let order = order(args, job, outlook)?;
    let (limits, note) = match control::limits() {
        Ok(limits) => (limits, String::new()),
        Err(error) => (control::Limits::default(), format!("({error})\n")),
    };
    let queue = outlook.queue(args.policy());
    let submissions = submit::planned(&order, &job.plan.trials, &outlook.to_try(&queue), limits);
    let mut text = format!("{note}submitted to Slurm as {} jobs:\n", submissions.len());
    for submission in &submissions {
        let _ = writeln!(text, "  sbatch {}", submission.options.join(" "));
    }
    if let Some(first) = submissions.first() {
        let _ = write!(text, "the first one's script:\n{}", first.script);
    }
    Ok(text)
}

/// Does one task of a job array: measures its trial and commits it.
pub(super) fn task(args: &TaskArgs) -> Result<Exit, Failure> {
    let order = Order::load(&args.order).map_err(failure)?;
    let task = Task {
        round: args.round,
        place: args.place,
        task: args.task.clone(),
        restart: args.restart,
        node: args.node.clone(),
        scratch: args.scratch.clone(),
        // It is not root, so nobody has stripped its environment.
        partition: std::env::var("SLURM_JOB_PARTITION").ok(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, task::perform(&order, &task)).map_err(failure)?;
    ui::print(&format!("round {}, trial {}, on {}: {outcome}", task.round, task.place + 1, task.node))?;
    Ok(match outcome {
        Outcome::Done | Outcome::Unfit | Outcome::DoneBefore | Outcome::Superseded => Exit::Done,
        Outcome::Failed(_) => Exit::Failed,
        Outcome::NodeFailed(..) => Exit::Machine,
        Outcome::Ending(_) => Exit::Unfinished,
        Outcome::Killed => Exit::Interrupted,
    })
}

/// Does the part of a task that is root.
pub(super) fn measure() -> Result<Exit, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(Exit::Machine, anyhow!("measuring needs root")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tell = |line: &crate::sweep::session::Line| {
        // Whoever is gone needs to be told nothing.
        let _ = serde_json::to_string(line).map(|text| ui::print(&text));
    };
    let ended = tokio::task::LocalSet::new().block_on(&runtime, measure::measure(tell));
    // Standard input is read by a thread that nothing can wake.
    runtime.shutdown_background();
    Ok(match ended.map_err(failure)? {
        Ended::Played => Exit::Done,
        Ended::Unable => Exit::Machine,
        Ended::Stopped => Exit::Interrupted,
    })
}

/// Makes what comes after a round.
pub(super) fn next(order: &Path, round: u32) -> Result<Exit, Failure> {
    let order = Order::load(order).map_err(failure)?;
    Ok(match next::after(&order, round).map_err(failure)? {
        After::Round(number, Submitted { arrays, next, .. }) => {
            ui::print(&format!(
                "round {number} submitted to Slurm as job {}; job {next} follows",
                arrays.join(", ")
            ))?;
            Exit::Done
        }
        After::Nothing => Exit::Done,
        After::End(report) => {
            ui::print(&super::sweep::text(&report))?;
            // Slurm calls a job with another code than 0 failed, which this one has not.
            Some(super::sweep::exit(&report)).filter(|exit| *exit != Exit::Unfit).unwrap_or(Exit::Done)
        }
    })
}

/// How the last session with Slurm stands, if there is one.
pub(super) fn progress(sweep: &SweepDir, file: &SweepFile) -> Result<Option<Progress>, Failure> {
    let Some(logs) = Logs::last(sweep).exit(Exit::Results)? else { return Ok(None) };
    let asked = if logs.ended().is_some() {
        Err(String::new())
    } else {
        ask(&file.recipe.name, &logs.session).map_err(|error| error.to_string())
    };
    Ok(Some(Progress::of(&logs, &file.trials, &asked)))
}

fn ask(
    recipe: &str,
    session: &str,
) -> Result<(Vec<crate::sweep::slurm::jobs::Job>, Vec<crate::sweep::slurm::jobs::Down>), control::ControlError> {
    Ok((control::jobs_named(&script::job_name(recipe, session))?, control::nodes_down()?))
}

/// What `livectl status` says of it.
pub(super) fn status(progress: &Progress) -> String {
    let mut text = String::new();
    if progress.ended.is_none()
        && let Some((round, arrays, next)) = &progress.submitted
    {
        let arrays = arrays.join(", ");
        let _ = writeln!(text, "  submitted to Slurm as job {arrays} (round {round}); job {next} continues after it");
    }
    for progress::Running { node, task, trial, phase, since, is_known } in
        progress.running.iter().filter(|_| progress.ended.is_none())
    {
        let phase = phase.map_or_else(|| "starting".to_owned(), ui::phase);
        let (point, since) = (&trial.point, super::status::clock(*since));
        let _ = match is_known {
            Some(false) => writeln!(
                text,
                "  NOT running: task {task} on {node} ended without a message ({point}, last seen at {since}); the next round retries it"
            ),
            _ => writeln!(text, "  {node}: task {task}, {point}: {phase} since {since}"),
        };
    }
    for note in &progress.notes {
        let _ = writeln!(text, "  {note}");
    }
    text
}

/// Asks a session with Slurm to stop. Whether there was one.
pub(super) fn stop(sweep: &SweepDir, now: bool) -> Result<bool, Failure> {
    let Some(logs) = Logs::last(sweep).exit(Exit::Results)?.filter(|logs| logs.ended().is_none()) else {
        return Ok(false);
    };
    let file = SweepFile::load(sweep).exit(Exit::Results)?;
    let recipe = file.map(|file| file.recipe.name).unwrap_or_default();
    let stop = sweep.log().join(format!("{}.stop", logs.session));
    store::write_atomic(&stop, if now { b"now\n" } else { b"after this trial\n" }).exit(Exit::Results)?;
    let path = sweep.path().display();
    let arrays: Vec<String> = logs.submitted().map(|(_, arrays, _)| arrays.to_vec()).unwrap_or_default();
    let cancelled = ask(&recipe, &logs.session).and_then(|(jobs, _)| {
        let is_live = jobs.iter().any(crate::sweep::slurm::jobs::Job::is_live);
        if is_live && !arrays.is_empty() {
            control::cancel(&arrays, !now)?;
        }
        Ok(is_live)
    });
    match cancelled {
        Ok(true) => {
            let what =
                if now { "all tasks were cancelled" } else { "waiting tasks were cancelled; running ones finish" };
            ui::print(&format!("{path}: {what}. The job after them computes the tables"))?;
        }
        Ok(false) => {
            let why = "stopped, as `livectl stop` asked; its jobs were over".to_owned();
            Log::of_session(sweep, &logs.session).write(Did::SessionEnded { why }).exit(Exit::Results)?;
            ui::print(&format!("{path}: its Slurm jobs were over; the session is closed"))?;
        }
        Err(error) => {
            ui::warn(&error.to_string());
            ui::print(&format!("{path}: asked to stop: new tasks will end at once"))?;
        }
    }
    Ok(true)
}
