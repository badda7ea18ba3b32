use burn::tensor::{Distribution, Tensor};
use serde::{Deserialize, Serialize};

/// Whether the experts of a layer see the same dropout mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutMask {
    /// One mask for all experts of a layer.
    #[default]
    Shared,
    /// A fresh mask for each expert, as in the released code of LoRAMoE. The first product can
    /// then no longer be shared by the experts.
    PerExpert,
}

/// Inverted dropout: zeroes each entry with probability `p`, scales the others by `1 / (1 - p)`.
pub(crate) fn dropout(x: Tensor<2>, p: f64) -> Tensor<2> {
    let keep = 1.0 - p;
    let mask = x.random_like(Distribution::Bernoulli(keep)) * (1.0 / keep);
    // The mask is a constant, whatever device the activations live on.
    x * mask.detach()
}
