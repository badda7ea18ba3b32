use std::path::PathBuf;

use super::*;
use crate::RopeScaling;

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

#[test]
fn written_configurations_are_read_back() {
    let mut config = DecoderConfig::new(96, 32, 64, 2, 4);
    config.num_key_value_heads = 2;
    config.head_dim = 16;
    config.eos_token_ids = vec![2, 3];
    config.tie_word_embeddings = true;
    config.attention_bias = true;
    for scaling in [RopeScaling::Default, RopeScaling::Linear { factor: 2.5 }] {
        config.rope = RopeConfig { theta: 5e5, scaling };
        assert_eq!(DecoderConfig::from_json(&config.to_json(), "json").unwrap(), config);
    }
}

#[test]
fn models_that_cannot_be_built_are_refused_by_key() {
    let unsupported = [
        ("model_type", json!("gemma2")),
        ("architectures", json!(["LlamaForSequenceClassification"])),
        ("hidden_act", json!("gelu")),
        ("rope_interleaved", json!(true)),
        ("quantization_config", json!({"bits": 4})),
    ];
    for (name, value) in unsupported {
        match with(name, value) {
            Err(ConfigError::Unsupported { key, .. }) => assert_eq!(key, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let error = with("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.json: `rope_scaling.rope_type` is yarn, which is not supported; \
         supported: default, linear, llama3"
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

#[test]
fn published_llamas_are_read_and_other_models_refused() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/material/configs/hf");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: no published configurations in {}", folder.display());
        return;
    };
    let counts = [
        ("llama-2-7b-hf", 6_738_415_616),
        ("llama-3-8b", 8_030_261_248),
        ("llama-3.2-1b-instruct", 1_235_814_400),
        ("smollm2-135m", 134_515_008),
        ("tinyllama-1.1b-chat", 1_100_048_384),
    ];
    let mut read = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let result = DecoderConfig::from_file(&path);
        if json["model_type"] != "llama" {
            assert!(matches!(result, Err(ConfigError::Unsupported { .. })), "{name}: {result:?}");
            continue;
        }
        let config = result.unwrap();
        read += 1;
        if let Some((_, count)) = counts.iter().find(|(known, _)| *known == name) {
            assert_eq!(config.parameter_count(), *count, "{name}");
        }
        assert_eq!(DecoderConfig::from_json(&config.to_json(), &name).unwrap(), config);
    }
    assert_eq!(read, 6);
}
