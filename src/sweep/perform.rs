//! The shell of a sweep: a trial after the other, each through the supervisor of `livectl run`, each committed before the next begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::SweepError;
use super::change::{Change, change};
use super::identity::planned;
use super::pace::{Pace, Ran, Span};
use super::queue::{Ended, Next, Policy, Queue, Stop};
use super::session::{Did, Known, Process, Session, asked, sessions};
use super::status::{Failure, History, failures};
use super::until::{self, is_enough};
use crate::parallel;
use crate::plan::{Parameters, Point, Scheme, Trial, Until};
use crate::run::event::{Happening, Update};
use crate::run::{Context, Job, Urgency, supervise, tell};
use crate::store::{
    self, Captures, Cause, Choice, Committed, Manifest, Owner, Planned, RunDir, SWEEP_FORMAT, Software, StoreError,
    SweepDir, SweepFile, TrialDir, TrialRecord, TrialState,
};
use crate::table::{self, EstimateRow};

/// How often the file is looked for by which others ask for an end.
const LOOK: Duration = Duration::from_millis(500);
/// What must stay free on the disk beside what the next trial leaves.
const RESERVE: u64 = 100_000_000;

/// Whose captures are kept. They are dropped only after the tables have been computed from them a second time and are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Everybody's.
    #[default]
    All,
    /// Those of trials that failed, are unfit or damaged.
    Failed,
    /// Nobody's. A trial without tables keeps its own all the same: there is nothing else of it.
    None,
}

impl Keep {
    fn drops(self, record: &TrialRecord) -> bool {
        let sound = record.unfit.is_empty() && record.damage.is_empty();
        record.state == TrialState::Done && (self == Keep::None || self == Keep::Failed && sound)
    }
}

/// What is asked of a session.
#[derive(Debug, Clone)]
pub struct Request {
    /// The recipe, with identified trials, and what to play them with.
    pub job: Job,
    /// Until what is known trials are repeated.
    pub until: Option<Until>,
    /// What is made of failures.
    pub policy: Policy,
    /// Whose captures are kept.
    pub keep: Keep,
    /// No trial begins that would not end by then, counted from the beginning of the session.
    pub deadline: Option<Duration>,
    /// A trial that takes longer is killed.
    pub trial_deadline: Option<Duration>,
}

/// What is there before a session begins.
#[derive(Debug)]
pub struct Outlook {
    /// The sweep's folder.
    pub sweep: SweepDir,
    /// The trials in order.
    pub trials: Vec<Planned>,
    /// Until what is known they are repeated.
    pub until: Option<Until>,
    /// What the recipe's change means, if it has changed.
    pub change: Option<Change>,
    /// The livectl that the sweep was begun with, if it is another one.
    pub begun_with: Option<Software>,
    /// Trials that are done.
    pub done: BTreeSet<String>,
    /// Trials that failed in earlier sessions.
    pub failed: Vec<Failure>,
    /// How long trials take here.
    pub pace: Pace,
}

