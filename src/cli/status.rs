//! `livectl status`, `logs` and `stop`: sweeps from another terminal, by what is in their folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _};

use super::exit::{Exit, Failure, WithExit};
use super::sweep::{about, failures, named};
use crate::actor::process::Command;
use crate::store::SweepDir;
use crate::sweep::session::{Did, Known, Life, Line, sessions, text_of};
use crate::sweep::slurm::log::Logs;
use crate::sweep::slurm::progress::Progress;
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
    /// Follow the log until the sweep's session ends
    #[arg(short, long)]
    follow: bool,
    /// Folder of results
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Flags of `livectl stop`.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The recipe's name, or the sweep's folder [default: the only one that is running]
    #[arg(value_name = "SWEEP")]
    sweep: Option<PathBuf>,
    /// Stop the current trial too; it is run again later
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
        let there = if args.results == Path::new("results") {
            String::new()
        } else {
            format!("--results {} ", crate::shell_word::path(&args.results))
        };
        let why =
            anyhow!("there is no sweep in {}; `sudo livectl sweep {there}RECIPE` starts one", args.results.display());
        return Err(Failure::new(Exit::Results, why));
    }
    let mut exit = Exit::Done;
    for sweep in &sweeps {
        match Status::of(sweep) {
            Ok(status) => {
                let slurm = super::slurm::progress(sweep, &status.file)?;
                ui::print(&text(sweep, &status, slurm.as_ref()))?;
            }
            Err(error) if sweeps.len() == 1 => return Err(Failure::new(Exit::Results, error)),
            Err(error) => {
                ui::warn(&format!("{}: {error}", sweep.path().display()));
                exit = Exit::Results;
            }
        }
    }
    Ok(exit)
}

fn text(sweep: &SweepDir, status: &Status, slurm: Option<&Progress>) -> String {
    let needed = status.file.trials.iter().filter(|trial| status.file.needs(trial)).count();
    let all = match status.file.until {
        None => format!("{needed} trials are"),
        Some(_) => format!("{needed} to {} trials are", status.file.trials.len()),
    };
    let mut text = format!("{}: {} of {all} done", status.file.recipe.name, status.done);
    for (count, what) in [
        (status.failed.len(), "failed"),
        (status.doubtful, "of those done unfit or damaged"),
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
    text += &slurm.map(super::slurm::status).unwrap_or_default();
    let slurm_end = slurm.and_then(|slurm| slurm.ended.clone());
    let is_with_slurm = slurm.is_some_and(|slurm| slurm.is_live);
    match status.last_end.iter().chain(&slurm_end).max_by_key(|(time, _)| *time) {
        Some((time, why)) if status.sessions.is_empty() && !is_with_slurm => {
            let _ = writeln!(text, "  the last session ended at {}: {why}", clock(*time));
        }
        _ => {}
    }
    if status.to_come > 0 {
        let _ = write!(text, "  {} of trials are left", about(&status.left));
        if let Some(slurm) = slurm.filter(|slurm| slurm.running.len() > 1) {
            let _ = write!(text, ", about {} on the running nodes", ui::span(slurm.shared(status.left.likely)));
        }
        let _ = writeln!(text);
    }
    if let Some(until) = status.file.until.filter(|_| status.beyond > 0) {
        let (figure, precision) = (until.figure, until.precision * 100.0);
        let beyond = status.beyond;
        let _ = writeln!(text, "  and up to {beyond} more, until {figure} is known within {precision} %");
    }
    let is_idle = status.sessions.iter().all(|at| matches!(at.life, Life::Gone | Life::Rebooted));
    if is_idle && !is_with_slurm && status.to_come > 0 {
        let recipe = status.file.recipe.path.as_deref().unwrap_or(Path::new("RECIPE"));
        let given = options_of(&status.file.command);
        let _ = writeln!(text, "  to resume: {}", resuming(sweep.path(), recipe, given, slurm.is_some()));
    }
    text + &failures(&status.failed)
}

/// The options that a command line of `livectl sweep` had, but for where its results go; without them other trials would be asked for, or in another way. Those of
/// another livectl's command line may be unknown to this one.
fn options_of(command: &[String]) -> Vec<String> {
    let mut livectl = super::Cli::command();
    let Ok(matches) = livectl.try_get_matches_from_mut(command) else { return Vec::new() };
    let (Some(given), Some(sweep)) = (matches.subcommand_matches("sweep"), livectl.find_subcommand("sweep")) else {
        return Vec::new();
    };
    let mut words = Vec::new();
    for option in sweep.get_arguments() {
        let id = option.get_id().as_str();
        let Some(long) = option.get_long().filter(|long| !["results", "dry-run"].contains(long)) else { continue };
        if given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        if !option.get_action().takes_values() {
            words.push(format!("--{long}"));
            continue;
        }
        for value in given.get_raw(id).into_iter().flatten() {
            words.extend([format!("--{long}"), value.to_string_lossy().into_owned()]);
        }
    }
    words
}

/// The command that resumes the sweep in this folder, to be typed where `status` was. `given`: its other options.
fn resuming(sweep: &Path, recipe: &Path, given: Vec<String>, is_with_slurm: bool) -> Command {
    let mut words = vec!["sweep".to_owned()];
    if is_with_slurm && !given.iter().any(|word| word == "--engine") {
        words.extend(["--engine".to_owned(), "slurm".to_owned()]);
    }
    words.extend(given);
    // Without the option the command would begin a sweep of its own in `results`.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Some(results) = sweep.parent().and_then(Path::parent).map(absolute)
        && results != absolute(Path::new("results"))
    {
        words.extend(["--results".to_owned(), results.display().to_string()]);
    }
    words.push(recipe.display().to_string());
    if is_with_slurm {
        return Command::new("livectl", words);
    }
    words.insert(0, "livectl".to_owned());
    Command::new("sudo", words)
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
        Life::Elsewhere => format!("running as {whose}, according to its log, last at {seen}: {trial}"),
        Life::Gone => format!("NOT running: {whose} ended without a message, last seen at {seen} ({trial})"),
        Life::Rebooted => {
            format!("NOT running: {whose} ended when the machine was rebooted, last seen at {seen} ({trial})")
        }
    }
}

