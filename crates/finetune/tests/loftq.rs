//! Starts whose factors are found again, `loftq_iter`, make up for the bits of a quantised base.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use model_zoo::{CausalLm, Decoder, LoadOptions, Quantization, TokenInput};
use moe_adapter::{
    AdapterConfig, BaseLinear, LayerSizes, Preset, QuantizedLinear, adapter_state, attach,
    attach_saved,
};
use quantization::QuantizedMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use router::RoutingTape;
use safetensors::SafeTensors;
use svd_init::{GoatConfig, InitConfig, LayerStatistics, PrincipalConfig, SvdMethod};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

fn quantized(weight: Tensor<2>, quantization: Quantization) -> BaseLinear {
    let matrix = QuantizedMatrix::quantize(weight, quantization);
    BaseLinear::Quantized(QuantizedLinear { matrix, bias: None })
}

fn principal(loftq_iter: usize) -> PrincipalConfig {
    PrincipalConfig { svd: SvdMethod::Full, loftq_iter, ..PrincipalConfig::default() }
}

/// What the start takes out of the weight, `[in, out]`, and what is held of the rest.
fn taken_and_held(
    base: &BaseLinear,
    init: InitConfig,
    num_experts: usize,
    rank: usize,
) -> [Tensor<2>; 2] {
    let config = AdapterConfig { init, ..Preset::Pissa.config() };
    let sizes = LayerSizes {
        num_experts,
        identity_experts: 0,
        shared_experts: 0,
        rank,
        total_rank: rank * num_experts,
        lora_alpha: 2.0 * rank as f64,
        routes: true,
        top_k: None,
    };
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let statistics = LayerStatistics::default();
    let (_, residual) = config.init_adapter(base, &sizes, "linear", &statistics, rng).unwrap();
    let residual = residual.unwrap();
    [base.weight() - residual.clone(), base.with_weight(residual).weight()]
}

/// A matrix of independent normal numbers, by Box and Muller.
fn normal() -> Tensor<2> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut number = || {
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        0.05 * radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
    };
    let values: Vec<f32> = (0..96 * 80).map(|_| number()).collect();
    Tensor::from_data(TensorData::new(values, [96, 80]), &Device::flex())
}

fn norm(matrix: Tensor<2>) -> f32 {
    matrix.powi_scalar(2).sum().sqrt().into_scalar()
}

/// How far the weight at the start is from the one before, and the size of what was taken out of it,
/// both relative to it.
fn error_and_size(base: &BaseLinear, init: InitConfig, num_experts: usize) -> [f32; 2] {
    let [taken, held] = taken_and_held(base, init, num_experts, 4);
    [base.weight() - taken.clone() - held, taken].map(|part| norm(part) / norm(base.weight()))
}

/// Reference values are computed by `docs/parity/loftq.py` in numpy.
#[test]
fn pissa_on_four_bits_is_that_of_its_published_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/loftq.safetensors");
    let bytes = std::fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let matrix = |name: &str| -> Tensor<2> {
        let view = file.tensor(name).unwrap();
        let values = view.data().as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        let data = TensorData::new(values.collect::<Vec<_>>(), view.shape().to_vec());
        Tensor::<2>::from_data(data, &Device::flex()).transpose()
    };
    let base = quantized(matrix("base"), Quantization::Nf4);
    let close = |what: String, found: Tensor<2>, expected: Tensor<2>| {
        let error = norm(found - expected.clone()) / norm(expected);
        assert!(error < 1e-5, "{what}: {error:e}");
    };
    close("base".to_owned(), base.weight(), matrix("base"));
    for rounds in [1, 2, 5] {
        let [taken, held] = taken_and_held(&base, InitConfig::Pissa(principal(rounds)), 1, 6);
        close(format!("product {rounds}"), taken, matrix(&format!("product.{rounds}")));
        close(format!("held {rounds}"), held, matrix(&format!("held.{rounds}")));
    }
}

