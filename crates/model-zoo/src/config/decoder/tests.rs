use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::{AnyModelConfig, LongRopeScaling, RopeScaling, Windows, YarnScaling};

fn minimal() -> Value {
    json!({
        "model_type": "llama",
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    })
}

fn with(key: &str, value: Value) -> Result<DecoderConfig, ConfigError> {
    let mut json = minimal();
    json[key] = value;
    DecoderConfig::from_json(&json, "config.json")
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    let config = DecoderConfig::from_json(&minimal(), "config.json").unwrap();
    assert_eq!((config.num_key_value_heads, config.head_dim), (4, 8));
    assert_eq!((config.rms_norm_eps, config.rope.theta), (1e-6, 10_000.0));
    assert_eq!(config.rope.scaling, RopeScaling::Default);
    assert!(!config.tie_word_embeddings && config.eos_token_ids.is_empty());
}

#[test]
fn both_dialects_of_rope_mean_the_same() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    });
    let mut old = minimal();
    old["rope_theta"] = json!(5e5);
    old["rope_scaling"] = llama3.clone();
    let mut new = minimal();
    new["rope_parameters"] = llama3;
    new["rope_parameters"]["rope_theta"] = json!(5e5);
    let old = DecoderConfig::from_json(&old, "old").unwrap();
    let new = DecoderConfig::from_json(&new, "new").unwrap();
    assert_eq!(old, new);
    assert!(matches!(old.rope.scaling, RopeScaling::Llama3 { factor: 8.0, .. }));
    let linear = with("rope_scaling", json!({"type": "linear", "factor": 2})).unwrap();
    assert_eq!(linear.rope.scaling, RopeScaling::Linear { factor: 2.0 });
}

#[test]
fn ids_of_end_tokens_may_be_one_or_many() {
    assert_eq!(with("eos_token_id", json!(2)).unwrap().eos_token_ids, [2]);
    assert_eq!(with("eos_token_id", json!([3, 4])).unwrap().eos_token_ids, [3, 4]);
    assert_eq!(with("pad_token_id", json!(-1)).unwrap().pad_token_id, None);
}

fn longrope() -> LongRopeScaling {
    LongRopeScaling {
        short_factor: vec![1.0; 8],
        long_factor: vec![2.5; 8],
        original_max_position_embeddings: 512,
        factor: None,
        attention_factor: Some(1.25),
    }
}

#[test]
fn written_configurations_are_read_back() {
    let mut config = DecoderConfig::new(96, 32, 64, 2, 4);
    config.num_key_value_heads = 2;
    config.head_dim = 16;
    config.eos_token_ids = vec![2, 3];
    config.tie_word_embeddings = true;
    config.attention_bias = true;
    for scaling in [
        RopeScaling::Default,
        RopeScaling::Linear { factor: 2.5 },
        RopeScaling::Dynamic { factor: 2.5 },
        RopeScaling::Yarn(YarnScaling::new(4.0, 512)),
        RopeScaling::Yarn(YarnScaling {
            factor: None,
            mscale: Some(0.7),
            mscale_all_dim: Some(0.9),
            beta_fast: 16.0,
            truncate: false,
            ..YarnScaling::new(4.0, 512)
        }),
        RopeScaling::LongRope(longrope()),
        RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 512,
        },
    ] {
        config.rope = RopeConfig { theta: 5e5, scaling, ..RopeConfig::default() };
        assert_eq!(DecoderConfig::from_json(&config.to_json(), "json").unwrap(), config);
    }
}

