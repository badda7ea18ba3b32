use burn::tensor::{Bool, Tensor};

/// What a router decided for `T` tokens and `E` experts, with what it decided from.
///
/// All tensors are `[T, E]` and f32. Tokens that are padding are routed like any other; consumers
/// leave them out with the mask of the [`BatchContext`](crate::BatchContext).
#[derive(Debug, Clone)]
pub struct Routing {
    /// The router's scores before normalisation.
    pub logits: Tensor<2>,
    /// The distribution over experts before selection: each row sums to 1.
    pub probabilities: Tensor<2>,
    /// How much each expert contributes to the output; zero where it was not selected.
    pub weights: Tensor<2>,
    /// Which experts were selected; `None` when every expert always is.
    pub selection: Option<Tensor<2, Bool>>,
}

impl Routing {
    /// The number of tokens `T`.
    pub fn num_tokens(&self) -> usize {
        self.weights.dims()[0]
    }

    /// The number of experts `E`.
    pub fn num_experts(&self) -> usize {
        self.weights.dims()[1]
    }
}
