//! Decompositions of matrices whose spectra are hard, against numpy's in f64
//! (`docs/parity/spectra.py`).

#![allow(clippy::unwrap_used)]

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use common::{lora_a, lora_b, shape_of, start};
use safetensors::SafeTensors;
use svd_init::{
    GoatConfig, LayerStatistics, PrincipalConfig, RandomisedSvd, SpectrumSlice, SvdMethod,
    TripletPlan, decompose,
};

const GOLDEN: &[u8] = include_bytes!("golden/spectra.safetensors");

/// How many triplets of a case are determined: values of 0 have no vectors of their own.
const CASES: [(&str, usize); 8] = [
    ("wide", 24),
    ("tall", 24),
    ("square", 32),
    ("deficient", 8),
    ("clustered", 24),
    ("huge_range", 21),
    ("tiny", 12),
    ("huge", 12),
];

struct Case {
    /// `[in, out]`.
    weight: Tensor<2>,
    values: Vec<f64>,
    /// A vector after the other.
    left: Vec<f64>,
    right: Vec<f64>,
}

impl Case {
    fn read(name: &str) -> Self {
        let file = SafeTensors::deserialize(GOLDEN).unwrap();
        let doubles = |part: &str| -> Vec<f64> {
            let view = file.tensor(&format!("{name}.{part}")).unwrap();
            let (chunks, _) = view.data().as_chunks::<8>();
            chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
        };
        let matrix = file.tensor(&format!("{name}.matrix")).unwrap();
        let (chunks, _) = matrix.data().as_chunks::<4>();
        let floats: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        let shape = [matrix.shape()[0], matrix.shape()[1]];
        let weight = Tensor::<2>::from_data(TensorData::new(floats, shape), &Device::flex());
        let [values, left, right] = ["values", "left", "right"].map(doubles);
        Self { weight: weight.transpose(), values, left, right }
    }
}

/// The largest difference.
fn difference(ours: impl IntoIterator<Item = f32>, theirs: impl IntoIterator<Item = f64>) -> f64 {
    let pairs = ours.into_iter().map(f64::from).zip(theirs);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn assert_equal(name: &str, plan: &TripletPlan) {
    let case = Case::read(name);
    let triplets = decompose(&case.weight, plan, None).unwrap();
    let [inputs, outputs] = case.weight.dims();
    for (at, index) in plan.indices().iter().copied().enumerate() {
        let value = f64::from(triplets.values()[at]);
        let error = (value / case.values[index] - 1.0).abs();
        assert!(error < 1e-5, "{name}: value {index} is off by {error:e}");
        let theirs = |all: &[f64], size: usize| all[index * size..][..size].to_vec();
        let left = difference(triplets.left(at).to_vec(), theirs(&case.left, outputs));
        let right = difference(triplets.right(at).to_vec(), theirs(&case.right, inputs));
        assert!(left.max(right) < 1e-5, "{name}: vectors {index} are off by {left:e}, {right:e}");
    }
}

#[test]
fn every_triplet_equals_that_of_numpy_in_f64() {
    for (name, determined) in CASES {
        assert_equal(name, &TripletPlan::full((0..determined).collect()));
    }
}

#[test]
fn triplets_that_squaring_can_give_equal_those_of_numpy_too() {
    for (name, _) in CASES {
        assert_equal(name, &TripletPlan::full(vec![0, 2, 5]));
    }
}

#[test]
fn randomised_leading_triplets_of_close_values_are_exact_within_their_range() {
    let all = RandomisedSvd { oversampling: 40, ..RandomisedSvd::default() };
    for name in ["wide", "tall", "clustered"] {
        assert_equal(name, &TripletPlan::randomised(6, all));
    }
}

#[test]
fn factors_of_goat_and_pissa_are_exact_to_the_rounding_of_f32() {
    for name in ["wide", "tall", "square", "clustered"] {
        let case = Case::read(name);
        let [inputs, outputs] = case.weight.dims();
        let check = |start: &svd_init::ExpertStart, expert: usize, index: usize, divisor: f64| {
            let factor = (case.values[index] / divisor).sqrt();
            let scaled = |all: &[f64], size: usize| -> Vec<f64> {
                all[index * size..][..size].iter().map(|value| factor * value).collect()
            };
            let a = difference(
                lora_a(start, expert).narrow(0, 0, 1).into_data().iter::<f32>(),
                scaled(&case.right, inputs),
            );
            let b = difference(
                lora_b(start, expert).narrow(1, 0, 1).into_data().iter::<f32>(),
                scaled(&case.left, outputs),
            );
            assert!(a.max(b) < 1e-5 * factor, "{name}, triplet {index}: {a:e}, {b:e}");
        };
        let nothing = LayerStatistics::default();
        let shape = shape_of(&case.weight, 4, 2);
        let goat =
            start(&GoatConfig::default().init(SpectrumSlice::Goat), &case.weight, &shape, &nothing);
        let stride = inputs.min(outputs) / 4;
        for expert in 0..4 {
            check(goat.as_ref().unwrap(), expert, expert * stride, shape.scaling * 10.0);
        }
        let shape = shape_of(&case.weight, 1, 3);
        let config = PrincipalConfig { svd: SvdMethod::Full, ..PrincipalConfig::default() };
        let pissa = start(&config.init(SpectrumSlice::Pissa), &case.weight, &shape, &nothing);
        check(pissa.as_ref().unwrap(), 0, 0, shape.scaling);
    }
}
