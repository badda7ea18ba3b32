use moe_adapter::Activation;
use serde_json::Value;

use super::{DecoderConfig, check};
use crate::config::reader::Reader;
use crate::config::similar::offered;
use crate::config::{ConfigError, ExpertNames, Family, SparseConfig, Windows, rope};

pub(super) fn read(value: &Value, origin: &str) -> Result<DecoderConfig, ConfigError> {
    let reader = Reader::new(value, origin)?;
    let family = read_family(&reader)?;
    refuse_other_models(&reader)?;
    let required = |key: &str| reader.required(key, reader.size(key)?);
    let hidden_size = required("hidden_size")?;
    let heads = required("num_attention_heads")?;
    let defaults = DecoderConfig::new(
        required("vocab_size")?,
        hidden_size,
        required("intermediate_size")?,
        required("num_hidden_layers")?,
        heads,
    )
    .with_family(family);
    let traits = family.traits();
    let head_dim = match (reader.size("head_dim")?, traits.head_dim) {
        (Some(size), _) => size,
        (None, Some(size)) if !reader.has("head_dim") => size,
        (None, _) if heads > 0 && hidden_size % heads != 0 => {
            return Err(ConfigError::Invalid {
                origin: origin.to_owned(),
                key: "num_attention_heads".to_owned(),
                value: heads.to_string(),
                allowed: format!("a divisor of `hidden_size`, {hidden_size}"),
            });
        }
        (None, _) => defaults.head_dim,
    };
    let unrotated_layers = read_unrotated(&reader, &defaults)?;
    let (sliding_window, full_attention_layers) =
        read_windows(&reader, &defaults, &unrotated_layers)?;
    let max_position_embeddings =
        reader.size("max_position_embeddings")?.unwrap_or(defaults.max_position_embeddings);
    let (rope, local_rope) = rope::read(&reader, family, max_position_embeddings)?;
    let flag = |key: &str, known: bool| -> Result<bool, ConfigError> {
        Ok(reader.boolean(key)?.unwrap_or(false) && known)
    };
    // `null` switches these off; an absent key has its default.
    let cap = |key: &str, known, default: Option<f64>| -> Result<Option<f64>, ConfigError> {
        let value = reader.number(key)?;
        Ok(if reader.has(key) { value } else { default }.filter(|_| known))
    };
    let multiplier = |key: &str| -> Result<f64, ConfigError> {
        Ok(reader.number(key)?.filter(|_| traits.multipliers).unwrap_or(1.0))
    };
    let config = DecoderConfig {
        num_key_value_heads: read_key_value_heads(&reader, &defaults)?,
        head_dim,
        max_position_embeddings,
        rms_norm_eps: reader.number("rms_norm_eps")?.unwrap_or(defaults.rms_norm_eps),
        rope,
        local_rope,
        unrotated_layers,
        activation: read_activation(&reader, traits.activation_key, defaults.activation)?,
        sliding_window,
        full_attention_layers,
        attn_logit_softcapping: cap(
            "attn_logit_softcapping",
            traits.attention_cap,
            defaults.attn_logit_softcapping,
        )?,
        final_logit_softcapping: cap(
            "final_logit_softcapping",
            traits.logit_cap,
            defaults.final_logit_softcapping,
        )?,
        query_pre_attn_scalar: reader
            .number("query_pre_attn_scalar")?
            .or(defaults.query_pre_attn_scalar)
            .filter(|_| traits.query_scalar),
        embedding_multiplier: multiplier("embedding_multiplier")?,
        attention_multiplier: match traits.multipliers {
            true => Some(multiplier("attention_multiplier")?),
            false => None,
        },
        residual_multiplier: multiplier("residual_multiplier")?,
        logits_scaling: multiplier("logits_scaling")?,
        sparse: match &traits.experts {
            Some(names) => Some(read_experts(&reader, names, &defaults)?),
            None => None,
        },
        tie_word_embeddings: reader
            .boolean("tie_word_embeddings")?
            .unwrap_or(defaults.tie_word_embeddings),
        attention_bias: flag("attention_bias", traits.attention_bias_key)?,
        mlp_bias: flag("mlp_bias", traits.mlp_bias_key)?,
        bos_token_id: reader.token("bos_token_id")?,
        eos_token_ids: reader.tokens("eos_token_id")?,
        pad_token_id: reader.token("pad_token_id")?,
        initializer_range: reader
            .number("initializer_range")?
            .unwrap_or(defaults.initializer_range),
        ..defaults
    };
    check::check(&config, origin)?;
    Ok(config)
}

fn read_family(reader: &Reader) -> Result<Family, ConfigError> {
    let model_type = reader.required("model_type", reader.text("model_type")?)?;
    let Some(family) = Family::from_model_type(model_type) else {
        let known = Family::ALL.map(Family::model_type);
        return Err(reader.unsupported("model_type", model_type, &offered(model_type, &known)));
    };
    if let Some(architectures) = reader.get("architectures") {
        let listed = architectures.as_array().map(Vec::as_slice).unwrap_or_default();
        let expected = family.traits().architecture;
        if !listed.iter().any(|name| name == expected) {
            return Err(reader.unsupported("architectures", &architectures.to_string(), expected));
        }
    }
    Ok(family)
}

/// Refuses what would load, or nearly, and compute something else.
fn refuse_other_models(reader: &Reader) -> Result<(), ConfigError> {
    for key in ["rope_interleaved", "use_bidirectional_attention"] {
        if reader.boolean(key)? == Some(true) {
            return Err(reader.unsupported(key, "true", "false"));
        }
    }
    Ok(())
}

