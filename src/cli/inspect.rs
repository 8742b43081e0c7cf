//! `livectl check`, `schema` and `doctor`: what needs neither root nor a network.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use crate::plan::{Parameters, Plan, Trial};
use crate::recipe;
use crate::sandbox::capability::{self, Places};
use crate::ui;

/// Checks recipes, all of them, and says what each would run.
pub(super) fn check(recipes: &[PathBuf]) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for path in recipes {
        match super::recipes::read(path) {
            Ok(loaded) => {
                let estimate = loaded.plan.estimate();
                ui::print(&format!(
                    "{}: valid; {}{}{}, {}, up to {} of results",
                    path.display(),
                    points(&loaded.plan),
                    if loaded.until.is_some() { "at most " } else { "" },
                    ui::trials(loaded.plan.trials.len()),
                    ui::expected(estimate.duration, estimate.longest),
                    ui::bytes(estimate.disk_bytes),
                ))?;
                for lack in lacks(&loaded.plan) {
                    ui::warn(&format!("{}: warning: cannot run here: {lack}", path.display()));
                }
                for warning in loaded.warnings {
                    eprintln!("{:?}", miette::Report::new(warning));
                }
            }
            Err(error) => {
                eprintln!("{:?}", miette::Report::new(error));
                exit = Exit::Recipe;
            }
        }
    }
    Ok(exit)
}

/// What this machine lacks of what the recipe alone needs. Only then is it looked at.
fn lacks(plan: &Plan) -> Vec<String> {
    let usual = |trial: &Trial| {
        let programs = trial.streams.iter().all(|stream| stream.program.is_usual());
        programs && trial.network.hosts.iter().all(|host| host.player.is_usual())
    };
    if plan.trials.iter().all(usual) {
        return Vec::new();
    }
    let here = capability::Capabilities::probe(&Places { results: PathBuf::from("results") });
    capability::lacking(&plan.trials, &here)
}

/// `12 points, `; nothing where there is no matrix.
fn points(plan: &Plan) -> String {
    let points: BTreeSet<&Parameters> = plan.trials.iter().map(|trial| &trial.point.parameters).collect();
    let varied = points.iter().any(|parameters| !parameters.is_empty());
    if varied { format!("{}, ", ui::points(points.len())) } else { String::new() }
}

/// Prints the JSON Schema of recipes.
pub(super) fn schema() -> Result<Exit, Failure> {
    ui::print(&serde_json::to_string_pretty(&recipe::schema())?)?;
    Ok(Exit::Done)
}

/// Says what this machine lacks.
pub(super) fn doctor(json: bool) -> Result<Exit, Failure> {
    let report = capability::doctor(&Places { results: PathBuf::from("results") });
    if json {
        ui::print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        ui::print(&report.text(std::io::stdout().is_terminal()))?;
    }
    Ok(if report.ready() { Exit::Done } else { Exit::Machine })
}
