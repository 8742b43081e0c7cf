//! A run: a recipe's trials, each from boot to teardown and analysis.
//!
//! [`supervise`] is outside: it starts a sandbox for each trial, shows and stores what it reports, proves that
//! the host is as it was and has the captures analysed. [`inside`] is what runs within the sandbox. They talk in [`event`]s:
//! JSON lines on the trial's standard output, and the orders `stop` and `hurry` on its standard input.

mod air;
mod audience;
pub mod cast;
mod crew;
pub mod event;
pub mod fitness;
pub mod inside;
pub mod needed;
mod newborn;
mod observed;
pub mod present;
pub mod score;
mod stage;
pub mod supervise;
mod teller;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::plan::{Datapath, LinkKind, Plan};
use crate::sandbox::capability;
use crate::store::{self, Manifest, Owner, RunDir, StoreError, TrialState};
use crate::table::{TableError, Tables};

use event::Update;

/// How urgently a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Urgency {
    /// It is not to end.
    #[default]
    None,
    /// Politely: actors are interrupted and waited for, what was measured is kept.
    Stop,
    /// As `Stop`, with little patience.
    Hurry,
    /// At once: sandboxes are killed.
    Now,
}

/// What to run, where, and with what.
#[derive(Debug, Clone)]
pub struct Job {
    /// The trials, as the recipe plans them.
    pub plan: Plan,
    /// The recipe's text, and where it was read.
    pub recipe: store::RecipeRecord,
    /// Seed that the trials' seeds come from.
    pub seed: u64,
    /// Folder under which the run gets its own.
    pub results: PathBuf,
    /// How many trials run at the same time.
    pub jobs: usize,
    /// What makes the links, and why.
    pub links: (LinkKind, capability::Choice<LinkKind>),
    /// What forwards packets, and why.
    pub datapath: (Datapath, capability::Choice<Datapath>),
    /// Path of the controller's program.
    pub controller: PathBuf,
    /// Path of the agents' program.
    pub agent: PathBuf,
    /// Versions of the programs used: `ffmpeg` → `ffmpeg version 5.1.6-0+deb12u1`.
    pub tools: std::collections::BTreeMap<String, String>,
    /// The machine that it runs on.
    pub machine: store::Machine,
    /// The command line that began it, program name first.
    pub command: Vec<String>,
}

/// How a run ended, and what it has come to.
#[derive(Debug)]
pub struct Report {
    /// Folder of the run.
    pub folder: RunDir,
    /// Its tables, without frames, pings and screens: these may be many and are in their files.
    pub tables: Tables,
    /// Trials that failed, with the reason.
    pub failed: Vec<(String, String)>,
    /// Trials whose delays cannot be taken for the network's, with the reasons.
    pub unfit: Vec<(String, String)>,
    /// Trials that came to their end and are not whole, with what is missing or damaged.
    pub damaged: Vec<(String, String)>,
    /// It was interrupted before its end.
    pub interrupted: bool,
}

