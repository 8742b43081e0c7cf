//! The job that comes after a round: it puts the next one together, or ends the session with its tables.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Log, Logs};
use super::order::Order;
use super::round::{Facts, Next};
use super::submit::{self, Submitted};
use super::{SlurmError, node};
use crate::store::{RunDir, SweepFile, TrialState};
use crate::sweep::outlook::Outlook;
use crate::sweep::recover::{recover, remove};
use crate::sweep::repeat::further;
use crate::sweep::report::{End, Report, report};
use crate::sweep::session::{Did, asked};

/// What came after a round.
#[derive(Debug)]
pub enum After {
    /// The next round was handed over: its number, and its jobs.
    Round(u32, Submitted),
    /// It had been handed over already: Slurm has run this job twice.
    Nothing,
    /// The session has ended.
    End(Box<Report>),
}

/// Makes what comes after a round.
///
/// # Errors
/// [`SlurmError`]; the session's log then says so.
pub fn after(order: &Order, round: u32) -> Result<After, SlurmError> {
    let log = Log::of_session(&order.sweep(), &order.session);
    let made = make(order, round, &log);
    if let Err(error) = &made {
        log.write(Did::SessionEnded { why: error.to_string() })?;
    }
    made
}

fn make(order: &Order, round: u32, log: &Log) -> Result<After, SlurmError> {
    let sweep = order.sweep();
    let logs = Logs::of(&sweep, &order.session)?;
    if logs.ended().is_some() || logs.submitted().is_some_and(|(last, ..)| last > round) {
        return Ok(After::Nothing);
    }
    clear_claims(order)?;
    recover(&sweep, (order.keep, order.links), order.policy.retry_unfit)?;
    let file = SweepFile::load(&sweep)?
        .ok_or_else(|| crate::store::StoreError::NotASweep { path: sweep.path().to_owned() })?;
    let outlook = Outlook::stored(&sweep, &file)?;
    let facts = facts(order, &outlook, &logs, Some(round));
    let bad: Vec<String> = facts.left_out.keys().cloned().collect();
    for (node, why) in &facts.left_out {
        log.write(Did::Said { trial: String::new(), text: format!("node {node} is excluded: {why}") })?;
    }
    let to_try = match facts.next() {
        Next::Try(ids) => ids,
        Next::End(end) => return finish(log, &outlook, &logs, end),
        Next::Tried(given_up) => repeated(&outlook, &given_up)?,
    };
    if to_try.is_empty() {
        return finish(log, &outlook, &logs, End::Finished);
    }
    if is_late(order, &outlook, &to_try) {
        return finish(log, &outlook, &logs, End::Deadline);
    }
    let places = order.places(&file.trials)?;
    let submitted = submit::round(order, round + 1, &places, &to_try, &bad)?;
    Ok(After::Round(round + 1, submitted))
}

/// The trials of a session's first round; none: all is done or given up.
///
/// # Errors
/// [`SlurmError::Sweep`].
pub fn first(order: &Order, outlook: &Outlook) -> Result<Vec<String>, SlurmError> {
    let queue = outlook.queue(order.policy);
    let waiting: Vec<String> = queue.waiting().map(str::to_owned).collect();
    if waiting.is_empty() { repeated(outlook, queue.given_up()) } else { Ok(waiting) }
}

/// How a sweep stands of which nothing is left to be tried.
///
/// # Errors
/// [`SlurmError::Sweep`].
pub fn finished(outlook: &Outlook) -> Result<Report, SlurmError> {
    Ok(report(&outlook.sweep, outlook, 0, End::Finished)?)
}

/// What is there, for the decision what comes next. `over`: the round whose tasks have all ended.
#[must_use]
pub fn facts<'a>(order: &'a Order, outlook: &'a Outlook, logs: &Logs, over: Option<u32>) -> Facts<'a> {
    let stop = order.sweep().log().join(format!("{}.stop", order.session));
    Facts {
        needed: outlook.trials.iter().filter(|trial| outlook.needs(trial)).collect(),
        done: &outlook.done,
        failed: outlook.failed.iter().map(|failure| (failure.trial.id.clone(), failure.times)).collect(),
        failed_before: &order.failed_before,
        vain: node::in_vain(&logs.nodes, over.is_some()),
        policy: order.policy,
        begun: over.map(|round| node::begun(&logs.nodes, round).len()),
        left_out: node::left_out(&logs.nodes),
        asked: asked(&stop).is_some(),
    }
}

/// Further repetitions of what is not known well enough.
fn repeated(outlook: &Outlook, given_up: &BTreeSet<String>) -> Result<Vec<String>, SlurmError> {
    let Some(until) = outlook.until else { return Ok(Vec::new()) };
    let run = RunDir::open(outlook.sweep.path())?;
    let (mut round, mut looked_at) = (until.least, BTreeMap::new());
    Ok(further(&run, &outlook.trials, &outlook.done, given_up, until, &mut round, &mut looked_at)?)
}

/// Whether none of these trials would end before the deadline.
#[must_use]
pub fn is_late(order: &Order, outlook: &Outlook, ids: &[String]) -> bool {
    let Some(deadline) = order.deadline_s else { return false };
    let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mine = outlook.trials.iter().filter(|trial| ids.contains(trial.id.as_str()));
    let quickest = mine.map(|trial| outlook.pace.span([trial]).likely).min().unwrap_or_default();
    let passed = (jiff::Timestamp::now() - order.given).total(jiff::Unit::Second).unwrap_or(0.0);
    passed + quickest.as_secs_f64() > deadline as f64
}

fn finish(log: &Log, outlook: &Outlook, logs: &Logs, end: End) -> Result<After, SlurmError> {
    let done = |what: &Did| match what {
        // One that was kept back, to be tried again, is not done.
        Did::TrialEnded { trial, state: TrialState::Done, .. } => {
            Some(trial.clone()).filter(|id| outlook.done.contains(id))
        }
        _ => None,
    };
    // What two have done was done once.
    let done_now: BTreeSet<String> = logs.nodes.values().flatten().filter_map(|line| done(&line.what)).collect();
    let done_now = done_now.len();
    let why = end.to_string();
    let report = report(&outlook.sweep, outlook, done_now, end)?;
    log.write(Did::SessionEnded { why })?;
    Ok(After::End(Box::new(report)))
}

/// Takes away what tasks of this session had begun to put into the shared folder and will not finish: they are over.
fn clear_claims(order: &Order) -> Result<(), SlurmError> {
    let mark = format!("-{}-slurm_", super::task::unique(&order.session));
    for attempt in order.sweep().tried()? {
        let name = attempt.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(&mark) && attempt.record.is_none_or(|record| record.ended.is_none()) {
            remove(attempt.dir.path())?;
            // Goes only when it is empty.
            let _ = std::fs::remove_dir(order.sweep().attempts().join(&attempt.trial));
        }
    }
    Ok(())
}
