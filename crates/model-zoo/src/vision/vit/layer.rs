use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::AttentionMask;
use moe_adapter::Projection;
use router::RoutingTape;

use super::VitConfig;
use super::model::PATHS;
use crate::encoder::{DropoutRates, LayerNorm, Mlp, SelfAttention};
use crate::parameters::ParameterSource;
use crate::vision::layer::PreNorm;

/// One layer of a ViT: `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Module, Debug)]
pub struct VitLayer<P: Projection> {
    /// Before attention.
    pub layernorm_before: LayerNorm,
    /// Attention.
    pub attention: SelfAttention<P>,
    /// Before the feed-forward block.
    pub layernorm_after: LayerNorm,
    /// The feed-forward block.
    pub mlp: Mlp<P>,
}

impl<P: Projection> VitLayer<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &VitConfig,
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
            layernorm_before: norm("layernorm_before", source)?,
            attention: SelfAttention::build(&PATHS, layer, hidden, heads, config.qkv_bias, source)?,
            layernorm_after: norm("layernorm_after", source)?,
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
            before_attention: &self.layernorm_before,
            attention: &self.attention,
            before_mlp: &self.layernorm_after,
            mlp: &self.mlp,
        };
        parts.forward(x, layer, &PATHS, &AttentionMask::default(), rates, tape)
    }
}
