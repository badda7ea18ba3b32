//! Starts: decompositions of a weight by its size and by the triplets wanted, and its digest.
//!
//! ```text
//! cargo bench --bench starts
//! STARTS_LARGE=1 cargo bench --bench starts       # sizes of real models too, minutes
//! ```
//!
//! Weights are on the host and hold independent normal numbers. Large sizes are timed a few times
//! only, and the shortest time is printed.
#![allow(clippy::print_stdout)]

mod common;

use std::time::Instant;

use common::{criterion, finish, normal};
use criterion::{BenchmarkId, Criterion, Throughput};
use lora_moe::burn::tensor::Device;
use lora_moe::svd_init::{
    BankShape, GoatConfig, InitConfig, InitError, RandomisedSvd, TripletPlan, decompose,
    decompose_all, weight_digest,
};

/// `[out, in]`.
const SMALL: [[usize; 2]; 2] = [[576, 576], [576, 1536]];
const LARGE: [[usize; 2]; 2] = [[2048, 2048], [2048, 8192]];
const RANK: usize = 32;
/// The feed-forward linears of Llama 3.2 1B.
const MODEL: (usize, [usize; 2]) = (48, [2048, 8192]);

fn main() -> Result<(), InitError> {
    let mut criterion = criterion();
    small(&mut criterion);
    finish(criterion);
    if std::env::var_os("STARTS_LARGE").is_some() {
        large()?;
        model()?;
    }
    Ok(())
}

/// What GOAT with 8 experts, MiLoRA, and PiSSA by the randomised decomposition ask for.
fn plans([rows, columns]: [usize; 2]) -> [(&'static str, TripletPlan); 3] {
    let size = rows.min(columns);
    let (experts, rank) = (8, RANK / 8);
    let goat = (0..RANK).map(|i| i / rank * (size / experts) + i % rank).collect();
    [
        ("goat", TripletPlan::full(goat)),
        ("least", TripletPlan::full((size - RANK..size).collect())),
        ("randomised", TripletPlan::randomised(RANK, RandomisedSvd::default())),
    ]
}

fn small(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("svd");
    for size in SMALL {
        let weight = normal([size[1], size[0]], &Device::flex());
        for (name, plan) in plans(size) {
            let id = BenchmarkId::new(name, format!("{}x{}", size[0], size[1]));
            group.bench_function(id, |bencher| {
                bencher.iter(|| decompose(&weight, &plan, None));
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("digest");
    let weight = normal([4096, 4096], &Device::flex());
    group.throughput(Throughput::Bytes(4 * 4096 * 4096));
    group.bench_function(BenchmarkId::new("weight", "4096x4096"), |bencher| {
        bencher.iter(|| weight_digest(&weight))
    });
    group.finish();
}

fn large() -> Result<(), InitError> {
    for size in LARGE {
        let weight = normal([size[1], size[0]], &Device::flex());
        for (name, plan) in plans(size) {
            let mut best = f64::INFINITY;
            for _ in 0..if name == "randomised" { 5 } else { 2 } {
                let from = Instant::now();
                decompose(&weight, &plan, None)?;
                best = best.min(from.elapsed().as_secs_f64());
            }
            println!("svd/{name}/{}x{}: {best:.3} s", size[0], size[1]);
        }
    }
    Ok(())
}

fn model() -> Result<(), InitError> {
    let (layers, [out_features, in_features]) = MODEL;
    let shape =
        BankShape { num_experts: 8, rank: RANK / 8, in_features, out_features, scaling: 2.0 };
    let weight = || normal([in_features, out_features], &Device::flex());
    let jobs: Vec<_> = (0..layers).map(|_| (weight(), shape)).collect();
    let from = Instant::now();
    let init = InitConfig::Goat(GoatConfig::default());
    decompose_all(&init, &jobs, None, &|done, total| {
        if done % 8 == 0 {
            println!("{done} of {total}: {:.1} s", from.elapsed().as_secs_f64());
        }
    })?;
    println!("goat/{layers}x{out_features}x{in_features}: {:.1} s", from.elapsed().as_secs_f64());
    Ok(())
}
