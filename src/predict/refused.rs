//! What in a plan the model does not cover: known before anything is computed.

use super::{Unpredictable, holds};
use crate::plan::{Plan, Point};

/// Trials that cannot be predicted for one reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason why they cannot be predicted.
    pub why: Unpredictable,
    /// The first of these trials.
    pub first: Point,
    /// How many trials have that reason.
    pub trials: usize,
}

/// Takes those trials out of a plan that are to be predicted and that the model does not cover. Each reason is
/// named once.
#[must_use]
pub fn refused(plan: &mut Plan) -> Vec<Refused> {
    let mut refused: Vec<Refused> = Vec::new();
    plan.trials.retain(|trial| {
        let why = if trial.point.is_predicted() { holds(trial, false).err() } else { None };
        let Some(why) = why else { return true };
        match refused.iter_mut().find(|known| known.why == why) {
            Some(known) => known.trials += 1,
            None => refused.push(Refused { why, first: trial.point.clone(), trials: 1 }),
        }
        false
    });
    refused
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::Scheme;

    #[test]
    fn what_the_model_does_not_hold_is_named_and_what_is_measured_stays() {
        let text =
            include_str!("../../recipes/smoke.yaml").replace("schemes: [direct, bypass]", "schemes: [direct, hls]");
        let text = text.replace("  bitrate:", "  codec: h264\n  bitrate:");
        let text = format!("repetitions: 2\nmatrix: {{ engine: [emulate, predict] }}\n{text}");
        let mut plan = crate::recipe::from_str("recipes/x.yaml", &text).unwrap().plan;
        assert_eq!(plan.trials.len(), 8);
        let refused = refused(&mut plan);
        let [hls] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((&hls.why, hls.first.scheme, hls.trials), (&Unpredictable::Scheme(Scheme::Hls), Scheme::Hls, 2));
        assert_eq!(plan.trials.len(), 6);
        assert!(plan.trials.iter().any(|trial| trial.point.scheme == Scheme::Hls), "it is measured all the same");
    }
}
