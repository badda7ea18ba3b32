//! Routers: forward, and forward with backward, by strategy, number of tokens and of experts, and
//! for top-k by k.
//!
//! ```text
//! cargo bench --bench routers
//! cargo bench --bench routers -- 'T4096/E8'
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench routers
//! ```

mod common;

use common::{criterion, device, finish, normal, wait};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use lora_moe::burn::tensor::Device;
use lora_moe::router::{
    AnyRouter, BatchContext, Lambda, Router, RouterConfig, RouterError, RouterShape,
    SlidingClusterRouterConfig, SparsegenRouterConfig, TopKRouterConfig, TopPRouterConfig,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The strategies, with two experts for each token where that can be chosen; a new one is a line.
fn strategies() -> Vec<(&'static str, RouterConfig)> {
    let network = Lambda::Network { hidden_size: 64 };
    let sparsegen = SparsegenRouterConfig { lambda: network, ..Default::default() };
    let top_p = TopPRouterConfig { inclusive: false, min_experts: 2, ..Default::default() };
    let top_k = |k| RouterConfig::TopK(TopKRouterConfig { k, ..Default::default() });
    vec![
        ("uniform", RouterConfig::Uniform {}),
        ("dense", RouterConfig::default()),
        ("top_k/k1", top_k(1)),
        ("top_k/k2", top_k(2)),
        ("top_k/k4", top_k(4)),
        ("noisy_top_k", RouterConfig::NoisyTopK(Default::default())),
        ("top_p", RouterConfig::TopP(Default::default())),
        ("top_p_exclusive", RouterConfig::TopP(top_p)),
        ("adamole", RouterConfig::Adamole(Default::default())),
        ("dynmole", RouterConfig::Dynmole(Default::default())),
        ("sparsegen", RouterConfig::Sparsegen(Default::default())),
        ("sparsegen_network", RouterConfig::Sparsegen(sparsegen)),
        ("switch", RouterConfig::Switch(Default::default())),
        ("expert_choice", RouterConfig::ExpertChoice(Default::default())),
        ("sigmoid", RouterConfig::Sigmoid(Default::default())),
        ("sliding_cluster", RouterConfig::SlidingCluster(SlidingClusterRouterConfig::default())),
    ]
}

const HIDDEN: usize = 512;
const TOKENS: [usize; 4] = [64, 512, 4096, 16384];
const EXPERTS: [usize; 4] = [4, 8, 16, 64];

fn main() -> Result<(), RouterError> {
    let mut criterion = criterion();
    for (name, time) in [
        ("router/forward", forward as Time),
        ("router/forward+backward", forward_and_backward as Time),
    ] {
        let mut group = criterion.benchmark_group(name);
        for (strategy, config) in strategies() {
            for tokens in TOKENS {
                group.throughput(Throughput::Elements(tokens as u64));
                for experts in EXPERTS {
                    let id = BenchmarkId::new(strategy, format!("T{tokens}/E{experts}"));
                    time(&mut group, id, &config, tokens, experts)?;
                }
            }
        }
        group.finish();
    }
    finish(criterion);
    Ok(())
}

type Time = fn(
    &mut BenchmarkGroup<'_, WallTime>,
    BenchmarkId,
    &RouterConfig,
    usize,
    usize,
) -> Result<(), RouterError>;

fn router(
    config: &RouterConfig,
    experts: usize,
    device: &Device,
) -> Result<AnyRouter, RouterError> {
    let shape = RouterShape::new(HIDDEN, experts).with_identity_experts(experts / 4);
    config.init(&shape, &mut ChaCha8Rng::seed_from_u64(0), device)
}

fn forward(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    config: &RouterConfig,
    tokens: usize,
    experts: usize,
) -> Result<(), RouterError> {
    let device = device();
    let context = BatchContext::new(1, tokens).with_training(0);
    let router = router(config, experts, &device)?;
    group.bench_function(id, |bencher| {
        let x = normal([tokens, HIDDEN], &device);
        bencher.iter(|| {
            let routing = router.route(x.clone(), &context);
            wait(&device);
            routing
        });
    });
    Ok(())
}

fn forward_and_backward(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    config: &RouterConfig,
    tokens: usize,
    experts: usize,
) -> Result<(), RouterError> {
    let device = device();
    let autodiff = device.clone().autodiff();
    let context = BatchContext::new(1, tokens).with_training(0);
    let router = router(config, experts, &autodiff)?;
    if router.gate_weight().is_none() {
        return Ok(()); // Nothing has a gradient.
    }
    group.bench_function(id, |bencher| {
        let x = normal([tokens, HIDDEN], &autodiff).require_grad();
        // The softmax's rows sum to 1, so a plain sum would have no gradient.
        let direction = normal([tokens, experts], &autodiff);
        bencher.iter(|| {
            let weights = router.route(x.clone(), &context).weights;
            let grads = (weights * direction.clone()).sum().backward();
            wait(&device);
            grads
        });
    });
    Ok(())
}
