//! A task: one trial on one node, as the user who submitted it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::log::{Log, Logs};
use super::measure::Errand;
use super::next::{facts, is_late};
use super::order::{Order, Place};
use super::round::Next;
use super::scratch::{Scratch, copy};
use super::{SlurmError, control, node};
use crate::store::{self, Cause, Committed, StoreError, SweepFile, TrialDir, TrialRecord, TrialState};
use crate::sweep::outlook::Outlook;
use crate::sweep::session::{Did, Line, asked};

/// A task that Slurm has started so often is left to the next round.
const RESTARTS: u32 = 3;
/// For Slurm to take in that a task is to go elsewhere.
const MOVING: Duration = Duration::from_secs(20);
/// For the part that is root to end when it is told to.
const ENDING: Duration = Duration::from_secs(25);

/// Which task this is: Slurm's own variables do not pass through sudo, so all is given by words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Number of the round, from 1.
    pub round: u32,
    /// Which trial of the round, from 0.
    pub place: usize,
    /// Job and task, such as `17_3`.
    pub task: String,
    /// How often Slurm has started it before.
    pub restart: u32,
    /// Name of the node.
    pub node: String,
    /// The folder to measure in.
    pub scratch: PathBuf,
    /// The partition that it runs in, if that is known.
    pub partition: Option<String>,
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The trial is done.
    Done,
    /// It is over, but the node did not keep up, and it is tried again.
    Unfit,
    /// It had been done before.
    DoneBefore,
    /// Somebody else has finished it meanwhile.
    Superseded,
    /// It failed, for this reason.
    Failed(String),
    /// The node cannot run trials; whether Slurm starts the task elsewhere.
    NodeFailed(String, bool),
    /// It was not to begin: the sweep ends.
    Ending(String),
    /// Slurm ended the task.
    Killed,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Unfit => f.write_str("unfit: it will be retried (--retry-unfit)"),
            Outcome::DoneBefore => f.write_str("it is done already"),
            Outcome::Superseded => f.write_str("superseded: another session had done it first"),
            Outcome::Failed(why) => write!(f, "failed: {why}"),
            Outcome::NodeFailed(why, true) => write!(f, "this node failed: {why}; Slurm starts the task elsewhere"),
            Outcome::NodeFailed(why, false) => {
                write!(f, "this node failed: {why}; the next round tries it elsewhere")
            }
            Outcome::Ending(why) => write!(f, "not begun: {why}"),
            Outcome::Killed => f.write_str("ended by Slurm: cancelled, requeued or out of time"),
        }
    }
}

/// The part of a session's name that nothing else has.
pub(super) fn unique(session: &str) -> &str {
    session.rsplit('-').next().unwrap_or_default()
}

/// Measures the trial of one task and commits it.
///
/// # Errors
/// [`SlurmError`].
pub async fn perform(order: &Order, task: &Task) -> Result<Outcome, SlurmError> {
    // From here on an end that Slurm asks for is heeded, not suffered.
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|source| StoreError::Io { doing: "listen for signals of", path: "Slurm".into(), source })?;
    let sweep = order.sweep();
    let places = order.load_round(task.round)?;
    let place = places.get(task.place).ok_or(SlurmError::Changed)?;
    let id = place.trial.id.as_str();
    if sweep.done()?.contains(id) {
        return Ok(Outcome::DoneBefore);
    }
    if let Some(why) = ending(order, place)? {
        return Ok(Outcome::Ending(why));
    }
    let log = Log::of_node(&sweep, &order.session, &task.node);
    log.write(Did::TaskStarted {
        round: task.round,
        trial: id.to_owned(),
        task: task.task.clone(),
        restart: task.restart,
    })?;
    if let (count, Some(why)) = node::failures(&log.lines()?)
        && count >= node::PATIENCE
    {
        return node_failed(order, task, &log, why.to_owned()).await;
    }
    let scratch = match Scratch::new(order.scratch.as_ref().unwrap_or(&task.scratch), &attempt(order, task)) {
        Ok(scratch) => scratch,
        Err(why) => return node_failed(order, task, &log, why).await,
    };
    let claim = sweep.attempt(id, &scratch.name);
    let trial = order.plan(place)?;
    store::make_folders(claim.path(), store::Owner::Process)?;
    let record = TrialRecord {
        state: TrialState::Running,
        started: Some(jiff::Timestamp::now()),
        node: Some(task.node.clone()),
        ..TrialRecord::planned(&trial)
    };
    record.save(&claim)?;
    let errand = Errand {
        trial,
        planned: place.trial.clone(),
        dir: scratch.dir(),
        attempt: scratch.name.clone(),
        links: order.links,
        datapath: order.datapath,
        keep: order.keep,
        deadline: order.trial_deadline_s.map(Duration::from_secs),
        node: task.node.clone(),
        stale: scratch.stale.clone(),
    };
    let told = sent(&order.livectl, &errand, &log, &mut term).await;
    let outcome = match told {
        Told::Ended(line) => ended(order, task, place, &scratch, &claim, line, &log).await,
        Told::Unable(why) => {
            withdraw(&claim);
            node_failed(order, task, &log, why).await
        }
        Told::Killed => {
            withdraw(&claim);
            log.write(Did::Said { trial: id.to_owned(), text: Outcome::Killed.to_string() })?;
            log.write(partial(&errand))?;
            Ok(Outcome::Killed)
        }
    };
    scratch.clear();
    if let Err(error) = &outcome {
        log.write(Did::Said { trial: id.to_owned(), text: error.to_string() })?;
    }
    outcome
}

