use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::{FeedForwardPaths, GatedFeedForward, Projection};
use router::RoutingTape;

use super::attention::LlamaAttention;
use super::mlp;
use super::norm::RmsNorm;
use super::pass::Pass;
use crate::LlamaConfig;
use crate::cache::LayerCache;
use crate::parameters::ParameterSource;

/// One decoder layer: `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
#[derive(Module, Debug)]
pub struct LlamaDecoderLayer<P: Projection> {
    /// Before attention.
    pub input_layernorm: RmsNorm,
    /// Attention.
    pub self_attn: LlamaAttention<P>,
    /// Before the feed-forward layer.
    pub post_attention_layernorm: RmsNorm,
    /// The feed-forward layer.
    pub mlp: GatedFeedForward<P>,
}

impl<P: Projection> LlamaDecoderLayer<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &LlamaConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let mut norm = |name: &str| -> Result<RmsNorm, S::Error> {
            let weight = source.norm(&format!("{path}.{name}"), config.hidden_size)?;
            Ok(RmsNorm { weight, eps: config.rms_norm_eps })
        };
        let input_layernorm = norm("input_layernorm")?;
        let post_attention_layernorm = norm("post_attention_layernorm")?;
        Ok(Self {
            input_layernorm,
            self_attn: LlamaAttention::build(config, &format!("{path}.self_attn"), source)?,
            post_attention_layernorm,
            mlp: mlp::build(config, &format!("{path}.mlp"), source)?,
        })
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let h = self.input_layernorm.forward(x.clone());
        let x = x + self.self_attn.forward(h, layer, pass, cache, tape);
        let h = self.post_attention_layernorm.forward(x.clone());
        x + self.mlp.forward(h, layer, &FeedForwardPaths::LLAMA, tape)
    }

    /// The projections in the order of the forward pass, with their paths inside the layer.
    pub(super) fn projections(&self) -> [(&'static str, &P); 7] {
        let (attention, mlp) = (&self.self_attn, &self.mlp);
        [
            (PATHS[0], &attention.q_proj),
            (PATHS[1], &attention.k_proj),
            (PATHS[2], &attention.v_proj),
            (PATHS[3], &attention.o_proj),
            (PATHS[4], &mlp.gate_proj),
            (PATHS[5], &mlp.up_proj),
            (PATHS[6], &mlp.down_proj),
        ]
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> [(&'static str, &mut P); 7] {
        let (attention, mlp) = (&mut self.self_attn, &mut self.mlp);
        [
            (PATHS[0], &mut attention.q_proj),
            (PATHS[1], &mut attention.k_proj),
            (PATHS[2], &mut attention.v_proj),
            (PATHS[3], &mut attention.o_proj),
            (PATHS[4], &mut mlp.gate_proj),
            (PATHS[5], &mut mlp.up_proj),
            (PATHS[6], &mut mlp.down_proj),
        ]
    }
}

const PATHS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];
