use burn::nn::Linear;
use burn::tensor::Tensor;
use router::RoutingTape;

use super::ClipTextConfig;
use crate::encoder::{DropoutRates, EncoderPaths, LayerNorm, Mlp, SelfAttention};
use crate::parameters::ParameterSource;
use crate::vision::PreNorm;

const PATHS: EncoderPaths = EncoderPaths {
    layers: "text_model.encoder.layers",
    attention: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"],
    mlp: ["mlp.fc1", "mlp.fc2"],
};

/// One layer: `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Debug, Clone)]
pub(super) struct ClipTextLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention<Linear>,
    layer_norm2: LayerNorm,
    mlp: Mlp<Linear>,
}

impl ClipTextLayer {
    pub(super) fn build<S: ParameterSource>(
        config: &ClipTextConfig,
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
        mask: &Tensor<4>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let parts = PreNorm {
            before_attention: &self.layer_norm1,
            attention: &self.self_attn,
            before_mlp: &self.layer_norm2,
            mlp: &self.mlp,
        };
        let rates = DropoutRates { hidden: 0.0, attention: 0.0 };
        parts.forward(x, layer, &PATHS, Some(mask), rates, tape)
    }
}
