//! The shell of a sweep: a trial after the other, each through the supervisor of `livectl run`, each committed before
//! the next begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::SweepError;
use super::claim::{Elsewhere, claim, elsewhere};
use super::keep::{Keep, drop_captures};
use super::outlook::Outlook;
use super::pace::{Pace, Ran, Span};
use super::queue::{Ended, Next, Policy, Queue};
use super::recover::{recover, remove};
use super::repeat::further;
use super::report::{End, Report, report};
use super::session::{Did, Known, Process, Session, asked, sessions};
use crate::plan::{LinkKind, Trial, Until};
use crate::predict::{self, folder::Encoded};
use crate::run::event::{Happening, Update};
use crate::run::{Context, Job, Urgency, tell};
use crate::store::{
    self, Cause, Choice, Owner, Planned, RunDir, SWEEP_FORMAT, Software, StoreError, SweepDir, SweepFile,
    TrialRecord, TrialState,
};

/// How often the file is looked for by which others ask for an end.
const LOOK: Duration = Duration::from_millis(500);
/// What must stay free on the disk beside what the next trial leaves.
pub(super) const RESERVE: u64 = 100_000_000;

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

impl Request {
    /// Whose captures are kept, and what tables are computed with.
    fn keeping(&self) -> (Keep, LinkKind) {
        (self.keep, self.job.links.1.kind)
    }
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
    let outlook = match recover(&sweep, request.keeping(), request.policy.retry_unfit) {
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
        put_off: 0,
        failed_elsewhere: BTreeSet::new(),
        encoded: std::sync::Arc::default(),
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

/// Begins a session, unless another one is at work on this machine: of two that begin at once, the one with the
/// earlier name goes on.
fn begin(sweep: &SweepDir, owner: Owner, left: usize, trials: usize) -> Result<Session, SweepError> {
    let alive = |known: &Known| known.is_alive();
    let running =
        |process: Process| SweepError::Running { pid: process.pid, sweep: crate::shell_word::path(sweep.path()) };
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
#[must_use]
pub fn file_of(job: &Job, outlook: &Outlook) -> SweepFile {
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
        model: outlook.trials.iter().any(Planned::is_predicted).then_some(predict::MODEL),
        trials: outlook.trials.clone(),
    }
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
pub(super) fn line_of(update: &Update) -> Option<Did> {
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
    /// Trials in a row that were left to others.
    put_off: usize,
    /// Attempts of others that have failed and were counted.
    failed_elsewhere: BTreeSet<String>,
    /// The videos of predicted trials.
    encoded: std::sync::Arc<Encoded>,
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
            if !self.is_mine(&trial)? {
                self.wait_for_others(context).await;
                continue;
            }
            self.one(context, &trial, &planned).await?;
        }
    }

    /// Whether a trial is this session's to try: nobody on another machine has done it meanwhile, or is at it.
    fn is_mine(&mut self, trial: &Trial) -> Result<bool, SweepError> {
        let sweep = &self.outlook.sweep;
        let done = sweep.done()?;
        let is_done = done.contains(&trial.id);
        self.done.extend(done);
        if is_done {
            self.queue.ended(&trial.id, Ended::Done);
            return Ok(false);
        }
        let elsewhere = elsewhere(sweep, trial, self.session.borrow().name())?;
        Ok(match elsewhere {
            Elsewhere::Free => true,
            Elsewhere::Claimed => {
                self.queue.put_off(&trial.id);
                self.put_off += 1;
                false
            }
            Elsewhere::Failed(attempts) => {
                let fresh: Vec<String> = attempts.difference(&self.failed_elsewhere).cloned().collect();
                fresh.iter().for_each(|_| self.queue.ended(&trial.id, Ended::Failed(Cause::Trial)));
                self.failed_elsewhere.extend(fresh.iter().cloned());
                fresh.is_empty()
            }
        })
    }

    /// When all that waits is with others, looks again in a while, for what they do not finish is to be tried here.
    async fn wait_for_others(&mut self, context: &Context) {
        if self.put_off < self.queue.waiting().count().max(1) {
            return;
        }
        self.put_off = 0;
        let mut urgency = context.urgency.clone();
        tokio::select! { Ok(()) = urgency.changed() => {}, () = tokio::time::sleep(LOOK) => {} }
    }

    /// What this session's trials tell, once there are a few; until then what was known before.
    fn pace(&self) -> Pace {
        Pace::learned(&self.ran).or(self.outlook.pace)
    }

    /// How long the trials take that wait.
    fn left(&self) -> Span {
        self.pace().span(self.queue.waiting().filter_map(|id| self.planned.get(id).copied()))
    }

    /// How long it takes where repetitions are open, if all of them are needed.
    fn at_most(&self) -> Option<Duration> {
        self.request.until?;
        let given_up = self.queue.given_up();
        let open = |trial: &&Planned| !self.done.contains(&trial.id) && !given_up.contains(&trial.id);
        Some(self.pace().span(self.outlook.trials.iter().filter(open)).likely)
    }

    /// Has those points tried once more whose figures are not known as precisely as wanted. Whether there are any.
    fn next_round(&mut self) -> Result<bool, SweepError> {
        let Some(until) = self.request.until else { return Ok(false) };
        let run = RunDir::open(self.outlook.sweep.path())?;
        self.done.extend(self.outlook.sweep.done()?);
        let next = further(
            &run,
            &self.outlook.trials,
            &self.done,
            self.queue.given_up(),
            until,
            &mut self.round,
            &mut self.figures,
        )?;
        let any = !next.is_empty();
        self.queue.add(next);
        Ok(any)
    }

    async fn one(&mut self, context: &Context, trial: &Trial, planned: &Planned) -> Result<(), SweepError> {
        let sweep = &self.outlook.sweep;
        let began = Instant::now();
        let name = self.session.borrow_mut().attempt();
        let mut dir = sweep.attempt(&trial.id, &name);
        if !claim(sweep, trial, &dir, self.owner).await? {
            self.queue.put_off(&trial.id);
            return Ok(());
        }
        (self.tried, self.put_off) = (self.tried + 1, 0);
        let total = self.tried - 1 + self.queue.waiting().count();
        let what = format!("{} ({} of {total})", trial.point, self.tried);
        let (left, at_most) = (self.left().likely, self.at_most());
        tell(&context.updates, Update::Next { trial: trial.id.clone(), what, left, at_most }).await;
        self.session.borrow_mut().write(Did::TrialStarted { trial: trial.id.clone(), attempt: name })?;
        let serial = u32::try_from(self.tried).unwrap_or(u32::MAX);
        let mut record = super::predicted::trial(context, trial, &dir, serial, &self.encoded).await?;
        let bytes: u64 = record.files.values().map(|file| file.bytes).sum();

        let mut commit_s = 0.0;
        match &record.state {
            TrialState::Done if record.is_unfit() && self.queue.tries_again_if_unfit(&trial.id) => {
                let (keeping, owner) = (self.request.keeping(), self.owner);
                let work = move || drop_captures(&dir, &mut record, keeping).map(|()| (record, dir));
                let worked = tokio::task::spawn_blocking(work).await;
                (record, dir) = worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
                owner.chown_tree(dir.path())?;
                self.queue.ended(&trial.id, Ended::Unfit);
                let text = "it will be retried after all others (--retry-unfit)".to_owned();
                tell(&context.updates, Update::Problem { trial: trial.id.clone(), text }).await;
            }
            TrialState::Done => {
                let (keeping, owner) = (self.request.keeping(), self.owner);
                let (place, of) = (sweep.trials().join(&trial.id), dir.clone());
                let work = move || -> Result<(TrialRecord, f64), StoreError> {
                    drop_captures(&of, &mut record, keeping)?;
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
                self.ran.push(Ran {
                    planned_s: planned.seconds,
                    took_s,
                    planned_bytes: planned.bytes,
                    bytes,
                    predicted: planned.is_predicted(),
                });
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
            predicted: planned.is_predicted(),
        })?;
        Ok(())
    }
}