/// How a session ended.
#[derive(Debug)]
pub struct Report {
    /// The sweep's folder.
    pub sweep: SweepDir,
    /// Trials of the sweep.
    pub trials: usize,
    /// Those of them that are done.
    pub done: usize,
    /// Those that this session did.
    pub done_now: usize,
    /// Those that failed and are not done.
    pub failed: Vec<Failure>,
    /// Those that are done and unfit or damaged.
    pub doubtful: usize,
    /// Where trials are repeated until a figure is known: of how many points it is, of how many not.
    pub precision: Option<(Until, usize, usize)>,
    /// Why it ended before its end.
    pub end: End,
    /// A line for each figure of each point and viewer, over repetitions.
    pub estimates: Vec<EstimateRow>,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every trial is done or given up.
    Finished,
    /// Failures.
    Stopped(Stop),
    /// The machine cannot go on: no space.
    Machine(String),
    /// `livectl stop`.
    Asked,
    /// The deadline.
    Deadline,
    /// A signal.
    Interrupted,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Finished => f.write_str("finished"),
            End::Stopped(Stop::FailFast) => f.write_str("stopped: a trial failed (--fail-fast)"),
            End::Stopped(Stop::MaxFailures(count)) => write!(f, "stopped: {count} trials failed (--max-failures)"),
            End::Stopped(Stop::Machine(count)) => {
                write!(f, "stopped: the machine failed {count} times in a row; `livectl doctor` may say why")
            }
            End::Machine(why) => write!(f, "stopped: {why}"),
            End::Asked => f.write_str("stopped, as `livectl stop` asked"),
            End::Deadline => f.write_str("stopped: no further trial would end before the deadline"),
            End::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl Outlook {
    /// Looks at what is there of a sweep and at what trials took on this machine. Writes nothing.
    ///
    /// # Errors
    /// [`SweepError::Store`].
    pub fn of(job: &Job, until: Option<Until>) -> Result<Outlook, SweepError> {
        let sweep = SweepDir::of(&job.results, &job.plan.recipe)?;
        let trials = planned(&job.plan);
        let done = sweep.done()?;
        let before = SweepFile::load(&sweep)?;
        let run = before.as_ref().and_then(|_| RunDir::open(sweep.path()).ok());
        let earlier = |id: &str| -> Option<Trial> {
            serde_json::from_slice(&crate::file::read(&run.as_ref()?.trial(id).plan()).ok()?).ok()
        };
        let same = |before: &SweepFile| {
            before.until == until && before.trials.iter().map(|t| &t.id).eq(trials.iter().map(|t| &t.id))
        };
        let change = before
            .as_ref()
            .filter(|before| !same(before))
            .map(|before| change(&before.trials, &job.plan.trials, &done, earlier));
        let this = Software::of_this_livectl();
        let begun_with = before.map(|before| before.livectl).filter(|livectl| *livectl != this && !done.is_empty());
        let by_id: BTreeMap<&str, &Planned> = trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
        let failed = failures(&sweep, &by_id, &done)?;
        let host = Process::this().host;
        let mut ran = History::of(&sessions(&sweep)?, &host)?.ran;
        if ran.is_empty() {
            ran = elsewhere(job, &host)?;
        }
        Ok(Outlook { trials, until, change, begun_with, done, failed, pace: Pace::learned(&ran), sweep })
    }

    /// The trials that a session under this policy has to try.
    #[must_use]
    pub fn queue(&self, policy: Policy) -> Queue {
        let failed = self.failed.iter().map(|failure| (failure.trial.id.clone(), failure.times)).collect();
        let needed = self.trials.iter().filter(|trial| self.needs(trial));
        Queue::new(needed.map(|trial| trial.id.as_str()), &self.done, &failed, policy)
    }

    /// Whether the trial is tried in any case.
    #[must_use]
    pub fn needs(&self, trial: &Planned) -> bool {
        self.until.is_none_or(|until| trial.point.repetition <= until.least)
    }

    /// Trials that may have to be tried beyond those.
    #[must_use]
    pub fn beyond(&self) -> Vec<&Planned> {
        self.trials.iter().filter(|trial| !self.needs(trial) && !self.done.contains(&trial.id)).collect()
    }

    /// The same with their plans.
    #[must_use]
    pub fn to_try(&self, queue: &Queue) -> Vec<&Planned> {
        let waiting: BTreeSet<&str> = queue.waiting().collect();
        self.trials.iter().filter(|trial| waiting.contains(trial.id.as_str())).collect()
    }

    /// How many of its trials are done.
    #[must_use]
    pub fn done_count(&self) -> usize {
        self.trials.iter().filter(|trial| self.done.contains(&trial.id)).count()
    }

    /// Bytes that the trials will leave for good, and the most that there will be at one time.
    #[must_use]
    pub fn disk(&self, trials: &[&Planned], keep: Keep) -> u64 {
        let all = self.pace.bytes(trials.iter().copied());
        let largest = trials.iter().map(|trial| self.pace.bytes([*trial])).max().unwrap_or(0);
        match keep {
            Keep::All => all,
            // What is left of a trial are a dump for each viewer, logs and tables: a fifth, amply.
            Keep::Failed | Keep::None => all / 5 + largest,
        }
    }
}

/// What trials took on this machine in other sweeps, and in the latest runs.
fn elsewhere(job: &Job, host: &str) -> Result<Vec<Ran>, SweepError> {
    const RUNS: usize = 8;
    const LARGEST: u64 = 8 << 20;
    let mut ran = Vec::new();
    for sweep in SweepDir::all(&job.results)? {
        ran.extend(History::of(&sessions(&sweep)?, host)?.ran);
    }
    let mut runs = RunDir::find(&job.results).map(|found| found.runs).unwrap_or_default();
    runs.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    for run in runs.iter().filter_map(|path| RunDir::open(path).ok()).filter(|run| !run.is_sweep()).take(RUNS) {
        let small = fs::metadata(run.manifest()).is_ok_and(|meta| meta.len() < LARGEST);
        let Some(manifest) = small.then(|| Manifest::load(&run).ok()).flatten() else { continue };
        if manifest.machine != job.machine {
            continue;
        }
        for (record, trial) in manifest.trials.iter().zip(&manifest.plan.trials) {
            if let (TrialState::Done, Some(started), Some(ended)) = (&record.state, record.started, record.ended) {
                ran.push(Ran {
                    planned_s: trial.timeline.end.as_secs_f64(),
                    took_s: (ended - started).total(jiff::Unit::Second).unwrap_or(0.0),
                    planned_bytes: trial.disk_bytes(),
                    bytes: record.files.values().map(|file| file.bytes).sum(),
                });
            }
        }
    }
    Ok(ran)
}

/// Tries what is to be tried. A trial that fails is recorded, and the next one runs.
///
/// # Errors
/// [`SweepError`] when results cannot be stored; what was committed before stays.
pub async fn perform(
    request: Request,
    outlook: Outlook,
    updates: mpsc::Sender<Update>,
    signals: watch::Receiver<Urgency>,
) -> Result<Report, SweepError> {
    let owner = Owner::of_this_process()?;
    let sweep = outlook.sweep.clone();
    sweep.create(owner)?;
    let left = outlook.to_try(&outlook.queue(request.policy)).len();
    let mut session = begin(&sweep, owner, left, outlook.trials.len())?;
    if outlook.change.is_some() || !sweep.file().exists() {
        file_of(&request.job, &outlook).save(&sweep)?;
    }
    let outlook = match recover(&sweep, &request) {
        Ok(true) => Outlook { done: sweep.done()?, ..outlook },
        Ok(false) => outlook,
        Err(error) => {
            session.write(Did::SessionEnded { why: error.to_string() })?;
            return Err(error);
        }
    };
    let queue = outlook.queue(request.policy);
    let left: Vec<Planned> = outlook.to_try(&queue).into_iter().cloned().collect();
    let (own, urgency) = watch::channel(Urgency::None);
    let after = watch::channel(false);
    let watcher = tokio::task::spawn_local(heed(session.stop_file(), own, after.0, signals));
    tell(
        &updates,
        Update::RunStarted {
            recipe: request.job.plan.recipe.clone(),
            folder: sweep.path().to_owned(),
            trials: left.len(),
            expected: outlook.pace.span(&left).likely,
        },
    )
    .await;
    let (inner, mut told) = mpsc::channel::<Update>(256);
    let mut context = request.job.context(owner, inner.clone(), urgency);
    context.deadline = request.trial_deadline;
    let session = std::rc::Rc::new(std::cell::RefCell::new(session));
    let log = std::rc::Rc::clone(&session);
    let outer = updates.clone();
    let scribe = tokio::task::spawn_local(async move {
        while let Some(update) = told.recv().await {
            if let Some(line) = line_of(&update)
                && let Err(error) = log.borrow_mut().write(line)
            {
                tracing::warn!("{error}");
            }
            tell(&outer, update).await;
        }
    });
    let mut stage = Stage {
        owner,
        begun: Instant::now(),
        total: left.len(),
        tried: 0,
        done_now: 0,
        plans: request.job.plan.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect(),
        planned: outlook.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect(),
        outlook: &outlook,
        request: &request,
        session: std::rc::Rc::clone(&session),
        queue,
        ran: Vec::new(),
        done: outlook.done.clone(),
        figures: BTreeMap::new(),
        round: request.until.map_or(0, |until| until.least),
    };
    let end = stage.play(&context, &after.1).await;
    let done_now = stage.done_now;
    drop((stage, context, inner));
    let _ = scribe.await;
    watcher.abort();
    let why = match &end {
        Ok(end) => end.to_string(),
        Err(error) => error.to_string(),
    };
    session.borrow_mut().write(Did::SessionEnded { why })?;
    let _ = fs::remove_file(session.borrow().stop_file());
    let end = end?;
    report(&sweep, &outlook, done_now, end)
}

/// Begins a session, unless another one is at work on this machine: of two that begin at once, the one with the earlier name goes on.
fn begin(sweep: &SweepDir, owner: Owner, left: usize, trials: usize) -> Result<Session, SweepError> {
    let alive = |known: &Known| known.is_alive();
    let running =
        |process: Process| SweepError::Running { pid: process.pid, sweep: sweep.path().display().to_string() };
    if let Some(process) = sessions(sweep)?.into_iter().find(alive).and_then(|known| known.process) {
        return Err(running(process));
    }
    let mut session = Session::begin(sweep, owner, left, trials)?;
    let earlier = sessions(sweep)?.into_iter().filter(alive).find(|known| known.name.as_str() < session.name());
    if let Some(process) = earlier.and_then(|known| known.process) {
        session.write(Did::SessionEnded { why: "another session had begun".to_owned() })?;
        return Err(running(process));
    }
    Ok(session)
}

/// What is to be done, as the store has it.
fn file_of(job: &Job, outlook: &Outlook) -> SweepFile {
    let ((asked_link, link), (asked_datapath, datapath)) = (&job.links, &job.datapath);
    SweepFile {
        format: SWEEP_FORMAT,
        livectl: Software::of_this_livectl(),
        command: job.command.clone(),
        recipe: job.recipe.clone(),
        description: job.plan.description.clone(),
        seed: job.seed,
        written: jiff::Timestamp::now(),
        machine: job.machine.clone(),
        tools: job.tools.clone(),
        link: Choice { asked: *asked_link, used: link.kind, why: link.why.clone() },
        datapath: Choice { asked: *asked_datapath, used: datapath.kind, why: datapath.why.clone() },
        until: outlook.until,
        trials: outlook.trials.clone(),
    }
}

/// Commits what earlier sessions had finished and not committed, and takes away what they had not finished. Whether anything was committed.
fn recover(sweep: &SweepDir, request: &Request) -> Result<bool, SweepError> {
    let host = Process::this().host;
    let done = sweep.done()?;
    let mut committed = false;
    for attempt in sweep.tried()? {
        match attempt.record.filter(|record| record.ended.is_some()) {
            // It came to its end and livectl did not.
            Some(mut record) if record.state == TrialState::Done => {
                if !done.contains(&attempt.trial) {
                    drop_captures(&attempt.dir, &mut record, request)?;
                    let place = sweep.trials().join(&attempt.trial);
                    committed |= store::commit(&attempt.dir, &place)? == Committed::First;
                }
            }
            // Told of in the table of failures.
            Some(TrialRecord { state: TrialState::Failed { .. }, .. }) => {}
            _ => {
                // Those of other machines may still run.
                let name = attempt.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.contains(&format!("-{host}-")) {
                    remove(attempt.dir.path())?;
                }
            }
        }
        // Goes only when it is empty.
        let _ = fs::remove_dir(sweep.attempts().join(&attempt.trial));
    }
    Ok(committed)
}

fn remove(folder: &std::path::Path) -> Result<(), StoreError> {
    fs::remove_dir_all(folder).map_err(|source| StoreError::Io { doing: "remove", path: folder.to_owned(), source })
}

/// Turns signals and the file by which others ask for an end into urgency.
async fn heed(
    stop: PathBuf,
    urgency: watch::Sender<Urgency>,
    after: watch::Sender<bool>,
    mut signals: watch::Receiver<Urgency>,
) {
    let mut looks = tokio::time::interval(LOOK);
    let raise = |level: Urgency| urgency.send_modify(|now| *now = level.max(*now));
    loop {
        tokio::select! {
            changed = signals.changed() => {
                let level = *signals.borrow_and_update();
                raise(level);
                if changed.is_err() {
                    return;
                }
            }
            _ = looks.tick() => {
                if let Some(now) = asked(&stop) {
                    after.send_replace(true);
                    if now {
                        raise(Urgency::Stop);
                    }
                }
            }
        }
    }
}

/// What of an update goes into the session's log.
fn line_of(update: &Update) -> Option<Did> {
    Some(match update {
        Update::Problem { trial, text } => Did::Said { trial: trial.clone(), text: text.clone() },
        Update::Trial { trial, what } => match &what.happening {
            Happening::Phase { phase } => Did::Phase { trial: trial.clone(), phase: *phase },
            Happening::Warning { text } => Did::Said { trial: trial.clone(), text: text.clone() },
            _ => return None,
        },
        _ => return None,
    })
}

/// Where trials are played.
struct Stage<'a> {
    owner: Owner,
    begun: Instant,
    total: usize,
    tried: usize,
    done_now: usize,
    plans: BTreeMap<&'a str, &'a Trial>,
    planned: BTreeMap<&'a str, &'a Planned>,
    outlook: &'a Outlook,
    request: &'a Request,
    session: std::rc::Rc<std::cell::RefCell<Session>>,
    queue: Queue,
    ran: Vec<Ran>,
    /// Ids of trials that are done.
    done: BTreeSet<String>,
    /// Figures of trials that are done, as far as they were looked at.
    figures: BTreeMap<String, Option<f64>>,
    /// The repetition that the queue has come to.
    round: u32,
}

