use burn::module::Module;

use crate::encoder::{LayerNorm, SelfAttention};
use moe_adapter::Projection;

/// Attention of a layer with the norm that follows it.
#[derive(Module, Debug)]
pub struct RobertaAttention<P: Projection> {
    /// Attention.
    pub attention: SelfAttention<P>,
    /// The norm of the sum of its input and its output.
    pub output: RobertaNorm,
}

/// A norm under the name that it has in checkpoints.
#[derive(Module, Debug)]
pub struct RobertaNorm {
    /// The norm.
    pub LayerNorm: LayerNorm,
}
