use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::AttentionMask;
use moe_adapter::Projection;
use router::RoutingTape;

use crate::encoder::{Activation, DropoutRates, EncoderPaths, LayerNorm, Mlp, SelfAttention};
use crate::parameters::ParameterSource;
use crate::vision::layer::PreNorm;

/// One layer of either tower of CLIP: `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Module, Debug)]
pub struct ClipLayer<P: Projection> {
    /// Before attention.
    pub layer_norm1: LayerNorm,
    /// Attention.
    pub self_attn: SelfAttention<P>,
    /// Before the feed-forward block.
    pub layer_norm2: LayerNorm,
    /// The feed-forward block.
    pub mlp: Mlp<P>,
}

/// What a layer needs to know of its tower's configuration.
pub(crate) struct ClipLayerConfig {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) layer_norm_eps: f64,
    pub(crate) hidden_act: Activation,
}

/// Where the layers of a tower are in its checkpoints.
pub(crate) const fn paths(layers: &'static str) -> EncoderPaths {
    let attention =
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"];
    EncoderPaths { layers, attention, mlp: ["mlp.fc1", "mlp.fc2"] }
}

impl<P: Projection> ClipLayer<P> {
    pub(crate) fn build<S: ParameterSource>(
        config: &ClipLayerConfig,
        paths: &EncoderPaths,
        layer: usize,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let inner = config.intermediate_size;
        let norm = |name: &str, source: &mut S| {
            let path = format!("{}.{layer}.{name}", paths.layers);
            LayerNorm::build(&path, hidden, config.layer_norm_eps, source)
        };
        Ok(Self {
            layer_norm1: norm("layer_norm1", source)?,
            self_attn: SelfAttention::build(paths, layer, hidden, heads, true, source)?,
            layer_norm2: norm("layer_norm2", source)?,
            mlp: Mlp::build(paths, layer, hidden, inner, config.hidden_act, source)?,
        })
    }

    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        paths: &EncoderPaths,
        mask: &AttentionMask,
        rates: DropoutRates,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let parts = PreNorm {
            before_attention: &self.layer_norm1,
            attention: &self.self_attn,
            before_mlp: &self.layer_norm2,
            mlp: &self.mlp,
        };
        parts.forward(x, layer, paths, mask, rates, tape)
    }
}