pub(super) fn clock(time: jiff::Timestamp) -> String {
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
    let mut groups = grouped(known);
    let Some(last) = groups.pop() else {
        return Err(Failure::new(Exit::Results, anyhow!("{} has no logs yet", sweep.path().display())));
    };
    for group in groups {
        ui::print(&sentences(fresh(&group, &mut BTreeMap::new())?))?;
    }
    let (name, mut group, mut shown) = (last[0].name.clone(), last, BTreeMap::new());
    loop {
        let lines = fresh(&group, &mut shown)?;
        let ended = lines.iter().any(|(_, line)| matches!(line.what, Did::SessionEnded { .. }));
        if !lines.is_empty() {
            ui::print(&sentences(lines))?;
        }
        if !args.follow || ended || !may_go_on(&group[0]) {
            return Ok(Exit::Done);
        }
        std::thread::sleep(LOOK);
        if group[0].process.is_none() {
            // Nodes that come later have logs of their own.
            let now = grouped(sessions(&sweep).exit(Exit::Results)?);
            group = now.into_iter().find(|group| group[0].name == name).unwrap_or(group);
        }
    }
}

/// Logs that belong together: a session's with Slurm, and those of its nodes.
fn grouped(known: Vec<Known>) -> Vec<Vec<Known>> {
    let mut groups: Vec<Vec<Known>> = Vec::new();
    for session in known {
        match groups.last_mut().filter(|group| node_of(&group[0], &session).is_some()) {
            Some(group) => group.push(session),
            None => groups.push(vec![session]),
        }
    }
    groups
}

/// The node whose log it is, of the session of another log.
fn node_of<'a>(session: &Known, log: &'a Known) -> Option<&'a str> {
    log.name.strip_prefix(&session.name)?.strip_prefix('.')
}

/// What was written since it was last looked at, in the order of the times, with the node that wrote it.
fn fresh(group: &[Known], shown: &mut BTreeMap<PathBuf, usize>) -> Result<Vec<(String, Line)>, Failure> {
    let mut lines = Vec::new();
    for session in group {
        let log = text_of(&session.log).exit(Exit::Results)?;
        // A line without its end is still being written.
        let whole = log.rfind('\n').map_or(0, |end| end + 1);
        let shown = shown.entry(session.log.clone()).or_default();
        let node = node_of(&group[0], session).map(|node| format!("{node} ")).unwrap_or_default();
        let text = log.get(*shown..whole).unwrap_or_default();
        let read = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        lines.extend(read.map(|line| (node.clone(), line)));
        *shown = whole;
    }
    lines.sort_by_key(|(_, line)| line.time);
    Ok(lines)
}

