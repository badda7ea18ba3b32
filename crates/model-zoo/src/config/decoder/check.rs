use super::{ConfigError, DecoderConfig};
use crate::config::{SparseConfig, Windows};

pub(super) fn check(config: &DecoderConfig, origin: &str) -> Result<(), ConfigError> {
    let invalid = |key: &str, value: String, allowed: String| ConfigError::Invalid {
        origin: origin.to_owned(),
        key: key.to_owned(),
        value,
        allowed,
    };
    for (key, size) in [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
        ("head_dim", config.head_dim),
        ("max_position_embeddings", config.max_position_embeddings),
        ("sliding_window", config.sliding_window.unwrap_or(1)),
    ] {
        if size == 0 {
            return Err(invalid(key, "0".to_owned(), "at least 1".to_owned()));
        }
    }
    let heads = config.num_attention_heads;
    if !heads.is_multiple_of(config.num_key_value_heads) {
        let allowed = format!("a divisor of `num_attention_heads`, {heads}");
        let value = config.num_key_value_heads.to_string();
        return Err(invalid("num_key_value_heads", value, allowed));
    }
    if !config.head_dim.is_multiple_of(2) {
        let allowed = "even, because rotary embeddings turn pairs".to_owned();
        return Err(invalid("head_dim", config.head_dim.to_string(), allowed));
    }
    for (key, value) in [
        ("rms_norm_eps", config.rms_norm_eps),
        ("initializer_range", config.initializer_range),
        ("attn_logit_softcapping", config.attn_logit_softcapping.unwrap_or(1.0)),
        ("final_logit_softcapping", config.final_logit_softcapping.unwrap_or(1.0)),
        ("query_pre_attn_scalar", config.query_pre_attn_scalar.unwrap_or(1.0)),
        ("embedding_multiplier", config.embedding_multiplier),
        ("attention_multiplier", config.attention_multiplier.unwrap_or(1.0)),
        ("residual_multiplier", config.residual_multiplier),
        ("logits_scaling", config.logits_scaling),
    ] {
        if !(value.is_finite() && value > 0.0) {
            let allowed = "a finite number above 0".to_owned();
            return Err(invalid(key, value.to_string(), allowed));
        }
    }
    let dense = config.sparse.as_ref().map_or(&[][..], |sparse| &sparse.dense_layers);
    for (key, layers) in [
        ("full_attention_layers", config.full_attention_layers.as_slice()),
        ("unrotated_layers", &config.unrotated_layers),
        ("mlp_only_layers", dense),
    ] {
        if !layers.iter().all(|layer| *layer < config.num_hidden_layers) || !layers.is_sorted() {
            let allowed = format!("ascending and below {}", config.num_hidden_layers);
            return Err(invalid(key, format!("{layers:?}"), allowed));
        }
    }
    if let Some(sparse) = &config.sparse {
        check_experts(sparse, &invalid)?;
    }
    let special = config.eos_token_ids.iter().map(|id| ("eos_token_id", *id));
    let special = special.chain(config.bos_token_id.map(|id| ("bos_token_id", id)));
    for (key, id) in special.chain(config.pad_token_id.map(|id| ("pad_token_id", id))) {
        if id as usize >= config.vocab_size {
            let allowed = format!("below `vocab_size`, {}", config.vocab_size);
            return Err(invalid(key, id.to_string(), allowed));
        }
    }
    check_family(config, invalid)?;
    let mut ropes = std::iter::once(&config.rope).chain(&config.local_rope);
    ropes.try_for_each(|rope| rope.check(origin, config.head_dim))
}

fn check_experts(
    sparse: &SparseConfig,
    invalid: &impl Fn(&str, String, String) -> ConfigError,
) -> Result<(), ConfigError> {
    for (key, size) in [
        ("num_experts", sparse.num_experts),
        ("num_experts_per_tok", sparse.num_experts_per_tok),
        ("moe_intermediate_size", sparse.moe_intermediate_size),
    ] {
        if size == 0 {
            return Err(invalid(key, "0".to_owned(), "at least 1".to_owned()));
        }
    }
    if sparse.num_experts_per_tok > sparse.num_experts {
        let allowed = format!("at most `num_experts`, {}", sparse.num_experts);
        return Err(invalid(
            "num_experts_per_tok",
            sparse.num_experts_per_tok.to_string(),
            allowed,
        ));
    }
    Ok(())
}

/// Refuses what a `config.json` of the family cannot say, and transformers would not compute.
fn check_family(
    config: &DecoderConfig,
    invalid: impl Fn(&str, String, String) -> ConfigError,
) -> Result<(), ConfigError> {
    let family = config.family.traits();
    let windows = family.windows;
    for (key, used, possible) in [
        ("attention_bias", config.attention_bias, family.attention_bias_key),
        ("mlp_bias", config.mlp_bias, family.mlp_bias_key),
        ("attn_logit_softcapping", config.attn_logit_softcapping.is_some(), family.attention_cap),
        ("final_logit_softcapping", config.final_logit_softcapping.is_some(), family.logit_cap),
        ("query_pre_attn_scalar", config.query_pre_attn_scalar.is_some(), family.query_scalar),
        ("embedding_multiplier", config.embedding_multiplier != 1.0, family.multipliers),
        ("attention_multiplier", config.attention_multiplier.is_some(), family.multipliers),
        ("residual_multiplier", config.residual_multiplier != 1.0, family.multipliers),
        ("logits_scaling", config.logits_scaling != 1.0, family.multipliers),
        ("local_rope", config.local_rope.is_some(), family.local_rope_theta.is_some()),
        ("unrotated_layers", !config.unrotated_layers.is_empty(), family.unrotated_layers),
        ("partial_rotary_factor", config.rope.partial_rotary_factor != 1.0, family.partial_rotary),
        ("num_experts", config.sparse.is_some(), family.experts.is_some()),
        ("sliding_window", config.sliding_window.is_some(), windows != Windows::Never),
        ("full_attention_layers", !config.full_attention_layers.is_empty(), windows.by_layer()),
        ("fused_projections", config.fused_projections, family.fused_projections),
    ] {
        if used && !possible {
            let allowed = format!("absent in the family {}", config.family);
            return Err(invalid(key, "given".to_owned(), allowed));
        }
    }
    if config.sparse.is_none() && family.experts.is_some() {
        let allowed = format!("given in the family {}", config.family);
        return Err(invalid("num_experts", "absent".to_owned(), allowed));
    }
    Ok(())
}
