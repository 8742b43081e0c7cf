//! Which trials come next when all that had to be tried has been: further repetitions of those points whose figures
//! are not known as precisely as wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::SweepError;
use super::report::figures;
use super::until::is_enough;
use crate::plan::{Parameters, Until};
use crate::store::{Planned, RunDir};

/// Goes from the repetition `round` on to the next one in which something is to be tried, and tells what; nothing:
/// all is known that can be. `looked_at` keeps the figures of trials from one call to the next.
pub(super) fn further(
    run: &RunDir,
    trials: &[Planned],
    done: &BTreeSet<String>,
    given_up: &BTreeSet<String>,
    until: Until,
    round: &mut u32,
    looked_at: &mut BTreeMap<String, Option<f64>>,
) -> Result<Vec<String>, SweepError> {
    // What fails tells nothing, however often it is tried.
    let failing: BTreeSet<&Parameters> =
        trials.iter().filter(|trial| given_up.contains(&trial.id)).map(|trial| &trial.point.parameters).collect();
    while *round < until.most {
        let known = figures(run, trials, done, until, *round, looked_at)?;
        *round += 1;
        let wanting: BTreeSet<&Parameters> = known
            .iter()
            .filter(|(point, schemes)| {
                let schemes: Vec<Vec<f64>> = schemes.values().cloned().collect();
                !failing.contains(*point) && !is_enough(&schemes, until.precision)
            })
            .map(|(point, _)| *point)
            .collect();
        if wanting.is_empty() {
            break;
        }
        let is_next = |trial: &&Planned| {
            trial.point.repetition == *round && wanting.contains(&trial.point.parameters) && !done.contains(&trial.id)
        };
        let next: Vec<String> = trials.iter().filter(is_next).map(|trial| trial.id.clone()).collect();
        if !next.is_empty() {
            return Ok(next);
        }
    }
    Ok(Vec::new())
}
