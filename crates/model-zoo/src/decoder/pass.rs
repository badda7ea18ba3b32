use burn::tensor::Tensor;

use super::mask::Visible;
use super::rope::RopeTables;

/// What all layers of one forward pass share.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) rope: RopeTables,
    /// What layers without a sliding window see.
    pub(super) full: Visible,
    /// What layers with one see.
    pub(super) sliding: Visible,
}

/// `cap * tanh(x / cap)`: nearly `x` where it is small, never beyond `cap`.
/// Source: Gemma Team, arXiv 2408.00118, section 2.
pub(super) fn soft_cap<const D: usize>(x: Tensor<D>, cap: f64) -> Tensor<D> {
    (x / cap).tanh() * cap
}
