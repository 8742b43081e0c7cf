//! `livectl run`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use tokio::sync::watch;

use super::RunArgs;
use super::exit::{Exit, Failure};
use crate::plan::{Datapath, LinkKind, Plan};
use crate::recipe::Loaded;
use crate::run::{self, Job, RunError, Urgency};
use crate::sandbox::capability::{self, Capabilities, Places};
use crate::store;
use crate::ui;

/// How one recipe ended, for the table at the end.
struct Line {
    recipe: String,
    exit: Exit,
    what: String,
}

/// What an unfit trial means for whoever has just run it.
const UNFIT: &str = "Trials marked ! are UNFIT: their delays may be the machine's, not the network's. Do not publish them: repeat the trial on a \
                     quieter machine or with a lighter recipe\n";

/// Runs recipes one after the other; one that fails does not stop the next.
pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    if args.dry_run {
        return super::dry_run::dry_run(args);
    }
    if !nix::unistd::geteuid().is_root() {
        let again = crate::actor::process::Command::new("sudo", command_line());
        return Err(Failure::new(Exit::Machine, anyhow!("running a network needs root; try: {again}")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, run_all(args))
}

async fn run_all(args: &RunArgs) -> Result<Exit, Failure> {
    let (urgency_in, urgency) = watch::channel(Urgency::None);
    tokio::task::spawn_local(heed_signals(urgency_in));
    let places = Places { results: args.results.clone() };
    let here = tokio::task::spawn_blocking(move || Capabilities::probe(&places)).await?;
    let mut lines = Vec::new();
    for path in &args.recipes {
        let line = match one(args, path, &here, urgency.clone()).await {
            Ok(line) => line,
            Err(failure) => {
                if failure.error.is_some() {
                    ui::warn(&format!("{}: {failure}", path.display()));
                }
                Line { recipe: path.display().to_string(), exit: failure.exit, what: "not run".into() }
            }
        };
        let interrupted = line.exit == Exit::Interrupted;
        lines.push(line);
        if interrupted {
            break;
        }
    }
    if args.recipes.len() > 1 {
        ui::print(&table(&lines))?;
    }
    Ok(Exit::worst(lines.iter().map(|line| line.exit)))
}

fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|l| l.recipe.chars().count()).max().unwrap_or(0);
    let rows: Vec<String> = lines
        .iter()
        .map(|l| format!("{} {:width$}  {}", if l.exit == Exit::Done { "✓" } else { "✗" }, l.recipe, l.what))
        .collect();
    rows.join("\n")
}

async fn one(
    args: &RunArgs,
    path: &Path,
    here: &Capabilities,
    urgency: watch::Receiver<Urgency>,
) -> Result<Line, Failure> {
    let loaded = super::recipes::load(args, path)?;
    for warning in &loaded.warnings {
        ui::warn(&format!("{}: warning: {warning}", path.display()));
    }
    let job = job((&args.results, args.jobs), path, loaded, here)?;
    let plan = job.plan.clone();
    let (updates, screen) = ui::screen();
    let ended = run::run(job, updates, urgency).await;
    screen.await?;
    let report = ended.map_err(|error| match error {
        RunError::Store(_) | RunError::Table(_) => Failure::new(Exit::Results, error),
    })?;
    let mut text = format!("\n{}", report.tables.text(ui::width()));
    if !report.unfit.is_empty() {
        text += UNFIT;
    }
    let folder = report.folder.path();
    text += &format!("{}; `livectl report {}` writes its report", folder.display(), crate::shell_word::path(folder));
    let printed = ui::print(&text);
    let pictures = pictures(args, &report);
    printed?;
    let line = line(&plan, &report, pictures);
    // Why trials failed or are unfit is in the summary.
    if line.exit == Exit::Results {
        ui::warn(&format!("{}: {}", path.display(), line.what));
    }
    Ok(line)
}

fn line(plan: &Plan, report: &run::Report, pictures: Result<(), Failure>) -> Line {
    let trials = plan.trials.len();
    let each = |all: &[(String, String)]| {
        let first = |(id, why): &(String, String)| format!("{id}: {}", why.lines().next().unwrap_or(""));
        all.iter().map(first).collect::<Vec<_>>().join("; ")
    };
    let mut ends = Vec::new();
    if report.interrupted {
        ends.push((Exit::Interrupted, "interrupted; what was measured is kept, marked partial".to_owned()));
    } else {
        let (failed, damaged, unfit) = (&report.failed, &report.damaged, &report.unfit);
        if !failed.is_empty() {
            ends.push((Exit::Failed, format!("{} of {trials} trials failed: {}", failed.len(), each(failed))));
        } else if let Err(failure) = pictures {
            ends.push((failure.exit, format!("no pictures: {failure}")));
        }
        if !damaged.is_empty() {
            ends.push((
                Exit::Results,
                format!("{} of {trials} trials are partial: {}", damaged.len(), each(damaged)),
            ));
        }
        if !unfit.is_empty() {
            ends.push((Exit::Unfit, format!("{} of {trials} trials are unfit", unfit.len())));
        }
    }
    let exit = Exit::worst(ends.iter().map(|(exit, _)| *exit));
    let what: Vec<&str> = ends.iter().map(|(_, what)| what.as_str()).collect();
    let what = match exit {
        Exit::Done => "done".to_owned(),
        Exit::Unfit => format!("done, but {}", what.join("; ")),
        _ => what.join("; "),
    };
    Line { recipe: plan.recipe.clone(), exit, what: format!("{what}  {}", report.folder.path().display()) }
}

