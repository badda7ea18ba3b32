use burn::tensor::Tensor;
use router::Routing;
use serde::{Deserialize, Serialize};

/// Which values of a routing a loss averages over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// The distribution over experts before selection.
    #[default]
    Probabilities,
    /// The combine weights, zero where an expert was not selected.
    Weights,
    /// What the routing strategy's source averages (AdaMoLE: the probabilities less the
    /// threshold; DynMoLE: the masked probabilities); the probabilities where it names nothing.
    BalanceScores,
}

impl Scores {
    /// The values, `[T, E]`.
    pub(crate) fn of(self, routing: &Routing) -> Tensor<2> {
        match (self, &routing.extras.balance_scores) {
            (Self::Weights, _) => routing.weights.clone(),
            (Self::BalanceScores, Some(scores)) => scores.clone(),
            (Self::BalanceScores, None) | (Self::Probabilities, _) => routing.probabilities.clone(),
        }
    }
}
