//! Repeats a plan's trials: each repetition has its number and its seeds.

use super::{Plan, Point, Trial};

/// Hosts of all trials of a plan at most: it lists them all, and so stays within some 200 MB.
pub const MOST_TRIAL_HOSTS: u64 = 200_000;

/// So many trials would not fit into a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{repetitions} repetitions are too many for a network of {hosts} hosts; repeat it at most {most} times")]
pub struct TooMany {
    repetitions: u32,
    hosts: usize,
    most: u64,
}

impl Plan {
    /// The same trials, repeated so often, with seeds that come from `seed`; `None` leaves what the recipe says.
    /// Repetitions stay interleaved: one of every point after the other.
    ///
    /// # Errors
    /// When there would be more than [`MOST_TRIAL_HOSTS`].
    pub fn repeated(mut self, repetitions: Option<u32>, seed: Option<u64>) -> Result<Plan, TooMany> {
        let last = self.trials.iter().map(|trial| trial.point.repetition).max().unwrap_or(0);
        let repetitions = repetitions.unwrap_or(last);
        self.seed = seed.unwrap_or(self.seed);
        let points: Vec<Trial> = self.trials.iter().filter(|trial| trial.point.repetition == 1).cloned().collect();
        // Whoever comes again is one more.
        let hosts = |trial: &Trial| (trial.network.hosts.len() + trial.audience.returns()) as u64;
        let hosts_at_once: u64 = points.iter().map(hosts).sum();
        if u64::from(repetitions) * hosts_at_once > MOST_TRIAL_HOSTS {
            let hosts = points.first().map_or(0, |trial| trial.network.hosts.len());
            return Err(TooMany { repetitions, hosts, most: MOST_TRIAL_HOSTS / hosts_at_once });
        }
        self.trials = (1..=repetitions)
            .flat_map(|repetition| points.iter().map(move |trial| (repetition, trial)))
            .map(|(repetition, trial)| {
                let point = Point { repetition, ..trial.point.clone() };
                let trial = Trial { id: point.id(), seed: point.seed(self.seed), point, ..trial.clone() };
                trial.with_audience_drawn()
            })
            .collect();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::MOST_TRIAL_HOSTS;

    #[test]
    fn repetitions_are_as_if_the_recipe_had_said_so() {
        let once = include_str!("../../recipes/smoke.yaml");
        let thrice = format!("repetitions: 3\nseed: 7\n{once}");
        let once = crate::recipe::from_str("smoke.yaml", once).unwrap().plan;
        let thrice = crate::recipe::from_str("smoke.yaml", &thrice).unwrap().plan;
        assert_eq!(once.clone().repeated(Some(3), Some(7)).unwrap(), thrice);
        assert_eq!(thrice.clone().repeated(None, None).unwrap(), thrice);
        let hosts = once.trials.iter().map(|trial| trial.network.hosts.len()).sum::<usize>() as u64;
        let most = MOST_TRIAL_HOSTS / hosts;
        assert!(once.clone().repeated(Some(most as u32), None).is_ok());
        assert_eq!(once.clone().repeated(Some(most as u32 + 1), None).unwrap_err().most, most);
        let ids: Vec<&str> = thrice.trials.iter().map(|t| t.id.as_str()).collect();
        assert_eq!(ids, ["direct-1", "bypass-1", "direct-2", "bypass-2", "direct-3", "bypass-3"]);
        assert_eq!(thrice.trials[0].seed, thrice.trials[1].seed);
        assert_ne!(thrice.trials[0].seed, thrice.trials[2].seed);
    }
}