fn read_activation(
    reader: &Reader,
    key: &str,
    default: Activation,
) -> Result<Activation, ConfigError> {
    match reader.text(key)? {
        None => Ok(default),
        Some("silu") => Ok(Activation::Silu),
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some(other) => Err(reader.unsupported(key, other, "silu, gelu_pytorch_tanh")),
    }
}

/// `null` means as many as query heads; an absent key has the default of the family.
fn read_key_value_heads(reader: &Reader, defaults: &DecoderConfig) -> Result<usize, ConfigError> {
    let key = "num_key_value_heads";
    let default = match defaults.family {
        _ if reader.has(key) => None,
        family => family.traits().num_key_value_heads,
    };
    Ok(reader.size(key)?.or(default).unwrap_or(defaults.num_key_value_heads))
}

/// The sliding window, and the layers without it.
fn read_windows(
    reader: &Reader,
    defaults: &DecoderConfig,
    unrotated: &[usize],
) -> Result<(Option<usize>, Vec<usize>), ConfigError> {
    let layers = defaults.num_hidden_layers;
    let given = reader.size("sliding_window")?;
    let or_default = |default| if reader.has("sliding_window") { given } else { default };
    let used = || Ok(reader.boolean("use_sliding_window")?.unwrap_or(false));
    let (window, full) = match defaults.family.traits().windows {
        Windows::Never => (None, Vec::new()),
        Windows::AllLayers => (or_default(defaults.sliding_window), Vec::new()),
        Windows::Switched => {
            let used = used()?;
            let window = or_default(Some(4096)).filter(|_| used);
            let first = reader.size("max_window_layers")?.unwrap_or(28).min(layers);
            (window, read_full_layers(reader, layers)?.unwrap_or((0..first).collect()))
        }
        Windows::SwitchedAllLayers => {
            let used = used()?;
            (or_default(Some(4096)).filter(|_| used), Vec::new())
        }
        Windows::SwitchedUnrotated => {
            let used = used()?;
            let rotated = (0..layers).filter(|layer| !unrotated.contains(layer)).collect();
            (given.filter(|_| used), read_full_layers(reader, layers)?.unwrap_or(rotated))
        }
        Windows::Interleaved(every) => {
            let every = reader.size("sliding_window_pattern")?.unwrap_or(every);
            let default = super::defaults::interleaved(layers, every);
            let full = read_full_layers(reader, layers)?.unwrap_or(default);
            (or_default(defaults.sliding_window), full)
        }
    };
    Ok(match window {
        Some(window) if full.len() < layers => (Some(window), full),
        _ => (None, Vec::new()),
    })
}

/// The layers that `layer_types` says attend to everything.
fn read_full_layers(reader: &Reader, layers: usize) -> Result<Option<Vec<usize>>, ConfigError> {
    let key = "layer_types";
    let Some(types) = reader.texts(key)? else { return Ok(None) };
    if types.len() != layers {
        let allowed = format!("{layers} entries, one for each of `num_hidden_layers`");
        return Err(reader.invalid(key, &format!("{} entries", types.len()), &allowed));
    }
    let mut full = Vec::new();
    for (layer, kind) in types.into_iter().enumerate() {
        match kind {
            "full_attention" => full.push(layer),
            "sliding_attention" => {}
            other => {
                return Err(reader.unsupported(key, other, "full_attention, sliding_attention"));
            }
        }
    }
    Ok(Some(full))
}

/// The layers for which `no_rope_layers` holds a 0; where it is absent, one of every so many.
fn read_unrotated(reader: &Reader, defaults: &DecoderConfig) -> Result<Vec<usize>, ConfigError> {
    if !defaults.family.traits().unrotated_layers {
        return Ok(Vec::new());
    }
    let (key, layers) = ("no_rope_layers", defaults.num_hidden_layers);
    let Some(flags) = reader.sizes(key)? else {
        let every = reader.size("no_rope_layer_interval")?.unwrap_or(4);
        return Ok(super::defaults::interleaved(layers, every));
    };
    if flags.len() < layers {
        let allowed = format!("{layers} entries, one for each of `num_hidden_layers`");
        return Err(reader.invalid(key, &format!("{} entries", flags.len()), &allowed));
    }
    Ok((0..layers).filter(|layer| flags[*layer] == 0).collect())
}

fn read_experts(
    reader: &Reader,
    names: &ExpertNames,
    defaults: &DecoderConfig,
) -> Result<SparseConfig, ConfigError> {
    let layers = defaults.num_hidden_layers;
    let default = super::defaults::sparse(names, defaults.intermediate_size);
    let mut count = None;
    // Both names are in use for either family.
    for key in [names.count_key, "num_experts", "num_local_experts"] {
        count = count.or(reader.size(key)?);
    }
    let per_token = reader.size("num_experts_per_tok")?;
    let shared = SparseConfig {
        num_experts: count.unwrap_or(default.num_experts),
        num_experts_per_tok: per_token.unwrap_or(default.num_experts_per_tok),
        ..default
    };
    if !names.own_keys {
        return Ok(shared);
    }
    let inner = reader.size("moe_intermediate_size")?;
    let step = reader.size("decoder_sparse_step")?.unwrap_or(1);
    let mut dense = reader.sizes("mlp_only_layers")?.unwrap_or_default();
    dense.extend((0..layers).filter(|layer| step == 0 || (layer + 1) % step != 0));
    dense.retain(|layer| *layer < layers);
    dense.sort_unstable();
    dense.dedup();
    Ok(SparseConfig {
        moe_intermediate_size: inner.unwrap_or(shared.moe_intermediate_size),
        norm_topk_prob: reader.boolean("norm_topk_prob")?.unwrap_or(false),
        dense_layers: dense,
        ..shared
    })
}
