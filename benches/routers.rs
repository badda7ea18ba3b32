//! Routers: forward, and forward with backward, by strategy, number of tokens and of experts.
//!
//! ```text
//! cargo bench --bench routers
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench routers
//! ```

mod common;

use common::{criterion, device, normal, wait};
use criterion::{Criterion, Throughput};
use lora_moe::router::{AnyRouter, BatchContext, Router, RouterConfig, RouterError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The strategies; a new one is a line.
const STRATEGIES: &[(&str, RouterConfig)] = &[("dense", RouterConfig::Dense { temperature: 1.0 })];

const HIDDEN: usize = 512;
const TOKENS: [usize; 3] = [64, 1024, 4096];
const EXPERTS: [usize; 3] = [4, 8, 16];

fn main() -> Result<(), RouterError> {
    let mut criterion = criterion();
    for (name, config) in STRATEGIES {
        strategy(&mut criterion, name, config)?;
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
                config.init(HIDDEN, experts, &mut ChaCha8Rng::seed_from_u64(0), device)
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
