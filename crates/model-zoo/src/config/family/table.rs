use super::{ExpertNames, Family, FamilyTraits, Norms, QkNorm, Windows};

const PLAIN: FamilyTraits = FamilyTraits {
    model_type: "",
    architecture: "",
    activation_key: "hidden_act",
    head_dim: None,
    num_key_value_heads: None,
    rope_theta: 10_000.0,
    local_rope_theta: None,
    partial_rotary: false,
    unrotated_layers: false,
    qkv_bias: false,
    attention_bias_key: false,
    mlp_bias_key: false,
    qk_norm: QkNorm::None,
    unit_offset_norms: false,
    norms: Norms::Before,
    scaled_embeddings: false,
    multipliers: false,
    attention_cap: false,
    logit_cap: false,
    query_scalar: false,
    fused_projections: false,
    windows: Windows::Never,
    experts: None,
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
    num_key_value_heads: Some(8),
    windows: Windows::AllLayers,
    ..PLAIN
};

const MIXTRAL: FamilyTraits = FamilyTraits {
    model_type: "mixtral",
    architecture: "MixtralForCausalLM",
    rope_theta: 1e6,
    experts: Some(ExpertNames {
        block: "block_sparse_moe",
        gate_proj: "w1",
        up_proj: "w3",
        down_proj: "w2",
        count_key: "num_local_experts",
        own_keys: false,
    }),
    ..MISTRAL
};

const QWEN2: FamilyTraits = FamilyTraits {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    num_key_value_heads: Some(32),
    qkv_bias: true,
    windows: Windows::Switched,
    ..PLAIN
};

const QWEN3: FamilyTraits = FamilyTraits {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    head_dim: Some(128),
    num_key_value_heads: Some(32),
    attention_bias_key: true,
    qk_norm: QkNorm::Heads,
    windows: Windows::Switched,
    ..PLAIN
};

const QWEN3_MOE: FamilyTraits = FamilyTraits {
    model_type: "qwen3_moe",
    architecture: "Qwen3MoeForCausalLM",
    head_dim: None,
    num_key_value_heads: Some(4),
    windows: Windows::SwitchedAllLayers,
    experts: Some(ExpertNames {
        block: "mlp",
        gate_proj: "gate_proj",
        up_proj: "up_proj",
        down_proj: "down_proj",
        count_key: "num_experts",
        own_keys: true,
    }),
    ..QWEN3
};

const GEMMA2: FamilyTraits = FamilyTraits {
    model_type: "gemma2",
    architecture: "Gemma2ForCausalLM",
    activation_key: "hidden_activation",
    head_dim: Some(256),
    num_key_value_heads: Some(4),
    attention_bias_key: true,
    unit_offset_norms: true,
    norms: Norms::Around,
    scaled_embeddings: true,
    attention_cap: true,
    logit_cap: true,
    query_scalar: true,
    windows: Windows::Interleaved(2),
    ..PLAIN
};

const GEMMA3: FamilyTraits = FamilyTraits {
    model_type: "gemma3_text",
    architecture: "Gemma3ForCausalLM",
    rope_theta: 1e6,
    local_rope_theta: Some(10_000.0),
    qk_norm: QkNorm::Heads,
    // transformers reads the key, and does not apply it.
    attention_cap: false,
    windows: Windows::Interleaved(6),
    ..GEMMA2
};

const PHI3: FamilyTraits = FamilyTraits {
    model_type: "phi3",
    architecture: "Phi3ForCausalLM",
    partial_rotary: true,
    fused_projections: true,
    windows: Windows::AllLayers,
    ..PLAIN
};

const SMOLLM3: FamilyTraits = FamilyTraits {
    model_type: "smollm3",
    architecture: "SmolLM3ForCausalLM",
    num_key_value_heads: Some(4),
    rope_theta: 2e6,
    unrotated_layers: true,
    windows: Windows::SwitchedUnrotated,
    ..LLAMA
};

const OLMO2: FamilyTraits = FamilyTraits {
    model_type: "olmo2",
    architecture: "Olmo2ForCausalLM",
    attention_bias_key: true,
    qk_norm: QkNorm::Whole,
    norms: Norms::After,
    ..PLAIN
};

const GRANITE: FamilyTraits = FamilyTraits {
    model_type: "granite",
    architecture: "GraniteForCausalLM",
    multipliers: true,
    ..LLAMA
};

pub(super) fn of(family: Family) -> &'static FamilyTraits {
    match family {
        Family::Llama => &LLAMA,
        Family::Mistral => &MISTRAL,
        Family::Mixtral => &MIXTRAL,
        Family::Qwen2 => &QWEN2,
        Family::Qwen3 => &QWEN3,
        Family::Qwen3Moe => &QWEN3_MOE,
        Family::Gemma2 => &GEMMA2,
        Family::Gemma3 => &GEMMA3,
        Family::Phi3 => &PHI3,
        Family::SmolLm3 => &SMOLLM3,
        Family::Olmo2 => &OLMO2,
        Family::Granite => &GRANITE,
    }
}