#[test]
fn more_rounds_leave_less_of_an_error() {
    for quantization in Quantization::ALL {
        let base = quantized(normal(), quantization);
        let goat = |loftq_iter, expert_scaling| {
            InitConfig::Goat(GoatConfig { loftq_iter, expert_scaling, ..GoatConfig::default() })
        };
        let start = |name: &str, rounds| match name {
            "pissa" => (InitConfig::Pissa(principal(rounds)), 1),
            "milora" => (InitConfig::Milora(principal(rounds)), 1),
            "pissa_milora" => (InitConfig::PissaMilora(principal(rounds)), 2),
            "goat" => (goat(rounds, false), 4),
            _ => (goat(rounds, true), 4),
        };
        for name in ["pissa", "milora", "pissa_milora", "goat", "goat-s"] {
            let [(one, size), (five, size_of_five)] = [1, 5].map(|rounds| {
                let (init, experts) = start(name, rounds);
                let [error, size] = error_and_size(&base, init, experts);
                (error, size)
            });
            eprintln!(
                "{quantization}, {name}: {one} of a product of {size} after one round, {five} of \
                 {size_of_five} after five"
            );
            assert!(one.is_finite() && one > 0.0, "{name} {quantization}: {one}");
            assert!(five <= one, "{name} {quantization}: {five} after one round's {one}");
            // The error of PiSSA falls although its product stays as large.
            let same = (size_of_five / size - 1.0).abs() < 0.05;
            assert!(same || name != "pissa", "{quantization}: {size_of_five}, before {size}");
        }
    }
}

#[test]
fn a_weight_of_zeros_has_a_start() {
    let base = quantized(Tensor::zeros([96, 80], &Device::flex()), Quantization::Nf4);
    let parts = taken_and_held(&base, InitConfig::Pissa(principal(3)), 1, 4);
    assert_eq!(parts.map(norm), [0.0, 0.0]);
}

/// As PEFT, which passes over its `loftq_config` where there is nothing to do.
#[test]
fn rounds_change_nothing_on_a_base_of_floats() {
    let dense = BaseLinear::from(quantized(normal(), Quantization::Nf4).to_dense());
    let found = [1, 5].map(|rounds| {
        taken_and_held(&dense, InitConfig::Pissa(principal(rounds)), 1, 4)
            .map(|matrix| matrix.into_data())
    });
    assert_eq!(found[0], found[1]);
}

fn load() -> Decoder {
    let quantization = Some(Quantization::Nf4);
    let options = LoadOptions { quantization, ..LoadOptions::default() };
    Decoder::load(golden("llama2"), &options, &Device::flex()).unwrap()
}

fn logits(model: &Decoder) -> Tensor<2> {
    let ids: Vec<i64> = (0..40).map(|at| 3 * at % 90).collect();
    let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &Device::flex());
    let input = TokenInput::new(ids.unsqueeze());
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    model.logits(hidden).squeeze_dim(0)
}

#[test]
fn a_model_starts_nearer_to_its_base_and_comes_back_so() {
    let plain = logits(&load());
    let distance = |found: &Tensor<2>| norm(found.clone() - plain.clone()) / norm(plain.clone());
    let [one, five] = [1, 5].map(|rounds| {
        let init = InitConfig::Pissa(principal(rounds));
        let config = AdapterConfig { r: 4, init, ..Preset::Pissa.config() };
        let mut model = load();
        attach(&mut model, &config, 1).unwrap();
        let started = logits(&model);
        let mut again = load();
        attach_saved(&mut again, &config, adapter_state(&model), "test").unwrap();
        let change = norm(logits(&again) - started.clone()) / norm(started.clone());
        assert!(change < 1e-5, "{rounds}: {change:e}");
        distance(&started)
    });
    eprintln!("relative distance of logits: {one} after one round, {five} after five");
    assert!(one < 0.2 && five < one, "{one}, {five}");
}

#[test]
fn no_rounds_are_refused_before_anything_changes() {
    let config = AdapterConfig { init: InitConfig::Pissa(principal(0)), ..Preset::Pissa.config() };
    let mut model = load();
    let error = attach(&mut model, &config, 1).unwrap_err().to_string();
    assert!(error.contains("`loftq_iter` is 0, but must be at least 1"), "{error}");
    assert!(adapter_state(&model).is_empty());
}
