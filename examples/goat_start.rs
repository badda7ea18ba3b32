//! GOAT's start, looked at: which part of a weight's spectrum each expert gets, and what is left.
//!
//! ```text
//! cargo run --release --example goat_start -- [FOLDER [MODEL]]
//! ```
//!
//! Writes `goat_start.svg` into FOLDER (default `examples-out`). The weight is the first up-projection
//! of MODEL, a Hugging Face folder; without one it is random, with singular values that fall.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use anyhow::Context;
use lora_moe::burn::tensor::{Device, Distribution, Tensor};
use lora_moe::device::default_device;
use lora_moe::model_zoo::{Decoder, LoadOptions};
use lora_moe::moe_adapter::{Adaptable, AdaptedLinear, Projection};
use lora_moe::report::{Lines, lines_svg};
use lora_moe::svd_init::{
    BankShape, ExpertInit, GoatConfig, LayerStatistics, SpectrumSlice, TripletPlan, decompose,
    theoretical_scaling,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const EXPERTS: usize = 4;
const RANK: usize = 4; // of each expert

pub(crate) fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let folder = args.next().unwrap_or_else(|| "examples-out".into());
    run(&folder, args.next().as_deref())
}

pub(crate) fn run(folder: &Path, model: Option<&Path>) -> anyhow::Result<()> {
    let device = default_device()?;
    let weight = match model {
        Some(model) => up_projection(model, &device)?,
        None => falling_spectrum(96, 128, &device),
    };
    let [in_features, out_features] = weight.dims();
    let scaling = theoretical_scaling(1.0, in_features, RANK);
    let shape = BankShape { num_experts: EXPERTS, rank: RANK, in_features, out_features, scaling };
    let (goat, mut rng) = (GoatConfig::default(), ChaCha8Rng::seed_from_u64(0));
    let init = goat.init(SpectrumSlice::Goat);
    let start = init.start(&weight, &shape, &LayerStatistics::default(), &mut rng)?;
    let (a, b) = (start.lora_a, start.lora_b);
    // Burn keeps `[in, out]`, so that the product of an expert is A^T B^T here.
    let products = a.clone().swap_dims(1, 2).matmul(b.clone().swap_dims(1, 2));
    let cut = start.residual_coefficient.context("GOAT takes its product out of the weight")?;
    let residual = weight.clone() - products.sum_dim(0).squeeze_dim(0) * (cut * scaling);
    let (whole, left) = (spectrum(&weight)?, spectrum(&residual)?);
    let mut series = vec![Lines::plain("weight", whole.clone()), Lines::plain("residual", left)];
    for (expert, indices) in init.slice.indices(&shape)?.chunks(RANK).enumerate() {
        // Triplets are orthogonal, so the length of a row of A times that of its column of B, with
        // the scaling and rho, is the singular value it came from.
        let a = a.clone().narrow(0, expert, 1).powi_scalar(2).sum_dim(2).sqrt();
        let b = b.clone().narrow(0, expert, 1).powi_scalar(2).sum_dim(1).sqrt();
        let values = (a.swap_dims(1, 2) * b * (scaling * goat.rho)).into_data();
        let points: Vec<_> = indices.iter().map(|i| *i as f64).zip(values.iter::<f64>()).collect();
        let of_weight = |(i, value): &(f64, f64)| (value - whole[*i as usize].1).abs() < 1e-3;
        anyhow::ensure!(points.iter().all(of_weight), "not singular values of the weight");
        println!("expert {expert}: triplets {indices:?}");
        series.push(Lines::marked(format!("expert {expert}"), points));
    }
    std::fs::create_dir_all(folder)?;
    let svg = folder.join("goat_start.svg");
    let title = "Singular values of a weight, and the segments that GOAT's experts start from";
    std::fs::write(&svg, lines_svg(title, ["index", "singular value"], &series)?)?;
    println!("drawn in {}", svg.display());
    Ok(())
}

fn spectrum(weight: &Tensor<2>) -> anyhow::Result<Vec<(f64, f64)>> {
    let count = weight.dims().into_iter().min().unwrap_or(0);
    let triplets = decompose(weight, &TripletPlan::full((0..count).collect()), None)?;
    let values = triplets.values().iter().map(|value| f64::from(*value));
    Ok(values.enumerate().map(|(index, value)| (index as f64, value)).collect())
}

/// `N diag(1 / sqrt(1 + i)) M` with normal `N` and `M`.
fn falling_spectrum(rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    device.seed(0);
    let normal = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device);
    let fall: Vec<f32> = (0..rows).map(|i| (1.0 + i as f32).sqrt().recip()).collect();
    let fall: Tensor<1> = Tensor::from_data(fall.as_slice(), device);
    (normal([rows, rows]) * fall.unsqueeze()).matmul(normal([rows, columns])) / rows as f64
}

fn up_projection(model: &Path, device: &Device) -> anyhow::Result<Tensor<2>> {
    let model = Decoder::<AdaptedLinear>::load(model, &LoadOptions::default(), device)?;
    let mut found = None;
    model.visit_projections(&mut |path, _, projection| {
        if found.is_none() && path.ends_with("up_proj") {
            found = Some(projection.linear().weight());
        }
    });
    found.context("the model has no up_proj")
}
