use moe_adapter::Activation;
use serde_json::{Value, json};

use super::DecoderConfig;
use crate::config::{Windows, rope};

pub(super) fn write(config: &DecoderConfig) -> Value {
    let family = config.family.traits();
    let eos_token_id = match config.eos_token_ids.as_slice() {
        [] => Value::Null,
        [one] => json!(one),
        many => json!(many),
    };
    let mut json = json!({
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": eos_token_id,
        "pad_token_id": config.pad_token_id,
        "initializer_range": config.initializer_range,
    });
    let activation = match config.activation {
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
    };
    json[family.activation_key] = json!(activation);
    if family.attention_bias_key {
        json["attention_bias"] = json!(config.attention_bias);
    }
    if family.mlp_bias_key {
        json["mlp_bias"] = json!(config.mlp_bias);
    }
    if family.attention_cap {
        json["attn_logit_softcapping"] = json!(config.attn_logit_softcapping);
    }
    if family.logit_cap {
        json["final_logit_softcapping"] = json!(config.final_logit_softcapping);
    }
    if family.query_scalar {
        let scalar = config.query_pre_attn_scalar.unwrap_or(config.head_dim as f64);
        // transformers takes no other number than an integer.
        json["query_pre_attn_scalar"] =
            if scalar.fract() == 0.0 { json!(scalar as i64) } else { json!(scalar) };
    }
    if family.multipliers {
        json["embedding_multiplier"] = json!(config.embedding_multiplier);
        json["attention_multiplier"] = json!(config.attention_scale());
        json["residual_multiplier"] = json!(config.residual_multiplier);
        json["logits_scaling"] = json!(config.logits_scaling);
    }
    if family.unrotated_layers {
        let rotated = |layer| usize::from(!config.unrotated_layers.contains(&layer));
        json["no_rope_layers"] = (0..config.num_hidden_layers).map(rotated).collect();
    }
    rope::write(config.family, &config.rope, config.local_rope.as_ref(), &mut json);
    write_experts(config, &mut json);
    write_windows(config, &mut json);
    json
}

fn write_windows(config: &DecoderConfig, json: &mut Value) {
    let windows = config.family.traits().windows;
    if windows != Windows::Never {
        json["sliding_window"] = json!(config.sliding_window);
    }
    if windows.by_layer() {
        let kinds = (0..config.num_hidden_layers).map(|layer| match config.window(layer) {
            Some(_) => "sliding_attention",
            None => "full_attention",
        });
        json["layer_types"] = kinds.collect();
    }
    if windows.switched() {
        json["use_sliding_window"] = json!(config.sliding_window.is_some());
    }
    if windows == Windows::Switched {
        // For versions of transformers that do not know `layer_types`.
        let first = (0..config.num_hidden_layers).find(|layer| config.window(*layer).is_some());
        json["max_window_layers"] = json!(first.unwrap_or(config.num_hidden_layers));
    }
}

fn write_experts(config: &DecoderConfig, json: &mut Value) {
    let (Some(names), Some(sparse)) = (&config.family.traits().experts, &config.sparse) else {
        return;
    };
    json[names.count_key] = json!(sparse.num_experts);
    json["num_experts_per_tok"] = json!(sparse.num_experts_per_tok);
    if names.own_keys {
        json["moe_intermediate_size"] = json!(sparse.moe_intermediate_size);
        json["norm_topk_prob"] = json!(sparse.norm_topk_prob);
        json["decoder_sparse_step"] = json!(1);
        json["mlp_only_layers"] = json!(sparse.dense_layers);
    }
}
