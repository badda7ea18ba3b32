use moe_adapter::Activation;
use serde_json::{Value, json};

use super::{DecoderConfig, Windows};

pub(super) fn write(config: &DecoderConfig) -> Value {
    let family = config.family.traits();
    let (rope_theta, rope_scaling) = config.rope.to_json();
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
        "rope_theta": rope_theta,
        "rope_scaling": rope_scaling,
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
    if family.soft_caps {
        json["attn_logit_softcapping"] = json!(config.attn_logit_softcapping);
        json["final_logit_softcapping"] = json!(config.final_logit_softcapping);
        let scalar = config.query_pre_attn_scalar.unwrap_or(config.head_dim as f64);
        // transformers takes no other number than an integer.
        json["query_pre_attn_scalar"] =
            if scalar.fract() == 0.0 { json!(scalar as i64) } else { json!(scalar) };
    }
    write_windows(config, &mut json);
    json
}

fn write_windows(config: &DecoderConfig, json: &mut Value) {
    let windows = config.family.traits().windows;
    if windows != Windows::Never {
        json["sliding_window"] = json!(config.sliding_window);
    }
    if matches!(windows, Windows::Switched | Windows::Alternating) {
        let kinds = (0..config.num_hidden_layers).map(|layer| match config.window(layer) {
            Some(_) => "sliding_attention",
            None => "full_attention",
        });
        json["layer_types"] = kinds.collect();
    }
    if windows == Windows::Switched {
        json["use_sliding_window"] = json!(config.sliding_window.is_some());
        // For versions of transformers that do not know `layer_types`.
        let first = (0..config.num_hidden_layers).find(|layer| config.window(*layer).is_some());
        json["max_window_layers"] = json!(first.unwrap_or(config.num_hidden_layers));
    }
}