/// Draws the run's pictures and puts copies where the newest are always found: `results/delay-plot.png`.
fn pictures(args: &RunArgs, report: &run::Report) -> Result<(), Failure> {
    let owner = store::Owner::of_this_process().map_err(|e| Failure::new(Exit::Results, e))?;
    let drawn = crate::plot::draw_run(report.folder.path(), &crate::plot::Options::default());
    let drawn = drawn.map_err(|e| Failure::new(Exit::Results, e))?;
    for missing in &drawn.left_out {
        ui::warn(&missing.to_string());
    }
    for file in drawn.pictures {
        let _ = owner.take(&file);
        let Some(name) = file.file_name() else { continue };
        let newest = args.results.join(name);
        let bytes = std::fs::read(&file)?;
        store::write_atomic(&newest, &bytes).map_err(|e| Failure::new(Exit::Results, e))?;
        owner.take(&newest).map_err(|e| Failure::new(Exit::Results, e))?;
        ui::print(&newest.display().to_string())?;
    }
    Ok(())
}

/// What is to be run of a recipe, with what this machine has; results go into a folder, and so many trials run at the same time.
pub(super) fn job(
    (results, jobs): (&Path, u32),
    path: &Path,
    loaded: Loaded,
    here: &Capabilities,
) -> Result<Job, Failure> {
    let trial = loaded.plan.trials.first().ok_or_else(|| anyhow!("the recipe has no trials"))?;
    let machine = |error: capability::Unavailable| Failure::new(Exit::Machine, error);
    fit_for(here)?;
    let lacks = capability::lacking(&loaded.plan.trials, here);
    if !lacks.is_empty() {
        return Err(Failure::new(
            Exit::Machine,
            anyhow!("this machine lacks what the recipe needs:\n  {}", lacks.join("\n  ")),
        ));
    }
    let links = (trial.links, capability::resolve_links(trial.links, here).map_err(machine)?);
    let datapath = (trial.datapath, capability::resolve_datapath(trial.datapath, here).map_err(machine)?);
    let wanted = &trial.congestion_control;
    if !here.congestion_controls.is_empty() && !here.congestion_controls.contains(wanted) {
        let there = here.congestion_controls.join(", ");
        let error = anyhow!(
            "this kernel has no TCP congestion control {wanted:?} (it has: {there}); \
             try `modprobe tcp_{wanted}` or set `congestion_control` in the recipe"
        );
        return Err(Failure::new(Exit::Machine, error));
    }
    let Some(controller) = here.controller.clone() else {
        return Err(Failure::new(Exit::Machine, anyhow!("live-controller is neither beside livectl nor on PATH")));
    };
    let Some(agent) = here.agent.clone() else {
        return Err(Failure::new(Exit::Machine, anyhow!("live-agent is neither beside livectl nor on PATH")));
    };
    assembled((results, jobs), path, loaded, here, (links, datapath), (controller, agent))
}

/// What makes links or forwards packets: what was asked for, and what it came to.
type Settled<T> = (T, capability::Choice<T>);

/// The same of a recipe that runs elsewhere, on machines that are like this one at best.
pub(super) fn job_elsewhere(
    results: &Path,
    path: &Path,
    loaded: Loaded,
    here: &Capabilities,
    settled: (Settled<LinkKind>, Settled<Datapath>),
) -> Result<Job, Failure> {
    // Each of them looks for its own.
    let programs = ("live-controller".into(), "live-agent".into());
    assembled((results, 1), path, loaded, here, settled, programs)
}

