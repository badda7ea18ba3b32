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
    /// Qwen 2 and 2.5. Source: Yang et al., arXiv 2407.10671.
    Qwen2,
    /// Qwen 3, without mixtures of experts. Source: Yang et al., arXiv 2505.09388.
    Qwen3,
    /// Gemma 2. Source: Gemma Team, arXiv 2408.00118.
    Gemma2,
    /// Phi 3. Source: Abdin et al., arXiv 2404.14219.
    Phi3,
}

/// What all models of a family have in common.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FamilyTraits {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The entry of `architectures`.
    pub architecture: &'static str,
    /// The key that names the activation.
    pub activation_key: &'static str,
    /// Whether queries, keys and values always have biases.
    pub qkv_bias: bool,
    /// Whether `attention_bias` adds biases to the linears of attention.
    pub attention_bias_key: bool,
    /// Whether `mlp_bias` adds biases to the linears of the feed-forward layer.
    pub mlp_bias_key: bool,
    /// Whether each head of queries and keys is normalised before it is rotated.
    pub qk_norm: bool,
    /// Whether RMS norms multiply by `1 + w` instead of `w`.
    pub unit_offset_norms: bool,
    /// Whether attention and feed-forward are normalised after as well as before.
    pub post_norms: bool,
    /// Whether embeddings are multiplied by `sqrt(H)`.
    pub scaled_embeddings: bool,
    /// Whether scores and logits may have soft caps, and the scale of scores a key of its own.
    pub soft_caps: bool,
    /// Whether files hold one `qkv_proj` and one `gate_up_proj`.
    pub fused_projections: bool,
    /// Which layers attend within a sliding window.
    pub windows: Windows,
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
    /// The layers that `layer_types` names, or every other one, the first included.
    Alternating,
}

const PLAIN: FamilyTraits = FamilyTraits {
    model_type: "",
    architecture: "",
    activation_key: "hidden_act",
    qkv_bias: false,
    attention_bias_key: false,
    mlp_bias_key: false,
    qk_norm: false,
    unit_offset_norms: false,
    post_norms: false,
    scaled_embeddings: false,
    soft_caps: false,
    fused_projections: false,
    windows: Windows::Never,
};

const LLAMA: FamilyTraits = FamilyTraits {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    attention_bias_key: true,
    mlp_bias_key: true,
    ..PLAIN
};

const MISTRAL: FamilyTraits = FamilyTraits {
    model_type: "mistral",
    architecture: "MistralForCausalLM",
    windows: Windows::AllLayers,
    ..PLAIN
};

const QWEN2: FamilyTraits = FamilyTraits {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    qkv_bias: true,
    windows: Windows::Switched,
    ..PLAIN
};

const QWEN3: FamilyTraits = FamilyTraits {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    attention_bias_key: true,
    qk_norm: true,
    windows: Windows::Switched,
    ..PLAIN
};

const GEMMA2: FamilyTraits = FamilyTraits {
    model_type: "gemma2",
    architecture: "Gemma2ForCausalLM",
    activation_key: "hidden_activation",
    attention_bias_key: true,
    unit_offset_norms: true,
    post_norms: true,
    scaled_embeddings: true,
    soft_caps: true,
    windows: Windows::Alternating,
    ..PLAIN
};

const PHI3: FamilyTraits = FamilyTraits {
    model_type: "phi3",
    architecture: "Phi3ForCausalLM",
    fused_projections: true,
    windows: Windows::AllLayers,
    ..PLAIN
};

impl Family {
    /// Every family.
    pub const ALL: [Self; 6] =
        [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3, Self::Gemma2, Self::Phi3];

    /// What all models of the family have in common.
    pub fn traits(self) -> &'static FamilyTraits {
        match self {
            Self::Llama => &LLAMA,
            Self::Mistral => &MISTRAL,
            Self::Qwen2 => &QWEN2,
            Self::Qwen3 => &QWEN3,
            Self::Gemma2 => &GEMMA2,
            Self::Phi3 => &PHI3,
        }
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
