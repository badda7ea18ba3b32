mod table;

use std::fmt;

/// The families of decoders.
///
/// A family says what no key of `config.json` does; everything else is in
/// [`DecoderConfig`](crate::DecoderConfig).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Llama 2 and 3, and what has their shape: TinyLlama, SmolLM and SmolLM2.
    /// Sources: arXiv 2302.13971, 2307.09288, 2407.21783.
    Llama,
    /// Mistral. Source: Jiang et al., arXiv 2310.06825.
    Mistral,
    /// Mixtral, a mixture of experts. Source: Jiang et al., arXiv 2401.04088.
    Mixtral,
    /// Qwen 2 and 2.5. Source: Yang et al., arXiv 2407.10671.
    Qwen2,
    /// Qwen 3, without mixtures of experts. Source: Yang et al., arXiv 2505.09388.
    Qwen3,
    /// Qwen 3 as a mixture of experts. Source: Yang et al., arXiv 2505.09388.
    Qwen3Moe,
    /// Gemma 2. Source: Gemma Team, arXiv 2408.00118.
    Gemma2,
    /// Gemma 3, its text models. Source: Gemma Team, arXiv 2503.19786.
    Gemma3,
    /// Phi 3, and Phi 4 mini. Sources: Abdin et al., arXiv 2404.14219; Microsoft, 2503.01743.
    Phi3,
    /// SmolLM3. Source: Hugging Face's description of the model.
    SmolLm3,
    /// OLMo 2. Source: OLMo Team, arXiv 2501.00656.
    Olmo2,
    /// Granite 3, dense. Source: IBM's description of the models.
    Granite,
}

/// What all models of a family have in common.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct FamilyTraits {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The entry of `architectures`.
    pub architecture: &'static str,
    /// The key that names the activation.
    pub activation_key: &'static str,
    /// The size of a head where there is no key; `None` for `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// The number of key and value heads where there is no key; `None` for that of query heads.
    pub num_key_value_heads: Option<usize>,
    /// The base of rotary embeddings where there is no key.
    pub rope_theta: f64,
    /// The same for layers with a sliding window, where they have rotary embeddings of their own.
    pub local_rope_theta: Option<f64>,
    /// Whether rotary embeddings may turn a part of each head.
    pub partial_rotary: bool,
    /// Whether `no_rope_layers` names layers without rotary embeddings.
    pub unrotated_layers: bool,
    /// Whether queries, keys and values always have biases.
    pub qkv_bias: bool,
    /// Whether `attention_bias` adds biases to the linears of attention.
    pub attention_bias_key: bool,
    /// Whether `mlp_bias` adds biases to the linears of the feed-forward layer.
    pub mlp_bias_key: bool,
    /// How queries and keys are normalised before they are rotated.
    pub qk_norm: QkNorm,
    /// Whether RMS norms multiply by `1 + w` instead of `w`.
    pub unit_offset_norms: bool,
    /// Where attention and feed-forward are normalised.
    pub norms: Norms,
    /// Whether embeddings are multiplied by `sqrt(H)`.
    pub scaled_embeddings: bool,
    /// Whether embeddings, scores, residuals and logits have multipliers.
    pub multipliers: bool,
    /// Whether attention scores may have a soft cap.
    pub attention_cap: bool,
    /// Whether logits may have a soft cap.
    pub logit_cap: bool,
    /// Whether the scale of attention scores has the key `query_pre_attn_scalar`.
    pub query_scalar: bool,
    /// Whether files hold one `qkv_proj` and one `gate_up_proj`.
    pub fused_projections: bool,
    /// Which layers attend within a sliding window.
    pub windows: Windows,
    /// What the parts of a mixture of experts are called; `None` for a family without.
    pub experts: Option<ExpertNames>,
}

/// How `config.json` says which layers attend within a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Windows {
    /// No layer does.
    Never,
    /// All layers do, where `sliding_window` is given.
    AllLayers,
    /// Only with `use_sliding_window`: the layers that `layer_types` names, or those from
    /// `max_window_layers` on.
    Switched,
    /// Only with `use_sliding_window`: all layers.
    SwitchedAllLayers,
    /// Only with `use_sliding_window`: the layers that `layer_types` names, or those without
    /// rotary embeddings.
    SwitchedUnrotated,
    /// The layers that `layer_types` names, or all but every so many-th
    /// (`sliding_window_pattern`).
    Interleaved(usize),
}

impl Windows {
    /// Whether a key says it of each layer.
    pub(super) fn by_layer(self) -> bool {
        matches!(self, Self::Switched | Self::SwitchedUnrotated | Self::Interleaved(_))
    }

    /// Whether a key turns it on.
    pub(super) fn switched(self) -> bool {
        matches!(self, Self::Switched | Self::SwitchedAllLayers | Self::SwitchedUnrotated)
    }
}

/// Where the parts of a decoder layer are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Norms {
    /// Before attention and before the feed-forward layer.
    Before,
    /// After each of them.
    After,
    /// Before and after each of them.
    Around,
}

/// How queries and keys are normalised before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QkNorm {
    /// Not at all.
    None,
    /// Each head.
    Heads,
    /// All heads together.
    Whole,
}

/// What files call the parts of a mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpertNames {
    /// The feed-forward layer, with its `gate` and its `experts`.
    pub block: &'static str,
    /// An expert's gate projection.
    pub gate_proj: &'static str,
    /// An expert's up projection.
    pub up_proj: &'static str,
    /// An expert's down projection.
    pub down_proj: &'static str,
    /// The key of the number of experts.
    pub count_key: &'static str,
    /// Whether size, normalisation and layers of experts have keys of their own.
    pub own_keys: bool,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 12] = [
        Self::Llama,
        Self::Mistral,
        Self::Mixtral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Qwen3Moe,
        Self::Gemma2,
        Self::Gemma3,
        Self::Phi3,
        Self::SmolLm3,
        Self::Olmo2,
        Self::Granite,
    ];

    /// What all models of the family have in common.
    pub fn traits(self) -> &'static FamilyTraits {
        table::of(self)
    }

    /// `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.traits().model_type
    }

    /// The family of a `model_type`.
    pub fn from_model_type(model_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.model_type() == model_type)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_found_by_its_model_type() {
        for family in Family::ALL {
            assert_eq!(Family::from_model_type(&family.to_string()), Some(family));
            assert!(family.traits().architecture.ends_with("ForCausalLM"));
        }
        assert_eq!(Family::from_model_type("gpt2"), None);
    }
}
