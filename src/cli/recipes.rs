//! The recipes of a command line, as it means them.

use std::path::Path;

use anyhow::anyhow;

use super::RunArgs;
use super::exit::{Exit, Failure};
use crate::plan::Plan;
use crate::recipe::{self, Loaded};

/// Loads a recipe and applies what the command line says otherwise.
pub(super) fn load(args: &RunArgs, path: &Path) -> Result<Loaded, Failure> {
    let mut loaded = recipe::load(path).map_err(|error| {
        eprintln!("{:?}", miette::Report::new(error));
        Failure::said(Exit::Recipe)
    })?;
    loaded.plan = overridden(args, loaded.plan)?;
    // So often it is then.
    loaded.until = loaded.until.filter(|_| args.repetitions.is_none());
    let varies = loaded.plan.trials.iter().any(|trial| !trial.point.parameters.is_empty());
    if !args.is_sweep && (varies || loaded.until.is_some()) {
        let (path, what) = (path.display(), if varies { "a matrix" } else { "`until`" });
        let why = anyhow!("{path} has {what}: `livectl sweep {path}` runs it");
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(loaded)
}

fn overridden(args: &RunArgs, plan: Plan) -> Result<Plan, Failure> {
    let mut plan = match (args.repetitions, args.seed) {
        (None, None) => plan,
        (repetitions, seed) => {
            plan.repeated(repetitions, seed).map_err(|error| Failure::new(Exit::Usage, anyhow!(error)))?
        }
    };
    if !args.schemes.is_empty() {
        plan.trials.retain(|trial| args.schemes.contains(&trial.point.scheme));
        if plan.trials.is_empty() {
            return Err(Failure::new(Exit::Usage, anyhow!("{} has none of the requested schemes", plan.recipe)));
        }
    }
    for trial in &mut plan.trials {
        trial.links = args.link.unwrap_or(trial.links);
        trial.datapath = args.datapath.unwrap_or(trial.datapath);
    }
    Ok(plan)
}
