//! `livectl run --dry-run`: what would be run, down to every command, without touching anything.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::RunArgs;
use super::exit::{Exit, Failure};
use crate::network::{self, Forwarding, Links};
use crate::plan::{Datapath, LinkKind, Point, Trial};
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
            "{}: {}, {}, up to {} in {}\n",
            plan.recipe,
            ui::trials(plan.trials.len()),
            ui::expected(estimate.duration / args.jobs.max(1), estimate.longest / args.jobs.max(1)),
            ui::bytes(estimate.disk_bytes),
            folder.display()
        );
        text += &listed(&plan.trials, &folder, &here)?;
        ui::print(&text)?;
    }
    Ok(exit)
}

/// All trials. One that is like an earlier one but for its seed is not described again.
fn listed(trials: &[Trial], folder: &Path, here: &Capabilities) -> Result<String, Failure> {
    let mut text = String::new();
    let mut told: HashMap<String, &str> = HashMap::new();
    for trial in trials {
        text += &heading(trial);
        let described = described(trial, folder, here)?;
        match told.entry(described.replace(&trial.id, "TRIAL")) {
            Occupied(earlier) => text += &format!("as {}, in a folder of its own\n", earlier.get()),
            Vacant(new) => {
                new.insert(&trial.id);
                text += &described;
            }
        }
    }
    Ok(text)
}

/// What tells a trial from the others.
fn heading(trial: &Trial) -> String {
    let Point { scheme, repetition, .. } = &trial.point;
    let length = ui::span(trial.timeline.end);
    format!("\n== {}: scheme {scheme}, repetition {repetition}, seed {}, {length} ==\n", trial.id, trial.seed)
}

/// Links, streams, commands and topology of a trial.
fn described(trial: &Trial, folder: &Path, here: &Capabilities) -> Result<String, Failure> {
    let text = &mut String::new();
    // Writing to a String cannot fail.
    let dir = TrialDir::at(&folder.join(&trial.id));
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
    Ok(std::mem::take(text))
}

/// What would be used; where nothing can be, what a machine without kernel support would use, and why it cannot here.
fn settled<T: Copy>(choice: Result<capability::Choice<T>, capability::Unavailable>, fallback: T) -> (T, String) {
    match choice {
        Ok(choice) => (choice.kind, choice.why),
        Err(error) => (fallback, format!("NOT ON THIS MACHINE: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// What is said of the trials of smoke.yaml, run twice, with this in its timeline.
    fn dry(timeline: &str) -> String {
        let recipe = include_str!("../../recipes/smoke.yaml");
        let text = recipe.replace("timeline:\n", &format!("timeline:\n{timeline}"));
        let plan = crate::recipe::from_str("smoke.yaml", &text).unwrap().plan.repeated(Some(2), None).unwrap();
        let folder = Path::new("results/smoke/RUN");
        listed(&plan.trials, folder, &Capabilities::probe(&Places { results: "results".into() })).unwrap()
    }

    #[test]
    fn a_repetition_is_described_again_only_where_more_than_its_seed_differs() {
        let same = dry("");
        assert_eq!(same.matches("commands, in the order").count(), 2, "once for each scheme: {same}");
        let second = same.split("\n== ").find(|part| part.starts_with("bypass-2:")).unwrap();
        assert_eq!(second.lines().nth(1), Some("as bypass-1, in a folder of its own"));
        // The audience of each repetition is another.
        let churning = dry("  churn: { stay: 3 s, away: 2 s }\n");
        assert_eq!(churning.matches("commands, in the order").count(), 4, "{churning}");
    }
}