#[test]
fn models_that_cannot_be_built_are_refused_by_key() {
    let unsupported = [
        ("model_type", json!("gpt2")),
        ("architectures", json!(["LlamaForSequenceClassification"])),
        ("hidden_act", json!("gelu")),
        ("rope_interleaved", json!(true)),
        ("use_bidirectional_attention", json!(true)),
        ("partial_rotary_factor", json!(0.75)),
    ];
    for (name, value) in unsupported {
        match with(name, value) {
            Err(ConfigError::Unsupported { key, .. }) => assert_eq!(key, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let error = with("rope_scaling", json!({"rope_type": "proportional"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.json: `rope_scaling.rope_type` is proportional, which is not supported; \
         supported: default, linear, dynamic, yarn, longrope, llama3"
    );
    let partial = json!({"rope_type": "default", "partial_rotary_factor": 0.5});
    assert!(matches!(
        with("rope_parameters", partial),
        Err(ConfigError::Unsupported { key, .. }) if key == "rope_parameters.partial_rotary_factor"
    ));
}

#[test]
fn values_that_cannot_work_are_refused_by_key() {
    let invalid = [
        ("vocab_size", json!(0)),
        ("num_attention_heads", json!(5)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(7)),
        ("rms_norm_eps", json!(0.0)),
        ("rope_theta", json!(-1.0)),
        ("eos_token_id", json!(96)),
    ];
    for (name, value) in invalid {
        match with(name, value) {
            Err(ConfigError::Invalid { key, .. }) => assert_eq!(key, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let factor = json!({"type": "linear", "factor": 0.5});
    assert!(matches!(with("rope_scaling", factor), Err(ConfigError::Invalid { .. })));
    let mut config = DecoderConfig::new(96, 32, 64, 2, 4);
    config.num_hidden_layers = 0;
    let message = config.check().unwrap_err().to_string();
    assert_eq!(message, "DecoderConfig: `num_hidden_layers` is 0, but must be at least 1");
}

#[test]
fn missing_keys_and_other_types_are_named() {
    let mut json = minimal();
    json["hidden_size"] = Value::Null;
    let error = DecoderConfig::from_json(&json, "config.json").unwrap_err();
    assert_eq!(error.to_string(), "config.json: `hidden_size` is missing");
    let error = with("rope_scaling", json!({"type": "linear"})).unwrap_err();
    assert_eq!(error.to_string(), "config.json: `rope_scaling.factor` is missing");
    let error = with("attention_bias", json!("yes")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.json: `attention_bias` is \"yes\", but must be true or false"
    );
    assert!(matches!(
        DecoderConfig::from_json(&json!([]), "config.json"),
        Err(ConfigError::Type { .. })
    ));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = DecoderConfig::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let error = DecoderConfig::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, ConfigError::Json { .. }), "{error}");
    assert!(error.to_string().contains("config.json"));
}

/// Without keys that have defaults.
fn minimal_of(family: Family) -> Value {
    let mut json = minimal();
    json["model_type"] = json!(family.model_type());
    json["num_attention_heads"] = json!(32);
    json["hidden_size"] = json!(256);
    json
}

#[test]
fn absent_keys_have_the_defaults_of_the_family() {
    let read = |family| DecoderConfig::from_json(&minimal_of(family), "config.json").unwrap();
    let mistral = read(Family::Mistral);
    assert_eq!((mistral.num_key_value_heads, mistral.sliding_window), (8, Some(4096)));
    let qwen3 = read(Family::Qwen3);
    assert_eq!((qwen3.head_dim, qwen3.sliding_window, qwen3.qkv_bias()), (128, None, false));
    assert!(read(Family::Qwen2).qkv_bias());
    let gemma2 = read(Family::Gemma2);
    assert_eq!((gemma2.head_dim, gemma2.num_key_value_heads), (256, 4));
    assert_eq!((gemma2.window(0), gemma2.window(1)), (Some(4096), None));
    assert_eq!(gemma2.attn_logit_softcapping, Some(50.0));
    assert_eq!(gemma2.final_logit_softcapping, Some(30.0));
    assert_eq!(gemma2.attention_scale(), 1.0 / 16.0);
    assert_eq!(gemma2.activation, Activation::GeluTanh);
    assert!(gemma2.tie_word_embeddings);
    let phi3 = read(Family::Phi3);
    assert_eq!((phi3.sliding_window, phi3.rms_norm_eps), (None, 1e-5));
    assert!(phi3.fused_projections);
}

#[test]
fn later_families_have_the_defaults_of_transformers() {
    let read = |family| DecoderConfig::from_json(&minimal_of(family), "config.json").unwrap();
    let gemma3 = read(Family::Gemma3);
    assert_eq!((gemma3.head_dim, gemma3.num_key_value_heads), (256, 4));
    assert_eq!((gemma3.rope.theta, gemma3.local_rope.as_ref().unwrap().theta), (1e6, 1e4));
    assert_eq!((gemma3.attn_logit_softcapping, gemma3.final_logit_softcapping), (None, None));
    assert!(gemma3.tie_word_embeddings);
    let smollm3 = read(Family::SmolLm3);
    assert_eq!((smollm3.rope.theta, smollm3.num_key_value_heads), (2e6, 4));
    assert_eq!(smollm3.sliding_window, None);
    let mixtral = read(Family::Mixtral);
    assert_eq!((mixtral.rope.theta, mixtral.sliding_window), (1e6, None));
    let experts = mixtral.sparse.unwrap();
    assert_eq!((experts.num_experts, experts.num_experts_per_tok), (8, 2));
    assert!(experts.norm_topk_prob);
    assert_eq!(experts.moe_intermediate_size, mixtral.intermediate_size);
    let qwen = read(Family::Qwen3Moe);
    assert_eq!((qwen.head_dim, qwen.num_key_value_heads), (8, 4));
    let experts = qwen.sparse.unwrap();
    assert_eq!((experts.num_experts, experts.num_experts_per_tok), (128, 8));
    assert_eq!((experts.moe_intermediate_size, experts.norm_topk_prob), (768, false));
    assert_eq!(read(Family::Granite).attention_scale(), 1.0);
    assert_eq!(read(Family::Olmo2).rms_norm_eps, 1e-5);
}

#[test]
fn layers_without_rope_or_experts_are_read_from_lists_or_steps() {
    let read = |json: &Value| DecoderConfig::from_json(json, "config.json").unwrap();
    let mut json = minimal_of(Family::SmolLm3);
    json["num_hidden_layers"] = json!(8);
    assert_eq!(read(&json).unrotated_layers, [3, 7]);
    json["no_rope_layers"] = json!([1, 0, 1, 1, 1, 1, 1, 0]);
    let config = read(&json);
    assert_eq!(config.unrotated_layers, [1, 7]);
    assert!(config.layer_rope(1).is_none() && config.layer_rope(2).is_some());
    json["use_sliding_window"] = json!(true);
    json["sliding_window"] = json!(4);
    let config = read(&json);
    assert_eq!((config.window(1), config.window(2)), (Some(4), None));
    assert_eq!(DecoderConfig::from_json(&config.to_json(), "json").unwrap(), config);

    let mut json = minimal_of(Family::Qwen3Moe);
    json["num_hidden_layers"] = json!(6);
    json["decoder_sparse_step"] = json!(2);
    json["mlp_only_layers"] = json!([1, 77]);
    let config = read(&json);
    assert_eq!(config.sparse.as_ref().unwrap().dense_layers, [0, 1, 2, 4]);
    assert!(config.layer_experts(3).is_some() && config.layer_experts(4).is_none());
    assert_eq!(DecoderConfig::from_json(&config.to_json(), "json").unwrap(), config);
}

#[test]
fn rope_of_gemma3_is_read_in_both_dialects() {
    let mut old = minimal_of(Family::Gemma3);
    old["rope_theta"] = json!(5e5);
    old["rope_local_base_freq"] = json!(2e4);
    old["rope_scaling"] = json!({"rope_type": "linear", "factor": 8.0});
    old["sliding_window_pattern"] = json!(2);
    let mut new = minimal_of(Family::Gemma3);
    new["rope_parameters"] = json!({
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    });
    new["layer_types"] = json!(["sliding_attention", "full_attention"]);
    let read = |json: &Value| DecoderConfig::from_json(json, "config.json").unwrap();
    let (old, new) = (read(&old), read(&new));
    assert_eq!(old, new);
    assert_eq!(old.rope.scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(old.layer_rope(0).unwrap().theta, 2e4);
    assert_eq!(old.layer_rope(1).unwrap().theta, 5e5);
    assert_eq!(read(&old.to_json()), old);
}

#[test]
fn longrope_and_parts_of_heads_of_phi_are_read_and_written_as_its_files_have_them() {
    let mut json = minimal_of(Family::Phi3);
    json["rope_scaling"] = json!({
        "type": "su", "short_factor": [1.0, 1.5, 2.0], "long_factor": [2.0, 3.0, 4.0],
    });
    json["partial_rotary_factor"] = json!(0.75);
    json["original_max_position_embeddings"] = json!(512);
    let read = |json: &Value| DecoderConfig::from_json(json, "config.json");
    let config = read(&json).unwrap();
    assert_eq!(config.rope.rotary_dim(config.head_dim), 6);
    let RopeScaling::LongRope(longrope) = &config.rope.scaling else { panic!("{config:?}") };
    assert_eq!(longrope.original_max_position_embeddings, 512);
    let written = config.to_json();
    assert_eq!(written["rope_scaling"].as_object().unwrap().len(), 3, "{written}");
    assert_eq!(written["rope_scaling"]["type"], "longrope");
    assert_eq!(read(&written).unwrap(), config);
    json["rope_scaling"]["short_factor"] = json!([1.0]);
    let error = read(&json).unwrap_err().to_string();
    assert!(error.contains("`short_factor` is 1 numbers, but must be 3 numbers"), "{error}");
}

#[test]
fn null_is_not_the_default_where_it_means_none() {
    let mut json = minimal_of(Family::Mistral);
    json["sliding_window"] = Value::Null;
    json["num_key_value_heads"] = Value::Null;
    let mistral = DecoderConfig::from_json(&json, "config.json").unwrap();
    assert_eq!((mistral.sliding_window, mistral.num_key_value_heads), (None, 32));
    let mut json = minimal_of(Family::Gemma2);
    json["final_logit_softcapping"] = Value::Null;
    let gemma2 = DecoderConfig::from_json(&json, "config.json").unwrap();
    assert_eq!(gemma2.final_logit_softcapping, None);
}

#[test]
fn windows_are_read_in_both_dialects() {
    let mut json = minimal_of(Family::Qwen2);
    json["num_hidden_layers"] = json!(4);
    json["sliding_window"] = json!(6);
    json["max_window_layers"] = json!(3);
    let read = |json: &Value| DecoderConfig::from_json(json, "config.json");
    assert_eq!(read(&json).unwrap().sliding_window, None, "it is switched off");
    json["use_sliding_window"] = json!(true);
    let old = read(&json).unwrap();
    assert_eq!(old.full_attention_layers, [0, 1, 2]);
    assert_eq!(old.window(3), Some(6));
    json["layer_types"] =
        json!(["full_attention", "full_attention", "full_attention", "sliding_attention"]);
    assert_eq!(read(&json).unwrap(), old);
    json["layer_types"] = json!(["full_attention"]);
    assert!(matches!(read(&json), Err(ConfigError::Invalid { key, .. }) if key == "layer_types"));
    json["layer_types"] = json!(["full_attention", "x", "full_attention", "full_attention"]);
    assert!(
        matches!(read(&json), Err(ConfigError::Unsupported { key, .. }) if key == "layer_types")
    );
}

#[test]
fn written_configurations_of_every_family_are_read_back() {
    for family in Family::ALL {
        let mut config = DecoderConfig::new(96, 32, 64, 3, 4).with_family(family);
        assert_eq!(DecoderConfig::from_json(&config.to_json(), "json").unwrap(), config);
        config.activation = Activation::GeluTanh;
        config.rope.theta = 5e5;
        config.head_dim = 12;
        if family.traits().windows != Windows::Never {
            config.sliding_window = Some(5);
        }
        if family.traits().windows == Windows::SwitchedUnrotated {
            config.unrotated_layers = vec![1];
            config.full_attention_layers = vec![0, 2];
        }
        if family.traits().multipliers {
            config.embedding_multiplier = 12.0;
            config.attention_multiplier = Some(0.015625);
            config.residual_multiplier = 0.22;
            config.logits_scaling = 8.0;
        }
        assert_eq!(DecoderConfig::from_json(&config.to_json(), "json").unwrap(), config);
    }
}

#[test]
fn options_that_a_family_does_not_have_are_refused() {
    let llama = || DecoderConfig::new(96, 32, 64, 2, 4);
    let cases = [
        ("sliding_window", DecoderConfig { sliding_window: Some(4), ..llama() }),
        ("sliding_window", DecoderConfig { sliding_window: Some(0), ..llama() }),
        ("attn_logit_softcapping", DecoderConfig { attn_logit_softcapping: Some(1.0), ..llama() }),
        (
            "final_logit_softcapping",
            DecoderConfig { final_logit_softcapping: Some(1.0), ..llama() },
        ),
        (
            "final_logit_softcapping",
            DecoderConfig { final_logit_softcapping: Some(0.0), ..llama() },
        ),
        ("query_pre_attn_scalar", DecoderConfig { query_pre_attn_scalar: Some(8.0), ..llama() }),
        ("fused_projections", DecoderConfig { fused_projections: true, ..llama() }),
        ("full_attention_layers", DecoderConfig { full_attention_layers: vec![1], ..llama() }),
        ("full_attention_layers", DecoderConfig { full_attention_layers: vec![2], ..llama() }),
        ("mlp_bias", DecoderConfig { mlp_bias: true, ..llama().with_family(Family::Qwen3) }),
        (
            "attention_bias",
            DecoderConfig { attention_bias: true, ..llama().with_family(Family::Phi3) },
        ),
    ];
    for (name, config) in cases {
        match config.check() {
            Err(ConfigError::Invalid { key, .. }) => assert_eq!(key, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn rotary_sections_by_layer_type_are_refused() {
    let sections = json!({"full_attention": {"rope_type": "default", "rope_theta": 1e6}});
    assert!(matches!(
        with("rope_parameters", sections),
        Err(ConfigError::Unsupported { key, .. }) if key == "rope_parameters.full_attention"
    ));
}

/// The counts are those of the published weights.
#[test]
fn published_configurations_have_their_families_and_counts() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/material/configs/hf");
    if !folder.exists() {
        eprintln!("skipped: no published configurations in {}", folder.display());
        return;
    }
    for (name, family, count) in [
        ("llama-2-7b-hf", Family::Llama, 6_738_415_616),
        ("llama-3-8b", Family::Llama, 8_030_261_248),
        ("llama-3.1-8b-instruct", Family::Llama, 8_030_261_248),
        ("llama-3.2-1b-instruct", Family::Llama, 1_235_814_400),
        ("smollm2-135m", Family::Llama, 134_515_008),
        ("tinyllama-1.1b-chat", Family::Llama, 1_100_048_384),
        ("mistral-7b-instruct-v0.3", Family::Mistral, 7_248_023_552),
        ("qwen2.5-0.5b", Family::Qwen2, 494_032_768),
        ("qwen2.5-7b-instruct", Family::Qwen2, 7_615_616_512),
        ("qwen3-0.6b", Family::Qwen3, 596_049_920),
        ("gemma-2-2b", Family::Gemma2, 2_614_341_888),
        ("phi-3-mini-4k", Family::Phi3, 3_821_079_552),
    ] {
        let any = AnyModelConfig::from_file(folder.join(format!("{name}.json"))).unwrap();
        assert_eq!((any.family(), any.parameter_count()), (family.model_type(), count), "{name}");
        #[allow(irrefutable_let_patterns)] // Other kinds of models are variants of their own.
        let AnyModelConfig::Decoder(config) = any else { panic!("{name} is a decoder") };
        assert_eq!(config.family, family, "{name}");
        assert_eq!(DecoderConfig::from_json(&config.to_json(), name).unwrap(), config);
    }
}
