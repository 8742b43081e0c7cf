//! What a trial's figures come from: programs on an emulated network, or the model.

use serde::{Deserialize, Serialize};

use super::{Parameters, Point};

/// The parameter by which trials are told apart that were not measured.
pub const ENGINE: &str = "engine";
/// The parameter that tells for how many viewers a trial was predicted, where those of its plan stand for many.
pub const CROWD: &str = "crowd";
/// What [`ENGINE`] is of trials that were predicted.
pub const PREDICTED: &str = "predict";
/// What trials without that parameter would have there.
pub const EMULATED: &str = "emulate";

/// What a trial's figures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Programs on an emulated network, where they are measured.
    #[default]
    Emulate,
    /// The model of `livectl predict`.
    Predict,
}

impl Engine {
    /// The parameters of a point of this engine. Only what is predicted says so: what is measured is called the same
    /// whether or not there are predictions beside it.
    #[must_use]
    pub fn mark(self, parameters: &Parameters) -> Parameters {
        match self {
            Engine::Emulate => parameters.without(ENGINE),
            Engine::Predict => parameters.with(ENGINE, PREDICTED),
        }
    }
}

impl Point {
    /// Whether its figures come from the model.
    #[must_use]
    pub fn is_predicted(&self) -> bool {
        self.parameters.get(ENGINE) == Some(PREDICTED)
    }

    /// The same point as a prediction, which nobody takes for a measured one.
    #[must_use]
    pub fn as_predicted(&self) -> Point {
        Point { parameters: Engine::Predict.mark(&self.parameters), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Scheme;

    #[test]
    fn only_what_is_predicted_says_so() {
        let measured = Point::new(Scheme::Relay, 2);
        let predicted = measured.as_predicted();
        assert!(predicted.is_predicted() && !measured.is_predicted());
        assert_ne!(predicted.id(), measured.id());
        assert_eq!(predicted.parameters.iter().collect::<Vec<_>>(), [("engine", "predict")]);
        assert_eq!(Engine::Emulate.mark(&predicted.parameters), measured.parameters);
        assert_eq!(predicted.seed(7), measured.seed(7), "both meet the same luck");
    }
}
