//! `livectl status`, `logs` and `stop`: sweeps from another terminal, by what is in their folders.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::exit::{Exit, Failure, WithExit};
use super::sweep::{about, failures, named};
use crate::store::SweepDir;
use crate::sweep::session::{Did, Known, Life, Line, sessions, text_of};
use crate::sweep::status::{At, Status};
use crate::ui;

/// How often `logs -f` looks.
const LOOK: Duration = Duration::from_millis(300);

/// Flags of `livectl status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The recipe's name, or the sweep's folder [default: every sweep]
    #[arg(value_name = "SWEEP")]
    sweep: Option<PathBuf>,
    /// Folder of results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Flags of `livectl logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The recipe's name, or the sweep's folder [default: the only one]
    #[arg(value_name = "SWEEP")]
    sweep: Option<PathBuf>,
    /// Go on until the sweep's session ends
    #[arg(short, long)]
    follow: bool,
    /// Folder of results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Flags of `livectl stop`.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The recipe's name, or the sweep's folder [default: the only one that runs]
    #[arg(value_name = "SWEEP")]
    sweep: Option<PathBuf>,
    /// Stop the trial that runs too; it is run again later
    #[arg(long)]
    now: bool,
    /// Folder of results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Says how sweeps stand.
pub(super) fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let sweeps = match &args.sweep {
        Some(word) => vec![named(&args.results, word)?],
        None => SweepDir::all(&args.results).exit(Exit::Results)?,
    };
    if sweeps.is_empty() {
        let why = anyhow!("there is no sweep in {}; `livectl sweep RECIPE` begins one", args.results.display());
        return Err(Failure::new(Exit::Results, why));
    }
    let mut exit = Exit::Done;
    for sweep in &sweeps {
        match Status::of(sweep) {
            Ok(status) => ui::print(&text(sweep, &status))?,
            Err(error) if sweeps.len() == 1 => return Err(Failure::new(Exit::Results, error)),
            Err(error) => {
                ui::warn(&format!("{}: {error}", sweep.path().display()));
                exit = Exit::Results;
            }
        }
    }
    Ok(exit)
}

