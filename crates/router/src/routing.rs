use burn::tensor::{Int, Tensor};

/// What a router decided for `T` tokens and `E` experts, with what it decided from.
///
/// All tensors are `[T, E]` and f32. Tokens that are padding are routed like any other (unless
/// experts have capacities, which padding does not take up); consumers leave them out with the mask
/// of the [`BatchContext`](crate::BatchContext).
#[derive(Debug, Clone)]
pub struct Routing {
    /// The router's scores before normalisation.
    pub logits: Tensor<2>,
    /// The distribution over experts before selection: each row sums to 1.
    pub probabilities: Tensor<2>,
    /// How much each expert contributes to the output; zero where it was not selected.
    pub weights: Tensor<2>,
    /// Which experts were selected, as 1 and 0; `None` when every expert always is.
    pub selection: Option<Tensor<2>>,
    /// The most experts that a token selects, where the strategy says so; `None` otherwise. What
    /// computes by slots, one for each of them, need not visit all experts.
    pub top_k: Option<usize>,
    /// What only some strategies know.
    pub extras: RoutingExtras,
}

/// What some strategies know of a routing beyond what all do.
#[derive(Debug, Clone, Default)]
pub struct RoutingExtras {
    /// `[T]`, the normalised entropy of the probabilities that a strategy decided by (DynMoLE).
    pub entropy: Option<Tensor<1>>,
    /// `[T]`, the distance to the nearest cluster (SLIM).
    pub distance: Option<Tensor<1>>,
    /// `[T]`, the nearest cluster (SLIM).
    pub cluster: Option<Tensor<1, Int>>,
    /// `[T, E]`, what a load balancing loss averages in place of the probabilities, where the
    /// strategy's source says so (AdaMoLE: the probabilities above the threshold).
    pub balance_scores: Option<Tensor<2>>,
    /// `[T]`, the sparsity `lambda` of the projection (LD-MoLE).
    pub lambda: Option<Tensor<1>>,
    /// The noise on the logits (noisy top-k, in training).
    pub noise: Option<RouterNoise>,
}

/// Logits before noise was added, and how much.
#[derive(Debug, Clone)]
pub struct RouterNoise {
    /// `[T, E]`, the logits without noise.
    pub logits: Tensor<2>,
    /// `[T, E]`, the standard deviation of the noise.
    pub std: Tensor<2>,
}

impl Routing {
    /// A routing in which every expert is selected.
    pub fn dense(logits: Tensor<2>, probabilities: Tensor<2>, weights: Tensor<2>) -> Self {
        Self {
            logits,
            probabilities,
            weights,
            selection: None,
            top_k: None,
            extras: RoutingExtras::default(),
        }
    }

    /// Says which experts were selected, by 1 and 0, and at most how many by a token.
    pub fn with_selection(mut self, selection: Tensor<2>, top_k: Option<usize>) -> Self {
        self.selection = Some(selection);
        self.top_k = top_k;
        self
    }

    /// Adds what only some strategies know.
    pub fn with_extras(mut self, extras: RoutingExtras) -> Self {
        self.extras = extras;
        self
    }

    /// The number of tokens `T`.
    pub fn num_tokens(&self) -> usize {
        self.weights.dims()[0]
    }

    /// The number of experts `E`.
    pub fn num_experts(&self) -> usize {
        self.weights.dims()[1]
    }
}
