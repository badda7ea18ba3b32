use moe_adapter::Activation;

use super::DecoderConfig;
use crate::config::{ExpertNames, Family, RopeConfig, SparseConfig, Windows};

impl DecoderConfig {
    /// Makes it a model of another family, with transformers' defaults for that family; sizes,
    /// heads, tokens and the rotary embeddings of most layers stay.
    pub fn with_family(self, family: Family) -> Self {
        let traits = family.traits();
        let layers = self.num_hidden_layers;
        let plain = Self {
            family,
            activation: Activation::Silu,
            local_rope: traits.local_rope_theta.map(RopeConfig::with_theta),
            unrotated_layers: Vec::new(),
            sliding_window: None,
            full_attention_layers: match traits.windows {
                Windows::Interleaved(every) => interleaved(layers, every),
                _ => Vec::new(),
            },
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            query_pre_attn_scalar: None,
            embedding_multiplier: 1.0,
            attention_multiplier: traits.multipliers.then_some(1.0),
            residual_multiplier: 1.0,
            logits_scaling: 1.0,
            sparse: traits.experts.as_ref().map(|names| sparse(names, self.intermediate_size)),
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            fused_projections: traits.fused_projections,
            rms_norm_eps: 1e-6,
            ..self
        };
        let positions = |max_position_embeddings| Self { max_position_embeddings, ..plain.clone() };
        match family {
            Family::Llama | Family::Granite => positions(2048),
            Family::Mistral => Self { sliding_window: Some(4096), ..positions(131_072) },
            Family::Mixtral => Self { rms_norm_eps: 1e-5, ..positions(131_072) },
            Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe => positions(32_768),
            Family::Gemma2 => Self {
                activation: Activation::GeluTanh,
                sliding_window: Some(4096),
                attn_logit_softcapping: Some(50.0),
                final_logit_softcapping: Some(30.0),
                query_pre_attn_scalar: Some(256.0),
                tie_word_embeddings: true,
                ..positions(8192)
            },
            Family::Gemma3 => Self {
                activation: Activation::GeluTanh,
                sliding_window: Some(4096),
                query_pre_attn_scalar: Some(256.0),
                tie_word_embeddings: true,
                ..positions(131_072)
            },
            Family::Phi3 => Self { rms_norm_eps: 1e-5, ..positions(4096) },
            Family::SmolLm3 => Self {
                unrotated_layers: interleaved(layers, 4),
                tie_word_embeddings: true,
                ..positions(32_768)
            },
            Family::Olmo2 => Self { rms_norm_eps: 1e-5, ..positions(2048) },
        }
    }
}

/// The last of every so many layers.
pub(super) fn interleaved(layers: usize, every: usize) -> Vec<usize> {
    (0..layers).filter(|layer| every > 0 && (layer + 1) % every == 0).collect()
}

/// The experts of a family; the inner size is that of its feed-forward layers unless it has a key
/// of its own.
pub(super) fn sparse(names: &ExpertNames, intermediate_size: usize) -> SparseConfig {
    let dense_layers = Vec::new();
    match names.own_keys {
        true => SparseConfig {
            num_experts: 128,
            num_experts_per_tok: 8,
            moe_intermediate_size: 768,
            norm_topk_prob: false,
            dense_layers,
        },
        false => SparseConfig {
            num_experts: 8,
            num_experts_per_tok: 2,
            moe_intermediate_size: intermediate_size,
            norm_topk_prob: true,
            dense_layers,
        },
    }
}
