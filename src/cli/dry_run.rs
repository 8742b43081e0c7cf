//! `livectl run --dry-run`: what would be run, down to every command, without touching anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::RunArgs;
use super::exit::{Exit, Failure};
use crate::network::{self, Forwarding, Links};
use crate::plan::{Datapath, LinkKind, Trial};
use crate::run::score::{Entry, Programs, Score};
use crate::sandbox::capability::{self, Capabilities, Places};
use crate::store::TrialDir;
use crate::ui;

/// Prints the plan of each recipe.
pub(super) fn dry_run(args: &RunArgs) -> Result<Exit, Failure> {
    let here = Capabilities::probe(&Places { results: args.results.clone() });
    let mut exit = Exit::Done;
    for path in &args.recipes {
        let loaded = match super::recipes::load(args, path) {
            Ok(loaded) => loaded,
            Err(failure) => {
                exit = failure.exit;
                if failure.error.is_some() {
                    ui::warn(&format!("{}: {failure}", path.display()));
                }
                continue;
            }
        };
        for warning in &loaded.warnings {
            ui::warn(&format!("{}: warning: {warning}", path.display()));
        }
        for lack in capability::lacking(&loaded.plan.trials, &here) {
            ui::warn(&format!("{}: warning: cannot run here: {lack}", path.display()));
        }
        let plan = loaded.plan;
        let estimate = plan.estimate();
        let folder = args.results.join(&plan.recipe).join("RUN");
        let mut text = format!(
            "{}: {} trials, about {}, up to {} in {}\n",
            plan.recipe,
            plan.trials.len(),
            ui::span(estimate.duration / args.jobs.max(1)),
            ui::bytes(estimate.disk_bytes),
            folder.display()
        );
        for trial in &plan.trials {
            describe(&mut text, trial, &folder, &here)?;
        }
        ui::print(&text)?;
    }
    Ok(exit)
}

fn describe(text: &mut String, trial: &Trial, folder: &Path, here: &Capabilities) -> Result<(), Failure> {
    // Writing to a String cannot fail.
    let dir = TrialDir::at(&folder.join(&trial.id));
    let timeline = &trial.timeline;
    let _ = writeln!(
        text,
        "\n== {}: scheme {}, repetition {}, seed {}, {} ==",
        trial.id,
        trial.point.scheme,
        trial.point.repetition,
        trial.seed,
        ui::span(timeline.end)
    );
    let (links, why) = settled(capability::resolve_links(trial.links, here), LinkKind::Emulated);
    let _ = writeln!(text, "links: {links}: {why}");
    let (datapath, why) = settled(capability::resolve_datapath(trial.datapath, here), Datapath::User);
    let _ = writeln!(text, "datapath: {datapath}: {why}");
    for stream in &trial.streams {
        let _ = writeln!(text, "stream {}: {} -> {}", stream.name, stream.broadcaster, stream.viewers.join(", "));
    }
    let links = if links == LinkKind::Netem { Links::Netem } else { Links::Emulated };
    let forwarding = if datapath == Datapath::Kernel { Forwarding::Kernel } else { Forwarding::User };

    let livectl = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("livectl"));
    let controller = here.controller.clone().unwrap_or_else(|| PathBuf::from("live-controller"));
    let agent = here.agent.clone().unwrap_or_else(|| PathBuf::from("live-agent"));
    let score = Score::of(trial, &dir, &Programs { livectl, controller, agent, links })?;
    let _ = writeln!(text, "\ncommands, in the order in which they start:");
    for Entry { due, act } in &score.0 {
        let _ = writeln!(text, "  {due:>8}  {act}");
    }
    let _ = writeln!(text, "\n{}:\n", dir.topology().display());
    for row in network::topology(trial, links, forwarding)?.lines() {
        let _ = writeln!(text, "    {row}");
    }
    Ok(())
}

/// What would be used; where nothing can be, what a machine without kernel support would use, and why it cannot here.
fn settled<T: Copy>(choice: Result<capability::Choice<T>, capability::Unavailable>, fallback: T) -> (T, String) {
    match choice {
        Ok(choice) => (choice.kind, choice.why),
        Err(error) => (fallback, format!("NOT ON THIS MACHINE: {error}")),
    }
}