impl Stage<'_> {
    async fn play(&mut self, context: &Context, after: &watch::Receiver<bool>) -> Result<End, SweepError> {
        loop {
            if *context.urgency.borrow() > Urgency::None {
                return Ok(if *after.borrow() { End::Asked } else { End::Interrupted });
            }
            let id = match self.queue.next() {
                Next::Finished if self.next_round()? => continue,
                Next::Finished => return Ok(End::Finished),
                Next::Stop(stop) => return Ok(End::Stopped(stop)),
                Next::Trial(id) => id,
            };
            if *after.borrow() {
                return Ok(End::Asked);
            }
            let (Some(trial), Some(planned)) = (self.plans.get(id.as_str()), self.planned.get(id.as_str())) else {
                // The queue was made of these trials.
                self.queue.ended(&id, Ended::Done);
                continue;
            };
            let expected = self.pace().span([*planned]).likely;
            if self.request.deadline.is_some_and(|deadline| self.begun.elapsed() + expected > deadline) {
                return Ok(End::Deadline);
            }
            let need = self.pace().bytes([*planned]) + RESERVE;
            if let Err(error) = store::require_space(self.outlook.sweep.path(), need) {
                return Ok(End::Machine(error.to_string()));
            }
            let (trial, planned) = ((*trial).clone(), (*planned).clone());
            self.one(context, &trial, &planned).await?;
        }
    }

    /// What this session's trials tell, once there are a few; until then what was known before.
    fn pace(&self) -> Pace {
        if self.ran.len() < 3 { self.outlook.pace } else { Pace::learned(&self.ran) }
    }

    /// How long the trials take that wait.
    fn left(&self) -> Span {
        self.pace().span(self.queue.waiting().filter_map(|id| self.planned.get(id).copied()))
    }

    /// Has those points tried once more whose figures are not known as precisely as wanted. Whether there are any.
    fn next_round(&mut self) -> Result<bool, SweepError> {
        let Some(until) = self.request.until else { return Ok(false) };
        let run = RunDir::open(self.outlook.sweep.path())?;
        while self.round < until.most {
            let known = figures(&run, &self.outlook.trials, &self.done, until, self.round, &mut self.figures)?;
            self.round += 1;
            // What fails tells nothing, however often it is tried.
            let failing: BTreeSet<&Parameters> = self
                .queue
                .given_up()
                .iter()
                .filter_map(|id| self.planned.get(id.as_str()).map(|planned| &planned.point.parameters))
                .collect();
            let wanting: BTreeSet<&Parameters> = known
                .iter()
                .filter(|(point, schemes)| {
                    let schemes: Vec<Vec<f64>> = schemes.values().cloned().collect();
                    !failing.contains(*point) && !is_enough(&schemes, until.precision)
                })
                .map(|(point, _)| *point)
                .collect();
            if wanting.is_empty() {
                return Ok(false);
            }
            let round = self.round;
            let is_next = |trial: &&Planned| {
                trial.point.repetition == round
                    && wanting.contains(&trial.point.parameters)
                    && !self.done.contains(&trial.id)
            };
            let next: Vec<String> =
                self.outlook.trials.iter().filter(is_next).map(|trial| trial.id.clone()).collect();
            if !next.is_empty() {
                self.total += next.len();
                self.queue.add(next);
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn one(&mut self, context: &Context, trial: &Trial, planned: &Planned) -> Result<(), SweepError> {
        let sweep = &self.outlook.sweep;
        let began = Instant::now();
        self.tried += 1;
        let what = format!("{} ({} of {})", told(&trial.point), self.tried, self.total);
        tell(&context.updates, Update::Next { trial: trial.id.clone(), what, left: self.left().likely }).await;
        let name = self.session.borrow_mut().attempt();
        let dir = sweep.attempt(&trial.id, &name);
        self.session.borrow_mut().write(Did::TrialStarted { trial: trial.id.clone(), attempt: name })?;
        let serial = u32::try_from(self.tried).unwrap_or(u32::MAX);
        let mut record = supervise::trial(context, trial, &dir, serial).await?;
        let bytes: u64 = record.files.values().map(|file| file.bytes).sum();

        let mut commit_s = 0.0;
        match &record.state {
            TrialState::Done => {
                let (request, owner) = (self.request.clone(), self.owner);
                let (place, of) = (sweep.trials().join(&trial.id), dir.clone());
                let work = move || -> Result<(TrialRecord, f64), StoreError> {
                    drop_captures(&of, &mut record, &request)?;
                    owner.chown_tree(of.path())?;
                    let began = Instant::now();
                    store::commit(&of, &place)?;
                    Ok((record, began.elapsed().as_secs_f64()))
                };
                let worked = tokio::task::spawn_blocking(work).await;
                (record, commit_s) = worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
                let _ = fs::remove_dir(sweep.attempts().join(&trial.id));
                self.queue.ended(&trial.id, Ended::Done);
                self.done.insert(trial.id.clone());
                self.done_now += 1;
                let took_s = began.elapsed().as_secs_f64();
                self.ran.push(Ran { planned_s: planned.seconds, took_s, planned_bytes: planned.bytes, bytes });
            }
            TrialState::Failed { .. } => {
                self.queue.ended(&trial.id, Ended::Failed(record.cause.unwrap_or(Cause::Trial)));
            }
            // Interrupted: it is to be done again from its beginning.
            _ => {
                remove(dir.path())?;
                let _ = fs::remove_dir(sweep.attempts().join(&trial.id));
            }
        }
        self.session.borrow_mut().write(Did::TrialEnded {
            trial: trial.id.clone(),
            state: record.state,
            cause: record.cause,
            unfit: record.unfit,
            damage: record.damage,
            planned_s: planned.seconds,
            took_s: began.elapsed().as_secs_f64(),
            commit_s,
            planned_bytes: planned.bytes,
            bytes,
        })?;
        Ok(())
    }
}

/// The figures of the trials up to a repetition that are done, for each point and scheme.
fn figures<'t>(
    run: &RunDir,
    trials: &'t [Planned],
    done: &BTreeSet<String>,
    until: Until,
    last: u32,
    looked_at: &mut BTreeMap<String, Option<f64>>,
) -> Result<BTreeMap<&'t Parameters, BTreeMap<Scheme, Vec<f64>>>, SweepError> {
    let fresh: Vec<&Planned> =
        trials.iter().filter(|trial| done.contains(&trial.id) && !looked_at.contains_key(&trial.id)).collect();
    let read = |trial: &&Planned| -> Result<Option<f64>, table::TableError> {
        Ok(until::figure(&table::read_summary(&run.trial(&trial.id).summary())?, until.figure))
    };
    for (trial, figure) in fresh.iter().zip(parallel::map(&fresh, read)) {
        looked_at.insert(trial.id.clone(), figure?);
    }
    let mut known: BTreeMap<&Parameters, BTreeMap<Scheme, Vec<f64>>> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.point.repetition <= last) {
        let figures = known.entry(&trial.point.parameters).or_default().entry(trial.point.scheme).or_default();
        figures.extend(looked_at.get(&trial.id).copied().flatten());
    }
    Ok(known)
}