/// Why no further trial is to begin, if so.
fn ending(order: &Order, place: &Place) -> Result<Option<String>, SlurmError> {
    let sweep = order.sweep();
    if asked(&sweep.log().join(format!("{}.stop", order.session))).is_some() {
        return Ok(Some("`livectl stop` asked for an end".to_owned()));
    }
    let policy = order.policy;
    if !policy.fail_fast && policy.max_failures.is_none() && order.deadline_s.is_none() {
        return Ok(None);
    }
    let file = SweepFile::load(&sweep)?.ok_or_else(|| StoreError::NotASweep { path: sweep.path().to_owned() })?;
    let outlook = Outlook::stored(&sweep, &file)?;
    if is_late(order, &outlook, std::slice::from_ref(&place.trial.id)) {
        return Ok(Some("it would not end before the deadline".to_owned()));
    }
    let logs = Logs::of(&sweep, &order.session)?;
    Ok(match facts(order, &outlook, &logs, None).next() {
        Next::End(end) => Some(end.to_string()),
        Next::Try(_) | Next::Tried(_) => None,
    })
}

/// A name that no other attempt has.
fn attempt(order: &Order, task: &Task) -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let (now, session) = (jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), unique(&order.session));
    let uuid = uuid.get(..8).unwrap_or("00000000");
    format!("{now}-{session}-slurm_{}-{}.{}-{uuid}", task.node, task.task, task.restart)
}

/// What the part that is root told.
enum Told {
    /// The trial was played.
    Ended(Line),
    /// It was not: the node cannot.
    Unable(String),
    /// Slurm has sent the signal before it kills.
    Killed,
}

/// Has an errand done by root, and writes into the node's log what is told of it.
async fn sent(livectl: &Path, errand: &Errand, log: &Log, term: &mut tokio::signal::unix::Signal) -> Told {
    let root = nix::unistd::geteuid().is_root();
    let words = ["internal", "slurm-measure"];
    let mut command = if root { tokio::process::Command::new(livectl) } else { tokio::process::Command::new("sudo") };
    if !root {
        command.arg("-n").arg(livectl);
    }
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).current_dir("/");
    let no_root = |what: String| {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let user = user.map_or_else(|| "USER".to_owned(), |user| user.name);
        let livectl = livectl.display();
        Told::Unable(format!(
            "measuring needs root, and `sudo -n` failed ({what}); /etc/sudoers.d/livectl must contain: \
             {user} ALL=(root) NOPASSWD: {livectl} internal slurm-measure"
        ))
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if root => return Told::Unable(format!("it cannot start {}: {error}", livectl.display())),
        Err(error) => return no_root(format!("cannot start sudo: {error}")),
    };
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Told::Unable("the part that runs as root has no pipes".to_owned());
    };
    let mut text = serde_json::to_vec(errand).unwrap_or_default();
    text.push(b'\n');
    let mut told: Option<Told> = None;
    let mut lines = BufReader::new(stdout).lines();
    // If it does not read that, it says why below.
    let _ = stdin.write_all(&text).await;
    let _ = stdin.flush().await;
    let mut heard = false;
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { break };
                let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
                heard = true;
                match &line.what {
                    Did::NodeFailed { why, .. } => told = Some(Told::Unable(why.clone())),
                    Did::TrialEnded { .. } => told = Some(Told::Ended(line)),
                    _ => {
                        if let Err(error) = log.write_line(&line) {
                            tracing::warn!("{error}");
                        }
                    }
                }
            }
            _ = term.recv() => {
                // The end of its input ends it, wherever it is.
                drop(stdin);
                let _ = tokio::time::timeout(ENDING, child.wait()).await;
                return Told::Killed;
            }
        }
    }
    let status = tokio::time::timeout(ENDING, child.wait()).await;
    drop(stdin);
    let status = match status {
        Ok(Ok(status)) => status.to_string(),
        _ => "it does not end".to_owned(),
    };
    match told {
        Some(told) => told,
        None if !heard && !root => no_root(status),
        None => Told::Unable(format!(
            "the part that measures ended early ({status}); what it printed is in this job's output"
        )),
    }
}

/// What is written of a trial that Slurm ended.
fn partial(errand: &Errand) -> Did {
    Did::TrialEnded {
        trial: errand.trial.id.clone(),
        state: TrialState::Partial { why: "interrupted".to_owned() },
        cause: None,
        unfit: Vec::new(),
        damage: Vec::new(),
        planned_s: errand.planned.seconds,
        took_s: 0.0,
        commit_s: 0.0,
        planned_bytes: errand.planned.bytes,
        bytes: 0,
        predicted: errand.planned.is_predicted(),
    }
}