fn text(sweep: &SweepDir, status: &Status) -> String {
    let needed = status.file.trials.iter().filter(|trial| status.file.needs(trial)).count();
    let all = match status.file.until {
        None => format!("{needed} trials are"),
        Some(_) => format!("{needed} to {} trials are", status.file.trials.len()),
    };
    let mut text = format!("{}: {} of {all} done", status.file.recipe.name, status.done);
    for (count, what) in [
        (status.failed.len(), "failed"),
        (status.doubtful, "of the done unfit or damaged"),
        (status.to_come, "to come"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let _ = writeln!(text, "  {}", sweep.path().display());
    for at in &status.sessions {
        let _ = writeln!(text, "  {}", session(at));
    }
    match &status.last_end {
        Some((time, why)) if status.sessions.is_empty() => {
            let _ = writeln!(text, "  the last session ended at {}: {why}", clock(*time));
        }
        _ => {}
    }
    if status.to_come > 0 {
        let _ = writeln!(text, "  {} of trials are left", about(&status.left));
    }
    if let Some(until) = status.file.until.filter(|_| status.beyond > 0) {
        let (figure, precision) = (until.figure, until.precision * 100.0);
        let beyond = status.beyond;
        let _ = writeln!(text, "  and up to {beyond} beyond these, until {figure} is known within {precision} %");
    }
    let is_idle = status.sessions.iter().all(|at| matches!(at.life, Life::Gone | Life::Rebooted));
    if is_idle && status.to_come > 0 {
        let recipe = status.file.recipe.path.as_deref().unwrap_or(Path::new("RECIPE")).display();
        let _ = writeln!(text, "  the same command goes on: sudo livectl sweep {recipe}");
    }
    text + &failures(&status.failed)
}

fn session(at: &At) -> String {
    let whose = format!("process {} on {}", at.process.pid, at.process.host);
    let trial = match &at.trial {
        Some((trial, phase, since)) => {
            let phase = phase.map_or_else(|| "starting".to_owned(), ui::phase);
            format!("{}: {phase} since {}", trial.point, clock(*since))
        }
        None => "between trials".to_owned(),
    };
    let seen = clock(at.seen);
    match at.life {
        Life::Alive => format!("running as {whose}: {trial}"),
        Life::Elsewhere => format!("running as {whose}, as its log says, last at {seen}: {trial}"),
        Life::Gone => format!("NOT running: {whose} ended without a word, last heard of at {seen} ({trial})"),
        Life::Rebooted => {
            format!("NOT running: {whose} ended when the machine was booted again, last heard of at {seen} ({trial})")
        }
    }
}

fn clock(time: jiff::Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The sweep that is meant, or the only one there is.
fn one(results: &Path, word: Option<&PathBuf>) -> Result<SweepDir, Failure> {
    if let Some(word) = word {
        return named(results, word);
    }
    let mut all = SweepDir::all(results).exit(Exit::Results)?;
    match (all.pop(), all.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Failure::new(Exit::Results, anyhow!("there is no sweep in {}", results.display()))),
        (Some(_), more) => Err(Failure::new(
            Exit::Usage,
            anyhow!("there are {} sweeps in {}: name one", more + 1, results.display()),
        )),
    }
}

/// Prints what sessions did.
pub(super) fn logs(args: &LogsArgs) -> Result<Exit, Failure> {
    let sweep = one(&args.results, args.sweep.as_ref())?;
    let known = sessions(&sweep).exit(Exit::Results)?;
    let Some((last, earlier)) = known.split_last() else {
        return Err(Failure::new(Exit::Results, anyhow!("{} has no logs yet", sweep.path().display())));
    };
    for session in earlier {
        let lines = session.lines().exit(Exit::Results)?;
        ui::print(&lines.iter().map(sentence).collect::<String>())?;
    }
    let mut shown = 0;
    loop {
        let log = text_of(&last.log).exit(Exit::Results)?;
        // A line without its end is still being written.
        let whole = log.rfind('\n').map_or(0, |end| end + 1);
        let fresh = log.get(shown..whole).unwrap_or_default();
        let lines: Vec<Line> = fresh.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if !lines.is_empty() {
            ui::print(&lines.iter().map(sentence).collect::<String>())?;
        }
        shown = whole;
        let ended = lines.iter().any(|line| matches!(line.what, Did::SessionEnded { .. }));
        if !args.follow || ended || !may_go_on(last) {
            return Ok(Exit::Done);
        }
        std::thread::sleep(LOOK);
    }
}

fn may_go_on(session: &Known) -> bool {
    session.process.as_ref().is_none_or(|process| matches!(process.life(), Life::Alive | Life::Elsewhere))
}

fn sentence(line: &Line) -> String {
    let said = match &line.what {
        Did::SessionStarted { process, left, trials } => {
            format!("process {} on {} begins: {left} of {trials} trials to try", process.pid, process.host)
        }
        Did::TrialStarted { trial, .. } => format!("{trial}: starting"),
        Did::Phase { trial, phase } => format!("{trial}: {}", ui::phase(*phase)),
        Did::Said { trial, text } if trial.is_empty() => text.clone(),
        Did::Said { trial, text } => format!("{trial}: {text}"),
        Did::TrialEnded { trial, state, unfit, damage, took_s, .. } => {
            let ending =
                crate::run::event::Ending { state: state.clone(), unfit: unfit.clone(), damage: damage.clone() };
            format!("{trial}: {} ({took_s:.1} s)", ui::verdict(&ending))
        }
        Did::SessionEnded { why } => why.clone(),
    };
    said.lines().map(|part| format!("{} {part}\n", clock(line.time))).collect()
}

/// Asks sessions to stop.
pub(super) fn stop(args: &StopArgs) -> Result<Exit, Failure> {
    let sweeps = match &args.sweep {
        Some(word) => vec![named(&args.results, word)?],
        None => SweepDir::all(&args.results).exit(Exit::Results)?,
    };
    let mut running = Vec::new();
    for sweep in &sweeps {
        let at_work: Vec<At> = Status::of(sweep).exit(Exit::Results)?.sessions;
        let known = sessions(sweep).exit(Exit::Results)?;
        let is_at_work = |session: &Known| {
            at_work.iter().any(|at| {
                Some(&at.process) == session.process.as_ref() && matches!(at.life, Life::Alive | Life::Elsewhere)
            })
        };
        running.extend(known.into_iter().filter(is_at_work).map(|session| (sweep, session)));
    }
    if args.sweep.is_none() && sweeps.len() > 1 && running.iter().any(|(sweep, _)| *sweep != running[0].0) {
        return Err(Failure::new(Exit::Usage, anyhow!("several sweeps are running: name one")));
    }
    if running.is_empty() {
        return Err(Failure::new(Exit::Usage, anyhow!("no sweep is running that could be stopped")));
    }
    for (sweep, session) in running {
        session.ask_to_stop(args.now).exit(Exit::Results)?;
        let when = if args.now { "now; the trial that runs will be run again" } else { "after the trial that runs" };
        ui::print(&format!("{}: asked to stop {when}", sweep.path().display()))?;
    }
    Ok(Exit::Done)
}
