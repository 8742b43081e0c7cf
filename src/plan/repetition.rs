//! Repetitions and their seeds.

use super::{Plan, Trial};

impl Plan {
    /// The same trials, repeated so often, with seeds that come from `seed`; `None` leaves what the recipe says.
    /// Repetitions stay interleaved: one of every scheme after the other.
    #[must_use]
    pub fn repeated(mut self, repetitions: Option<u32>, seed: Option<u64>) -> Plan {
        let last = self.trials.iter().map(|trial| trial.repetition).max().unwrap_or(0);
        self.seed = seed.unwrap_or(self.seed);
        let schemes: Vec<Trial> = self.trials.iter().filter(|trial| trial.repetition == 1).cloned().collect();
        self.trials = (1..=repetitions.unwrap_or(last))
            .flat_map(|repetition| schemes.iter().map(move |trial| (repetition, trial)))
            .map(|(repetition, trial)| Trial {
                id: format!("{}-{repetition}", trial.scheme),
                repetition,
                seed: trial_seed(self.seed, repetition),
                ..trial.clone()
            })
            .collect();
        self
    }
}

/// The seed of a repetition: the same for all its schemes, so that they meet the same luck (common random numbers), and
/// unrelated to the next repetition's. SplitMix64: Steele, Lea, Flood, OOPSLA 2014, figure 17.
#[must_use]
pub fn trial_seed(seed: u64, repetition: u32) -> u64 {
    let z = seed.wrapping_add(u64::from(repetition).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn repetitions_are_as_if_the_recipe_had_said_so() {
        let once = include_str!("../../recipes/smoke.yaml");
        let thrice = format!("repetitions: 3\nseed: 7\n{once}");
        let once = crate::recipe::from_str("smoke.yaml", once).unwrap().plan;
        let thrice = crate::recipe::from_str("smoke.yaml", &thrice).unwrap().plan;
        assert_eq!(once.clone().repeated(Some(3), Some(7)), thrice);
        assert_eq!(thrice.clone().repeated(None, None), thrice);
        let ids: Vec<&str> = thrice.trials.iter().map(|t| t.id.as_str()).collect();
        assert_eq!(ids, ["direct-1", "bypass-1", "direct-2", "bypass-2", "direct-3", "bypass-3"]);
        assert_eq!(thrice.trials[0].seed, thrice.trials[1].seed);
        assert_ne!(thrice.trials[0].seed, thrice.trials[2].seed);
    }
}