/// Puts what came of a trial into the shared folder.
async fn ended(
    order: &Order,
    task: &Task,
    place: &Place,
    scratch: &Scratch,
    claim: &TrialDir,
    line: Line,
    log: &Log,
) -> Result<Outcome, SlurmError> {
    let Did::TrialEnded {
        trial,
        state,
        cause,
        unfit,
        damage,
        planned_s,
        took_s,
        planned_bytes,
        bytes,
        predicted,
        ..
    } = line.what
    else {
        return Err(SlurmError::Changed);
    };
    let begun = Instant::now();
    let (from, to) = (scratch.dir(), claim.path().to_owned());
    let copied = tokio::task::spawn_blocking(move || copy(&from, &to)).await;
    copied.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    let mut outcome = match &state {
        TrialState::Failed { why } => Outcome::Failed(why.clone()),
        TrialState::Done if !unfit.is_empty() && kept_back(order, place)? <= order.policy.retry_unfit => {
            Outcome::Unfit
        }
        TrialState::Done => {
            let (of, at) = (claim.clone(), order.sweep().trials().join(&place.trial.id));
            let committed = tokio::task::spawn_blocking(move || store::commit(&of, &at)).await;
            match committed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))? {
                Committed::First => {
                    let _ = fs::remove_dir(order.sweep().attempts().join(&place.trial.id));
                    Outcome::Done
                }
                Committed::Superseded => Outcome::Superseded,
            }
        }
        _ => {
            withdraw(claim);
            Outcome::Killed
        }
    };
    if outcome == Outcome::Superseded {
        log.write(Did::Said { trial: trial.clone(), text: outcome.to_string() })?;
    }
    let whose = cause.filter(|_| matches!(state, TrialState::Failed { .. }));
    let commit_s = begun.elapsed().as_secs_f64();
    let took_s = took_s + commit_s;
    log.write(Did::TrialEnded {
        trial,
        state,
        cause,
        unfit,
        damage,
        planned_s,
        took_s,
        commit_s,
        planned_bytes,
        bytes,
        predicted,
    })?;
    if let (Some(Cause::Machine), Outcome::Failed(why)) = (whose, &outcome) {
        outcome = node_failed(order, task, log, why.clone()).await?;
    }
    Ok(outcome)
}

/// Attempts at the trial that were unfit, this one among them.
fn kept_back(order: &Order, place: &Place) -> Result<u32, SlurmError> {
    let attempts = order.sweep().tried_of(&place.trial.id)?;
    let unfit = attempts.iter().filter(|attempt| attempt.record.as_ref().is_some_and(TrialRecord::is_unfit)).count();
    Ok(u32::try_from(unfit).unwrap_or(u32::MAX))
}

/// Takes back what was begun in the shared folder.
fn withdraw(claim: &TrialDir) {
    let _ = fs::remove_dir_all(claim.path());
    // Goes only when it is empty.
    let _ = claim.path().parent().map(fs::remove_dir);
}

/// Notes that the node failed, and has the task go elsewhere.
async fn node_failed(order: &Order, task: &Task, log: &Log, why: String) -> Result<Outcome, SlurmError> {
    log.write(Did::NodeFailed { node: task.node.clone(), why: why.clone() })?;
    Ok(elsewhere(order, task, why).await)
}

/// Has Slurm start the task on another node, and gives this node no further tasks of the array when it has failed too
/// often. Slurm may refuse all of that; the next round then does it.
async fn elsewhere(order: &Order, task: &Task, why: String) -> Outcome {
    let mut bad: Vec<String> = Logs::of(&order.sweep(), &order.session)
        .map(|logs| node::left_out(&logs.nodes).into_keys().collect())
        .unwrap_or_default();
    let is_left_out = bad.contains(&task.node);
    if !is_left_out {
        bad.push(task.node.clone());
    }
    // Slurm would let it wait for ever if no node were left.
    let others = control::nodes_up(task.partition.as_deref());
    if !others.is_ok_and(|nodes| nodes.iter().any(|node| !bad.contains(node))) {
        return Outcome::NodeFailed(why, false);
    }
    let array = task.task.split('_').next().unwrap_or(&task.task);
    if is_left_out {
        let _ = control::update(array, &format!("ExcNodeList={}", bad.join(",")));
    }
    if task.restart >= RESTARTS || control::requeue(&task.task).is_err() {
        return Outcome::NodeFailed(why, false);
    }
    // That has ended this task. Until Slurm kills what is left of it, where it is to start can still be said; the
    // first try may be hit by the signal that ends this task.
    let deadline = Instant::now() + MOVING;
    let mut tries = tokio::time::interval(Duration::from_millis(100));
    while Instant::now() < deadline {
        tries.tick().await;
        if control::update(&task.task, &format!("ExcNodeList={}", bad.join(","))).is_ok() {
            break;
        }
    }
    Outcome::NodeFailed(why, true)
}
