//! Models and tokenizers that the tests of scoring share.

use std::path::PathBuf;

use burn::tensor::{Device, TensorData};
use model_zoo::{CausalLm, Decoder, LoadOptions, TextTokenizer};
use moe_adapter::{AdapterConfig, Preset, adapter_state, attach, attach_saved, load_adapter_state};
use router::{Assignment, RouterConfig, Scope};
use tokenizers::Tokenizer;

pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

pub fn base(name: &str) -> Decoder {
    Decoder::load(golden(name), &LoadOptions::default(), &Device::flex()).unwrap()
}

/// A model with an adapter that was trained elsewhere.
pub fn adapted(name: &str) -> Decoder {
    let adapter = adapter_formats::read_adapter(&golden("adapters").join(name)).unwrap();
    let mut model = base("llama3");
    attach_saved(&mut model, &adapter.config, adapter.state, name).unwrap();
    model
}

/// A model with an adapter of a preset, whose experts do something.
pub fn preset(preset: Preset, change: impl FnOnce(&mut AdapterConfig)) -> Decoder {
    let mut model = base("llama3");
    let mut config = preset.config();
    config.r = 8;
    change(&mut config);
    assert!(attach(&mut model, &config, 3).unwrap() > 0);
    let mut state = adapter_state(&model);
    for (name, data) in &mut state {
        if name.ends_with("lora_B.weight") && !name.contains(".start.") {
            let values: Vec<f32> =
                (0..data.num_elements()).map(|i| (i as f32 * 1.7).sin() * 0.1).collect();
            *data = TensorData::new(values, data.shape().clone());
        }
    }
    load_adapter_state(&mut model, state, "test").unwrap();
    model
}

/// Models of which each can be wrong in a way of its own, with their names.
pub fn models() -> Vec<(&'static str, Decoder)> {
    let sample = |config: &mut AdapterConfig| match &mut config.router {
        RouterConfig::SlidingCluster(router) => router.assignment = Assignment::Sample,
        _ => panic!("SLIM has sliding clusters"),
    };
    let sequence = |config: &mut AdapterConfig| match &mut config.router {
        RouterConfig::TopK(router) => router.gate.scope = Scope::Sequence,
        _ => panic!("GOAT has a top-k router"),
    };
    vec![
        ("llama", base("llama3")),
        ("sliding window", base("mistral")),
        ("windows and soft caps", base("gemma2")),
        ("norms of queries", base("qwen3")),
        ("mixture of experts", base("mixtral")),
        ("longrope", base("phi4_mini")),
        ("loramoe", adapted("loramoe")),
        ("goat", adapted("goat")),
        ("mixlora", adapted("mixlora")),
        ("slim", preset(Preset::Slim, |_| ())),
        ("slim by sample", preset(Preset::Slim, sample)),
        ("goat by sequence", preset(Preset::GoatPaper, sequence)),
        ("switch", preset(Preset::MixloraSwitch, |_| ())),
    ]
}

/// A tokenizer that knows each character from `a` on as one token, after three special ones.
pub fn tokenizer(model: &impl CausalLm) -> TextTokenizer {
    let mut vocab = serde_json::Map::new();
    let special = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let letters = ('a'..).map(String::from);
    for (id, token) in special.into_iter().chain(letters).take(model.vocab_size()).enumerate() {
        vocab.insert(token, id.into());
    }
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "<unk>"},
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string()).unwrap();
    TextTokenizer::from_tokenizer(tokenizer, Some("<s>"), Some("</s>"), None).unwrap()
}

/// Numbers that look random, from 3 to `vocab`.
pub fn tokens(seed: u32, len: usize, vocab: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        3 + state % (vocab as u32 - 3)
    };
    (0..len).map(|_| next()).collect()
}