/// Why a run could not be begun or recorded.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Results cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Tables cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Runs every trial of a job. A trial that fails is recorded and the next one runs.
///
/// # Errors
/// [`RunError`] when results cannot be stored; then what was stored before is complete.
pub async fn run(
    job: Job,
    updates: mpsc::Sender<Update>,
    urgency: watch::Receiver<Urgency>,
) -> Result<Report, RunError> {
    let owner = Owner::of_this_process()?;
    let estimate = job.plan.estimate();
    store::require_space(&job.results, estimate.disk_bytes)?;
    let folder = RunDir::create(&job.results, &job.plan.recipe, jiff::Timestamp::now(), owner)?;
    let _settled = owner.settle_when_done(folder.path());
    store::write_atomic(&folder.recipe(), job.recipe.text.as_bytes())?;
    let software = store::Software::of_this_livectl();
    let mut manifest =
        Manifest::new(&folder, job.recipe.clone(), job.plan.clone(), job.seed, software, jiff::Timestamp::now());
    manifest.command = job.command.clone();
    manifest.machine = job.machine.clone();
    manifest.tools = job.tools.clone();
    let (asked, choice) = &job.links;
    manifest.link = Some(store::Choice { asked: *asked, used: choice.kind, why: choice.why.clone() });
    let (asked, choice) = &job.datapath;
    manifest.datapath = Some(store::Choice { asked: *asked, used: choice.kind, why: choice.why.clone() });
    manifest.save(&folder)?;

    tell(
        &updates,
        Update::RunStarted {
            recipe: job.plan.recipe.clone(),
            folder: folder.path().to_owned(),
            trials: job.plan.trials.len(),
            expected: estimate.duration / u32::try_from(job.jobs.max(1)).unwrap_or(1),
        },
    )
    .await;
    let settled = [
        ("links", job.links.1.kind.to_string(), job.links.1.why.clone()),
        ("datapath", job.datapath.1.kind.to_string(), job.datapath.1.why.clone()),
    ];
    for (what, used, why) in settled {
        tell(&updates, Update::Settled { what, used, why }).await;
    }

    let context = Arc::new(job.context(owner, updates, urgency));
    let places = Arc::new(Semaphore::new(job.jobs.max(1)));
    let mut running = tokio::task::JoinSet::new();
    for (serial, trial) in job.plan.trials.iter().cloned().enumerate() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        if *context.urgency.borrow() > Urgency::None {
            break;
        }
        let (context, dir) = (Arc::clone(&context), folder.trial(&trial.id));
        running.spawn_local(async move {
            let result = supervise::trial(&context, &trial, &dir, u32::try_from(serial).unwrap_or(u32::MAX)).await;
            drop(place);
            result
        });
    }
    let mut broken = None;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(record)) => {
                if let Some(planned) = manifest.trial_mut(&record.id) {
                    *planned = record;
                }
            }
            Ok(Err(error)) => broken = Some(error),
            Err(panic) => tracing::error!("a trial's supervisor broke: {panic}"),
        }
    }
    if let Some(error) = broken {
        return Err(error);
    }
    finish(manifest, &folder, *context.urgency.borrow() > Urgency::None)
}

/// What the supervisors of trials share.
pub(crate) struct Context {
    pub(crate) links: LinkKind,
    pub(crate) datapath: Datapath,
    pub(crate) controller: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) owner: Owner,
    pub(crate) updates: mpsc::Sender<Update>,
    pub(crate) urgency: watch::Receiver<Urgency>,
    /// A trial that has not ended by then is killed; `None`: some minutes after its own end.
    pub(crate) deadline: Option<std::time::Duration>,
    /// What this machine is called.
    pub(crate) node: String,
}

impl Job {
    /// What its trials are run with.
    pub(crate) fn context(
        &self,
        owner: Owner,
        updates: mpsc::Sender<Update>,
        urgency: watch::Receiver<Urgency>,
    ) -> Context {
        Context {
            links: self.links.1.kind,
            datapath: self.datapath.1.kind,
            controller: self.controller.clone(),
            agent: self.agent.clone(),
            owner,
            updates,
            urgency,
            deadline: None,
            node: crate::sweep::session::this_host(),
        }
    }
}

/// Records how the trials went and makes the run's tables.
fn finish(mut manifest: Manifest, folder: &RunDir, interrupted: bool) -> Result<Report, RunError> {
    // A trial whose supervisor broke has told no end; what it recorded says how far it came.
    manifest.take_records(folder);
    manifest.ended = Some(jiff::Timestamp::now());
    manifest.save(folder)?;
    let ids: Vec<&str> = manifest.trials.iter().map(|t| t.id.as_str()).collect();
    let tables = crate::table::gather(folder, ids)?;
    manifest.record_files(folder)?;
    manifest.save(folder)?;
    let failed = manifest.trials.iter().filter_map(|t| match &t.state {
        TrialState::Failed { why } => Some((t.id.clone(), why.clone())),
        TrialState::Running => Some((t.id.clone(), "livectl itself broke while it ran".to_owned())),
        _ => None,
    });
    let unfit = manifest.trials.iter().filter(|t| !t.unfit.is_empty()).map(|t| (t.id.clone(), t.unfit.join("; ")));
    let done = manifest.trials.iter().filter(|t| t.state == TrialState::Done);
    let damaged = done.filter_map(|t| Some((t.id.clone(), t.damage.first()?.clone())));
    Ok(Report {
        folder: folder.clone(),
        tables: Tables { frames: Vec::new(), pings: Vec::new(), shown: Vec::new(), ..tables },
        failed: failed.collect(),
        unfit: unfit.collect(),
        damaged: damaged.collect(),
        interrupted,
    })
}

/// Sends an update; a reporter that is gone must not end an experiment.
pub(crate) async fn tell(updates: &mpsc::Sender<Update>, update: Update) {
    let _ = updates.send(update).await;
}