fn assembled(
    (results, jobs): (&Path, u32),
    path: &Path,
    loaded: Loaded,
    here: &Capabilities,
    (links, datapath): (Settled<LinkKind>, Settled<Datapath>),
    (controller, agent): (PathBuf, PathBuf),
) -> Result<Job, Failure> {
    let tools: BTreeMap<String, String> = here
        .programs
        .iter()
        .chain(&here.on_demand)
        .filter_map(|program| Some((program.name.to_owned(), program.version.clone()?)))
        .collect();
    Ok(Job {
        seed: loaded.plan.seed,
        recipe: store::RecipeRecord {
            name: loaded.plan.recipe.clone(),
            // The manifest is JSON, which has no other characters than Unicode's.
            path: Some(
                std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().as_ref().into(),
            ),
            text: loaded.text,
        },
        plan: loaded.plan,
        results: results_folder(results)?,
        jobs: usize::try_from(jobs).unwrap_or(1),
        links,
        datapath,
        controller,
        agent,
        tools,
        machine: machine_record(here),
        command: command_line(),
    })
}

/// What was typed. File names need not be UTF-8.
pub(super) fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Stops before anything is started if a trial cannot run here.
fn fit_for(here: &Capabilities) -> Result<(), Failure> {
    let report = capability::Report::new(here);
    // How much disk is enough depends on the recipe: the run itself asks for that.
    let obstacles = report.obstacles().filter(|obstacle| obstacle.name != "disk");
    let obstacles: Vec<String> = obstacles.map(|o| format!("  {}: {}", o.name, o.found)).collect();
    if obstacles.is_empty() {
        return Ok(());
    }
    let mut text = format!("this machine cannot run trials:\n{}", obstacles.join("\n"));
    if let Some(install) = &report.install {
        text += &format!("\nInstall what is missing:\n  {install}");
    }
    text += "\n`livectl doctor` says more";
    Err(Failure::new(Exit::Machine, anyhow!(text)))
}

/// The folder for results by its full path, so that messages name it.
pub(super) fn results_folder(asked: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(asked);
    let absolute = absolute.map_err(|e| Failure::new(Exit::Results, anyhow!("{}: {e}", asked.display())))?;
    Ok(crate::absolute_path::of(&absolute))
}

fn machine_record(here: &Capabilities) -> store::Machine {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name =
        os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("").trim_matches('"').to_owned();
    store::Machine {
        cores: u32::try_from(here.cores).unwrap_or(u32::MAX),
        memory_bytes: kib.unwrap_or(0) * 1024,
        kernel: format!("Linux {}", here.kernel),
        os: name,
    }
}

/// INT, TERM and HUP ask for an end, each further one with more urgency.
pub(super) async fn heed_signals(urgency: watch::Sender<Urgency>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        tracing::warn!("cannot listen for signals; Ctrl-C will end everything at once");
        return;
    };
    // A terminal that is closed ends what runs in it, unless `nohup` has said otherwise.
    let mut hup = if super::interrupt::is_ignored(nix::sys::signal::Signal::SIGHUP) {
        None
    } else {
        signal(SignalKind::hangup()).ok()
    };
    let levels = [
        (Urgency::Stop, "stopping; press again to hurry"),
        (Urgency::Hurry, "hurrying; press again to kill everything now"),
        (Urgency::Now, "killing everything"),
    ];
    for (level, text) in levels {
        let hung_up = async {
            match &mut hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hung_up => {} }
        if urgency.send(level).is_err() {
            return;
        }
        // The terminal may be the one that was closed.
        let _ = writeln!(std::io::stderr(), "livectl: {text}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::store::RunDir;

    #[test]
    fn a_run_ends_with_the_first_code_of_the_order_that_one_of_its_trials_has() {
        let folder = tempfile::tempdir().unwrap();
        let plan = crate::recipe::from_str("smoke.yaml", include_str!("../../recipes/smoke.yaml")).unwrap().plan;
        let run = RunDir::create(folder.path(), "smoke", jiff::Timestamp::now(), store::Owner::Process).unwrap();
        let end = |failed: bool, damaged: bool, unfit: bool| {
            let those = |any: bool, why: &str| Vec::from_iter(any.then(|| ("direct-1".to_owned(), why.to_owned())));
            let report = run::Report {
                folder: run.clone(),
                tables: Default::default(),
                failed: those(failed, "nginx died"),
                unfit: those(unfit, "the machine stood still"),
                damaged: those(damaged, "stream hb: 25 of the 100 frames planned were born"),
                interrupted: false,
            };
            let Line { exit, what, .. } = line(&plan, &report, Ok(()));
            (exit, what)
        };
        assert_eq!(end(false, false, false).0, Exit::Done);
        assert_eq!(end(false, false, true).0, Exit::Unfit);
        let (exit, what) = end(false, true, true);
        assert_eq!(exit, Exit::Results, "as `analyze` ends");
        assert!(
            what.contains("are partial: direct-1: stream hb: 25 of the 100") && what.contains("are unfit"),
            "{what}"
        );
        assert_eq!(end(true, false, true).0, Exit::Failed);
        assert_eq!(end(true, true, false).0, Exit::Results);
    }
}
