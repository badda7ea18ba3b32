use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::Projection;
use router::RoutingTape;

use super::ClipVisionConfig;
use super::tower::PATHS;
use crate::encoder::{DropoutRates, LayerNorm, Mlp, SelfAttention};
use crate::parameters::ParameterSource;
use crate::vision::layer::PreNorm;

/// One layer of the tower: `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Module, Debug)]
pub struct ClipVisionLayer<P: Projection> {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Attention.
    pub self_attn: SelfAttention<P>,
    /// Before the feed-forward block.
    pub layer_norm2: LayerNorm,
    /// The feed-forward block.
    pub mlp: Mlp<P>,
}

impl<P: Projection> ClipVisionLayer<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &ClipVisionConfig,
        layer: usize,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let inner = config.intermediate_size;
        let norm = |name: &str, source: &mut S| {
            let path = format!("{}.{layer}.{name}", PATHS.layers);
            LayerNorm::build(&path, hidden, config.layer_norm_eps, source)
        };
        Ok(Self {
            layer_norm1: norm("layer_norm1", source)?,
            self_attn: SelfAttention::build(&PATHS, layer, hidden, heads, true, source)?,
            layer_norm2: norm("layer_norm2", source)?,
            mlp: Mlp::build(&PATHS, layer, hidden, inner, config.hidden_act, source)?,
        })
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        rates: DropoutRates,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let parts = PreNorm {
            before_attention: &self.layer_norm1,
            attention: &self.self_attn,
            before_mlp: &self.layer_norm2,
            mlp: &self.mlp,
        };
        parts.forward(x, layer, &PATHS, None, rates, tape)
    }
}
