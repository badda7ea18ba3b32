//! A small model, its tokenizer, and adapters whose experts do something.
#![allow(dead_code, clippy::unwrap_used)] // Each test file uses a part.

pub mod http;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use burn::tensor::{Device, TensorData};
use lora_moe::study::world::{BOS, EOS, PAD, World, WorldConfig};
use model_zoo::{Decoder, DecoderConfig, FinishReason, TextTokenizer};
use moe_adapter::{AdapterConfig, AdapterState, Preset, adapter_state, attach, attach_saved};
use serve::engine::{Engine, EngineConfig, EngineError, Event, NewToken, Request, TokenScore};

/// A template like ChatML's, in words that the tokenizer has.
const TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}{{ message.content }} \
                        {% endfor %}{% if tools %}: {% endif %}";

/// A random model and its tokenizer.
pub fn model() -> (Decoder, Arc<TextTokenizer>) {
    let world = World::new(&WorldConfig { entities: 8, ..WorldConfig::default() }).unwrap();
    let mut config = DecoderConfig::new(world.vocabulary().len(), 32, 64, 2, 4);
    config.max_position_embeddings = 256;
    config.initializer_range = 0.3;
    config.bos_token_id = Some(BOS);
    config.eos_token_ids = vec![EOS];
    config.pad_token_id = Some(PAD);
    let model = Decoder::init_random(&config, 1, &Device::flex()).unwrap();
    let tokenizer = TextTokenizer::from_tokenizer(
        world.tokenizer().unwrap(),
        Some("<s>"),
        Some("</s>"),
        Some("<pad>"),
    );
    let tokenizer = tokenizer.unwrap().with_chat_template(TEMPLATE).unwrap();
    (burn::module::Module::no_grad(model), Arc::new(tokenizer))
}

/// The configuration of a preset for small models.
pub fn config(preset: Preset) -> AdapterConfig {
    let mut config = preset.config();
    config.r = if config.split_rank { 2 * config.num_experts } else { 2 };
    config
}

/// What an adapter that was trained could be: all its values moved, but what a start keeps.
pub fn trained(model: &Decoder, config: &AdapterConfig, seed: u64) -> AdapterState {
    let mut model = model.clone();
    attach(&mut model, config, seed).unwrap();
    let mut state = adapter_state(&model);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    for (name, data) in &mut state {
        if moe_adapter::is_start(name) || data.dtype() != burn::tensor::DType::F32 {
            continue;
        }
        let values: Vec<f32> = data.iter::<f32>().map(|value| value + 0.3 * next()).collect();
        *data = TensorData::new(values, data.shape().clone());
    }
    state
}

/// The model with such an adapter.
pub fn adapted(model: &Decoder, config: &AdapterConfig, seed: u64) -> Decoder {
    let mut adapted = model.clone();
    attach_saved(&mut adapted, config, trained(model, config, seed), "test").unwrap();
    adapted
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Outcome {
    pub tokens: Vec<NewToken>,
    pub prompt: Vec<TokenScore>,
    pub reason: Option<FinishReason>,
    pub text: String,
    pub cached: usize,
    pub error: Option<EngineError>,
}

impl Outcome {
    /// The new tokens.
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.token).collect()
    }
}

/// Asks an engine for all of these at once, and waits.
pub fn ask(engine: &Engine, requests: Vec<Request>) -> Vec<Outcome> {
    let (sender, events) = mpsc::channel();
    let mut outcomes: Vec<Outcome> = requests.iter().map(|_| Outcome::default()).collect();
    let requests = requests.into_iter().enumerate().map(|(i, request)| {
        let sender = sender.clone();
        let sink: serve::engine::Sink = Box::new(move |event| sender.send((i, event)).is_ok());
        (request, sink)
    });
    engine.submit(requests.collect()).unwrap();
    drop(sender);
    while let Ok((i, event)) = events.recv_timeout(Duration::from_secs(120)) {
        let outcome = &mut outcomes[i];
        match event {
            Event::Prompt(scores) => outcome.prompt = scores,
            Event::Token(token) => {
                outcome.text.push_str(&token.text);
                outcome.tokens.push(token);
            }
            Event::Done { reason, text, cached } => {
                outcome.text.push_str(&text);
                outcome.cached = cached;
                outcome.reason = Some(reason);
            }
            Event::Failed(error) => outcome.error = Some(error),
        }
    }
    outcomes
}

/// An engine with adapters of these presets, each under its preset's name.
pub fn engine(config: EngineConfig, presets: &[Preset]) -> Engine {
    let (model, tokenizer) = model();
    let adapters: BTreeMap<&str, _> = presets
        .iter()
        .enumerate()
        .map(|(i, preset)| {
            let adapted = adapted(&model, &self::config(*preset), 7 + i as u64);
            (preset.name(), moe_adapter::AdapterLayers::of(&adapted))
        })
        .collect();
    let engine = Engine::start(model, tokenizer, config).unwrap();
    for (name, layers) in adapters {
        engine.add_adapter(name, None, layers).unwrap();
    }
    engine
}

/// A request for so many greedy tokens.
pub fn greedy(prompt: Vec<u32>, new: usize, adapter: Option<&str>) -> Request {
    Request {
        adapter: adapter.map(str::to_owned),
        prompt,
        generation: model_zoo::GenerationConfig { max_new_tokens: new, ..Default::default() },
        ignore_eos: true,
        logprobs: Some(3),
        ..Request::default()
    }
}

/// Some tokens of the vocabulary.
pub fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| 4 + (seed * 31 + i * i * 7 + i * 3) % 60).collect()
}
