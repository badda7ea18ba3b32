// Each test file uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use model_zoo::{
    CausalLm, Decoder, DecoderConfig, KvCache, LoadOptions, RopeConfig, RopeScaling, TokenInput,
};
use moe_adapter::BaseLinear;
use router::RoutingTape;
use safetensors::SafeTensors;

pub type Base = Decoder<BaseLinear>;

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A folder of downloaded material; `None`, with the reason printed, where it is absent.
pub fn material(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/material").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not on this machine", path.display());
    None
}

pub fn load(folder: &Path) -> Base {
    load_on(folder, &Device::flex())
}

pub fn load_on(folder: &Path, device: &Device) -> Base {
    Decoder::load(folder, &LoadOptions::default(), device).unwrap()
}

/// Inputs and expected logits, computed by transformers.
pub struct Reference {
    /// What a cache gives token by token, where that is something else.
    pub cached_logits: Option<Vec<f32>>,
    /// What is generated after the first tokens of the first row, with them.
    pub generated: Option<Vec<i64>>,
    pub ids: Vec<i64>,
    pub mask: Option<Vec<bool>>,
    pub logits: Vec<f32>,
    pub shape: [usize; 3],
}

impl Reference {
    pub fn read(folder: &Path) -> Self {
        let bytes = fs::read(folder.join("reference.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ints = |name: &str| -> Option<Vec<i64>> {
            let data = file.tensor(name).ok()?.data();
            Some(data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect())
        };
        let logits = file.tensor("logits").unwrap();
        let [b, s, v] = logits.shape() else { panic!("logits have 3 dimensions") };
        let floats = |name: &str| -> Option<Vec<f32>> {
            let data = file.tensor(name).ok()?.data();
            Some(data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
        };
        Self {
            cached_logits: floats("cached_logits"),
            generated: ints("generated"),
            ids: ints("input_ids").unwrap(),
            mask: ints("attention_mask").map(|mask| mask.iter().map(|m| *m == 1).collect()),
            shape: [*b, *s, *v],
            logits: floats("logits").unwrap(),
        }
    }

    pub fn input(&self) -> TokenInput {
        self.input_on(&Device::flex())
    }

    pub fn input_on(&self, device: &Device) -> TokenInput {
        let [b, s, _] = self.shape;
        let data = TensorData::new(self.ids.clone(), [b, s]);
        let input = TokenInput::new(Tensor::<2, Int>::from_data(data, device));
        match &self.mask {
            Some(mask) => {
                let data = TensorData::new(mask.clone(), [b, s]);
                input.with_attention_mask(Tensor::<2, Bool>::from_data(data, device))
            }
            None => input,
        }
    }

    /// The input of some positions.
    pub fn columns_on(&self, start: usize, end: usize, device: &Device) -> TokenInput {
        let whole = self.input_on(device);
        let mut input = TokenInput::new(whole.input_ids.narrow(1, start, end - start));
        input.attention_mask = whole.attention_mask.map(|mask| mask.narrow(1, start, end - start));
        input
    }

    /// The largest difference at real tokens, relative to the largest logit.
    pub fn error(&self, found: &[f32]) -> f32 {
        let [_, _, vocab] = self.shape;
        let mut largest = 0.0f32;
        for (i, (found, expected)) in found.chunks(vocab).zip(self.logits.chunks(vocab)).enumerate()
        {
            if self.mask.as_ref().is_none_or(|mask| mask[i]) {
                let difference = largest_difference(found, expected);
                largest = if difference.is_nan() { f32::NAN } else { largest.max(difference) };
            }
            if largest.is_nan() {
                break;
            }
        }
        largest / self.largest()
    }

    pub fn largest(&self) -> f32 {
        self.logits.iter().fold(0.0, |largest, value| largest.max(value.abs()))
    }
}

pub fn logits(model: &impl CausalLm, input: &TokenInput, cache: Option<&mut KvCache>) -> Vec<f32> {
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(input, cache, &mut tape);
    model.logits(hidden).into_data().try_to_vec::<f32>().unwrap()
}

/// A small decoder with grouped heads, biases and scaled positions.
pub fn tiny_config() -> DecoderConfig {
    let mut config = DecoderConfig::new(40, 24, 36, 2, 6);
    config.num_key_value_heads = 2;
    config.head_dim = 8;
    config.attention_bias = true;
    config.mlp_bias = true;
    config.initializer_range = 0.3;
    config.eos_token_ids = vec![2, 3];
    config.rope =
        RopeConfig { scaling: RopeScaling::Linear { factor: 2.0 }, ..RopeConfig::default() };
    config
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |largest, (x, y)| {
        let difference = (x - y).abs();
        // NaN compares with nothing, so that it must be looked for.
        if difference.is_nan() { f32::NAN } else { largest.max(difference) }
    })
}