/// `direct, bandwidth 2 Mbit/s, repetition 1`.
#[must_use]
pub fn told(point: &Point) -> String {
    let parameters = if point.parameters.is_empty() { String::new() } else { format!(", {}", point.parameters) };
    format!("{}{parameters}, repetition {}", point.scheme, point.repetition)
}

/// Drops a trial's captures, if that is the policy and its tables come out of them a second time as they are.
fn drop_captures(dir: &TrialDir, record: &mut TrialRecord, request: &Request) -> Result<(), StoreError> {
    let captures = dir.path().join("pcap");
    if record.captures.are_kept() {
        if !request.keep.drops(record) {
            return Ok(());
        }
        let same = table::analyse(dir, record, Some(request.job.links.1.kind))
            .and_then(|again| again.compare(dir))
            .is_ok_and(|found| found.differences.is_empty() && found.no_longer_known.is_empty());
        if !same {
            tracing::warn!("{}: its tables do not come out of its captures again, which are kept", record.id);
            return Ok(());
        }
        record.captures = Captures::Dropped;
        record.files.retain(|name, _| !name.starts_with("pcap/"));
        record.save(dir)?;
    }
    // Also after a session that was killed between the record and this.
    match fs::remove_dir_all(&captures) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Io { doing: "remove", path: captures, source }),
    }
}