fn sentences(lines: Vec<(String, Line)>) -> String {
    lines.iter().map(|(node, line)| sentence(node, line)).collect()
}

fn may_go_on(session: &Known) -> bool {
    session.process.as_ref().is_none_or(|process| matches!(process.life(), Life::Alive | Life::Elsewhere))
}

fn sentence(node: &str, line: &Line) -> String {
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
        Did::SlurmStarted { process, left, trials } => {
            format!(
                "submitted to Slurm by process {} on {}: {left} of {trials} trials to try",
                process.pid, process.host
            )
        }
        Did::Submitted { round, jobs, next, trials, without } => {
            let without =
                if without.is_empty() { String::new() } else { format!(", without {}", without.join(", ")) };
            format!("round {round}: {trials} trials as job {}, then job {next}{without}", jobs.join(", "))
        }
        Did::TaskStarted { trial, task, restart, .. } => match restart {
            0 => format!("{trial}: task {task}"),
            times => format!("{trial}: task {task}, restart {times}"),
        },
        Did::NodeFailed { node, why } => format!("node {node} failed: {why}"),
    };
    said.lines().map(|part| format!("{} {node}{part}\n", clock(line.time))).collect()
}

/// Asks sessions to stop.
pub(super) fn stop(args: &StopArgs) -> Result<Exit, Failure> {
    let sweeps = match &args.sweep {
        Some(word) => vec![named(&args.results, word)?],
        None => SweepDir::all(&args.results).exit(Exit::Results)?,
    };
    let mut with_slurm = Vec::new();
    for sweep in &sweeps {
        let last = Logs::last(sweep).exit(Exit::Results)?;
        with_slurm.extend(last.filter(|logs| logs.ended().is_none()).map(|_| sweep));
    }
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
    let named: BTreeSet<&Path> =
        running.iter().map(|(sweep, _)| sweep.path()).chain(with_slurm.iter().map(|sweep| sweep.path())).collect();
    if args.sweep.is_none() && named.len() > 1 {
        return Err(Failure::new(Exit::Usage, anyhow!("several sweeps are running: name one")));
    }
    for sweep in &with_slurm {
        super::slurm::stop(sweep, args.now)?;
    }
    if running.is_empty() && with_slurm.is_empty() {
        return Err(Failure::new(Exit::Usage, anyhow!("no sweep is running")));
    }
    for (sweep, session) in running {
        session.ask_to_stop(args.now).exit(Exit::Results)?;
        let when = if args.now { "now; the current trial will be run again" } else { "after the current trial" };
        ui::print(&format!("{}: asked to stop {when}", sweep.path().display()))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_resumes_finds_the_same_sweep() {
        let (here, there) = (Path::new("results/bw/sweep"), Path::new("/data/my runs/bw/sweep"));
        let recipe = Path::new("/home/x/bw.yaml");
        let none = Vec::new;
        assert_eq!(resuming(here, recipe, none(), false).to_string(), "sudo livectl sweep /home/x/bw.yaml");
        assert_eq!(
            resuming(there, recipe, none(), false).to_string(),
            "sudo livectl sweep --results '/data/my runs' /home/x/bw.yaml"
        );
        assert_eq!(
            resuming(there, recipe, none(), true).to_string(),
            "livectl sweep --engine slurm --results '/data/my runs' /home/x/bw.yaml"
        );
    }

    #[test]
    fn the_command_that_resumes_asks_for_the_same_trials() {
        let here = Path::new("results/bw/sweep");
        let resumed = |line: &str, is_with_slurm: bool| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            resuming(here, Path::new("bw.yaml"), options_of(&words), is_with_slurm).to_string()
        };
        assert_eq!(
            resumed(
                "target/release/livectl sweep --keep=failed bw.yaml --repetitions 5 --link emulated --fail-fast --results r",
                false
            ),
            "sudo livectl sweep --keep failed --fail-fast --link emulated --repetitions 5 bw.yaml"
        );
        assert_eq!(
            resumed("livectl sweep --engine slurm --at-once 4 bw.yaml", true),
            "livectl sweep --engine slurm --at-once 4 bw.yaml"
        );
        assert_eq!(resumed("livectl sweep --of-another-version bw.yaml", false), "sudo livectl sweep bw.yaml");
        assert_eq!(options_of(&[]), [""; 0]);
    }
}
