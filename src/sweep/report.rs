//! How a session ended, and how the sweep stands then.

use std::collections::{BTreeMap, BTreeSet};

use super::SweepError;
use super::outlook::Outlook;
use super::queue::Stop;
use super::session::{Process, sessions};
use super::status::{Failure, History, failures};
use super::until::{self, is_enough};
use crate::parallel;
use crate::plan::{Parameters, Point, Scheme, Until};
use crate::store::{Owner, Planned, RunDir, SweepDir};
use crate::table::{self, Effects, EstimateRow, ModelRow};

/// How a session ended.
#[derive(Debug)]
pub struct Report {
    /// The sweep's folder.
    pub sweep: SweepDir,
    /// How many trials the sweep has.
    pub trials: usize,
    /// Those of them that are done.
    pub done: usize,
    /// Those that this session did.
    pub done_now: usize,
    /// Those that failed and are not done.
    pub failed: Vec<Failure>,
    /// Those that are done and unfit or damaged.
    pub doubtful: usize,
    /// Those of them that are damaged or lack something; unknown, and 0, if the sweep was interrupted.
    pub partial: usize,
    /// Where trials are repeated until a figure is known: of how many points it is, of how many not.
    pub precision: Option<(Until, usize, usize)>,
    /// Why it ended before its end.
    pub end: End,
    /// A line for each figure of each point and viewer, over repetitions.
    pub estimates: Vec<EstimateRow>,
    /// That it matters on which machine a trial ran, in words; `None`: it does not, or that cannot be told.
    pub nodes: Option<String>,
    /// Which parameter moves the excess how much ([`table::effects_text`] says it).
    pub effects: Effects,
    /// What the model foretold, where there are predicted trials beside measured ones.
    pub models: Vec<ModelRow>,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every trial is done or given up.
    Finished,
    /// Trials failed, and the session was to stop then.
    Stopped(Stop),
    /// The machine cannot go on: no space.
    Machine(String),
    /// `livectl stop` asked for it.
    Asked,
    /// No further trial would end before the deadline.
    Deadline,
    /// A signal interrupted it.
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

/// Puts the small tables of the whole sweep beside it, for people, and tells how it stands.
pub(super) fn report(sweep: &SweepDir, outlook: &Outlook, done_now: usize, end: End) -> Result<Report, SweepError> {
    let run = RunDir::open(sweep.path())?;
    let done = sweep.done()?;
    let mine: Vec<&str> =
        outlook.trials.iter().map(|trial| trial.id.as_str()).filter(|id| done.contains(*id)).collect();
    let points: BTreeMap<&str, &Point> =
        outlook.trials.iter().map(|trial| (trial.id.as_str(), &trial.point)).collect();
    let mine_with_points = mine.iter().filter_map(|id| Some((*id, *points.get(id)?)));
    // Someone who interrupts does not want to wait for all tables to be read.
    let tables = match end {
        End::Interrupted => None,
        _ => Some(table::SweepTables::of(&run, mine_with_points)?),
    };
    if let Some(tables) = &tables {
        tables.write(&run)?;
        let owner = Owner::of_this_process()?;
        for path in [run.summary(), run.audience(), run.estimates(), run.effects(), run.models()] {
            if path.exists() {
                owner.take(&path)?;
            }
        }
    }
    let by_id: BTreeMap<&str, &Planned> = outlook.trials.iter().map(|trial| (trial.id.as_str(), trial)).collect();
    let doubtful = match &tables {
        Some(tables) => {
            let doubted = tables.summary.iter().filter(|row| !row.fit || row.partial);
            doubted.map(|row| row.trial.as_str()).collect::<BTreeSet<_>>().len()
        }
        None => {
            let told = History::of(&sessions(sweep)?, &Process::this().host)?.doubtful;
            mine.iter().filter(|id| told.contains(**id)).count()
        }
    };
    let partial = tables.iter().flat_map(|tables| &tables.summary).filter(|row| row.partial);
    let partial = partial.map(|row| row.trial.as_str()).collect::<BTreeSet<_>>().len();
    let precision = match outlook.until.filter(|_| end != End::Interrupted) {
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
    let tables = tables.unwrap_or_default();
    let needed = outlook.trials.iter().filter(|trial| outlook.needs(trial)).count();
    Ok(Report {
        sweep: sweep.clone(),
        trials: needed.max(mine.len()),
        precision,
        done: mine.len(),
        done_now,
        failed: failures(sweep, &by_id, &done)?,
        doubtful,
        partial,
        end,
        nodes: table::node_effect(&tables.summary).and_then(|effect| effect.sentence()),
        estimates: tables.estimates,
        effects: tables.effects,
        models: tables.models,
    })
}

/// The figures of the trials up to a repetition that are done, for each point and scheme.
pub(super) fn figures<'t>(
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
