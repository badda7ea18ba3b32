//! SLIM's routing in and out of the domain of training, drawn: how weight goes over from LoRA
//! experts to identity experts with the distance to the sliding clusters.
//!
//! ```text
//! cargo run --release --example slim_routing -- [FOLDER]
//! ```
//!
//! Writes `slim_routing.svg` into FOLDER (default `examples-out`).
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use anyhow::Context;
use lora_moe::burn::tensor::{Device, Distribution as Random, Tensor};
use lora_moe::device::default_device;
use lora_moe::report::{Lines, lines_svg};
use lora_moe::router::{
    BatchContext, Distance, Router, RouterShape, SlidingClusterRouter, SlidingClusterRouterConfig,
    StrategyConfig,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const HIDDEN: usize = 64;
const IDENTITY: usize = 2;
const LORA: usize = 8;
const TOKENS: usize = 512;

pub(crate) fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| "examples-out".into(), PathBuf::from);
    run(&folder)
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let device = default_device()?;
    device.seed(0);
    // Training data lies around three points.
    let centres: Tensor<2> = normal(3, &device) * 3.0;
    let mut series = Vec::new();
    for (name, distance) in [("max", Distance::Max), ("rms", Distance::Rms)] {
        let router = trained(distance, &centres, &device)?;
        println!("distance = {name:?}\n away  distance  LoRA experts  identity experts");
        let (mut lora, mut identity) = (Vec::new(), Vec::new());
        for step in 0..=12 {
            // Each token is moved in a direction of its own; in units of the data's deviation.
            let away = 0.5 * f64::from(step);
            let x = domain(&centres, &device) + normal(TOKENS, &device) * away;
            let routing = router.route(x, &BatchContext::new(1, TOKENS));
            let distance = routing.extras.distance.context("SLIM's router has clusters")?;
            let distance = f64::from(distance.mean().into_scalar::<f32>());
            let bypassed = routing.weights.narrow(1, 0, IDENTITY).sum_dim(1).mean();
            let bypassed = f64::from(bypassed.into_scalar::<f32>());
            println!("{away:>5.1}  {distance:>8.2}  {:>12.3}  {bypassed:>16.3}", 1.0 - bypassed);
            lora.push((distance, 1.0 - bypassed));
            identity.push((distance, bypassed));
        }
        let (near, far) = (identity[0].1, identity[12].1);
        anyhow::ensure!(far > near, "far from the clusters identity experts should gain weight");
        series.push(Lines::marked(format!("LoRA, {name}"), lora));
        series.push(Lines::marked(format!("identity, {name}"), identity));
    }
    let svg = folder.join("slim_routing.svg");
    std::fs::create_dir_all(folder)?;
    let title = "Routing weight over the distance to the nearest cluster";
    let axes = ["distance to the nearest cluster", "mean routing weight"];
    std::fs::write(&svg, lines_svg(title, axes, &series)?)?;
    println!("drawn in {}", svg.display());
    Ok(())
}

/// A router whose clusters have slid to the data; its gate stays as it was drawn.
fn trained(
    distance: Distance,
    centres: &Tensor<2>,
    device: &Device,
) -> anyhow::Result<SlidingClusterRouter> {
    let config = SlidingClusterRouterConfig {
        momentum: 0.9,
        gamma: 0.5,
        distance,
        ..SlidingClusterRouterConfig::default()
    };
    let shape = RouterShape::new(HIDDEN, IDENTITY + LORA).with_identity_experts(IDENTITY);
    let router = config.init(&shape, &mut ChaCha8Rng::seed_from_u64(0), device)?;
    for step in 0..100 {
        router.route(domain(centres, device), &BatchContext::new(1, TOKENS).with_training(step));
    }
    Ok(router)
}

/// Tokens around the centres, which take turns.
fn domain(centres: &Tensor<2>, device: &Device) -> Tensor<2> {
    let around = centres.clone().repeat_dim(0, TOKENS.div_ceil(3)).narrow(0, 0, TOKENS);
    around + normal(TOKENS, device)
}

fn normal(rows: usize, device: &Device) -> Tensor<2> {
    Tensor::random([rows, HIDDEN], Random::Normal(0.0, 1.0), device)
}
