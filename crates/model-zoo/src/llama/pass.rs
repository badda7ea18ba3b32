use burn::tensor::Tensor;

use super::rope::RopeTables;

/// What all layers of one forward pass share.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) rope: RopeTables,
    /// Added to attention scores, in f32; broadcasts to `[B, heads, S, past + S]`.
    pub(super) mask: Option<Tensor<4>>,
}