/// Puts the small tables of the whole sweep beside it, for people, and tells how it stands.
fn report(sweep: &SweepDir, outlook: &Outlook, done_now: usize, end: End) -> Result<Report, SweepError> {
    let run = RunDir::open(sweep.path())?;
    let done = sweep.done()?;
    let mine: Vec<&str> =
        outlook.trials.iter().map(|trial| trial.id.as_str()).filter(|id| done.contains(*id)).collect();
    let points: BTreeMap<&str, &Point> =
        outlook.trials.iter().map(|trial| (trial.id.as_str(), &trial.point)).collect();
    let mine_with_points = mine.iter().filter_map(|id| Some((*id, *points.get(id)?)));
    let tables = table::SweepTables::of(&run, mine_with_points)?;
    table::write_summary(&run.summary(), &tables.summary)?;
    table::write_audience(&run.audience(), &tables.audience)?;
    table::write_estimates(&run.estimates(), &tables.estimates)?;
    let owner = Owner::of_this_process()?;
    for path in [run.summary(), run.audience(), run.estimates(), sweep.file()] {
        owner.take(&path)?;
    }
    let by_id: BTreeMap<&str, &Planned> = outlook.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
    let doubtful: BTreeSet<&str> =
        tables.summary.iter().filter(|row| !row.fit || row.partial).map(|row| row.trial.as_str()).collect();
    let precision = match outlook.until {
        None => None,
        Some(until) => {
            let known = figures(&run, &outlook.trials, &done, until, until.most, &mut BTreeMap::new())?;
            let is_known = |schemes: &&BTreeMap<Scheme, Vec<f64>>| {
                is_enough(&schemes.values().cloned().collect::<Vec<_>>(), until.precision)
            };
            let count = known.values().filter(is_known).count();
            Some((until, count, known.len() - count))
        }
    };
    let needed = outlook.trials.iter().filter(|trial| outlook.needs(trial)).count();
    Ok(Report {
        sweep: sweep.clone(),
        trials: needed.max(mine.len()),
        precision,
        done: mine.len(),
        done_now,
        failed: failures(sweep, &by_id, &done)?,
        doubtful: doubtful.len(),
        end,
        estimates: tables.estimates,
    })
}
