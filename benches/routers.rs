//! Routers: forward, and forward with backward, by strategy, number of tokens and of experts.
//!
//! ```text
//! cargo bench --bench routers
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench routers
//! ```

mod common;

use common::{criterion, device, normal, wait};
use criterion::{Criterion, Throughput};
use lora_moe::router::{
    AnyRouter, BatchContext, Lambda, Router, RouterConfig, RouterError, RouterShape,
    SlidingClusterRouterConfig, SparsegenRouterConfig, TopPRouterConfig,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The strategies, with two experts for each token where that can be chosen; a new one is a line.
fn strategies() -> Vec<(&'static str, RouterConfig)> {
    let network = Lambda::Network { hidden_size: 64 };
    let sparsegen = SparsegenRouterConfig { lambda: network, ..Default::default() };
    let top_p = TopPRouterConfig { inclusive: false, min_experts: 2, ..Default::default() };
    vec![
        ("uniform", RouterConfig::Uniform {}),
        ("dense", RouterConfig::default()),
        ("top_k", RouterConfig::TopK(Default::default())),
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
const TOKENS: [usize; 3] = [64, 1024, 16384];
const EXPERTS: [usize; 2] = [8, 64];

fn main() -> Result<(), RouterError> {
    let mut criterion = criterion();
    for (name, config) in strategies() {
        strategy(&mut criterion, name, &config)?;
    }
    criterion.final_summary();
    Ok(())
}

fn strategy(
    criterion: &mut Criterion,
    name: &str,
    config: &RouterConfig,
) -> Result<(), RouterError> {
    let device = device();
    let autodiff = device.clone().autodiff();
    let mut group = criterion.benchmark_group(format!("router/{name}"));
    for tokens in TOKENS {
        group.throughput(Throughput::Elements(tokens as u64));
        for experts in EXPERTS {
            let on = |device| -> Result<AnyRouter, RouterError> {
                let shape = RouterShape::new(HIDDEN, experts).with_identity_experts(experts / 4);
                config.init(&shape, &mut ChaCha8Rng::seed_from_u64(0), device)
            };
            let context = BatchContext::new(1, tokens).with_training(0);
            let x = normal([tokens, HIDDEN], &device);
            let router = on(&device)?;
            group.bench_function(format!("forward/T{tokens}/E{experts}"), |bencher| {
                bencher.iter(|| {
                    let routing = router.route(x.clone(), &context);
                    wait(&device);
                    routing
                });
            });

            if router.gate_weight().is_none() {
                continue; // Nothing has a gradient.
            }
            let x = normal([tokens, HIDDEN], &autodiff).require_grad();
            // The softmax's rows sum to 1, so a plain sum would have no gradient.
            let direction = normal([tokens, experts], &autodiff);
            let router = on(&autodiff)?;
            group.bench_function(format!("forward+backward/T{tokens}/E{experts}"), |bencher| {
                bencher.iter(|| {
                    let weights = router.route(x.clone(), &context).weights;
                    let grads = (weights * direction.clone()).sum().backward();
                    wait(&device);
                    grads
                });
            });
        }
    }
    group.finish();
    Ok(())
}
