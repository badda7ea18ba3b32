use std::time::Instant;

use model_zoo::{CausalLm, generate_batch};

use super::MethodCost;
use crate::bench::{TrainBench, bench_train, reset_peak_rss};
use crate::demo::{Base, DemoConfig, DemoMethod};
use crate::train::TrainError;
use moe_adapter::attach;

/// The samples of a step, and the tokens of a sample.
const SHAPE: [usize; 2] = [32, 32];
/// The tokens generated for each prompt.
const GENERATED: usize = 16;

/// Times training steps and generation of a method on the base model; random tokens are as good
/// as others for that.
pub(super) fn measure_cost(
    demo: &DemoConfig,
    base: &Base,
    method: &DemoMethod,
) -> Result<MethodCost, TrainError> {
    let bench = TrainBench {
        batch_size: SHAPE[0],
        seq_len: SHAPE[1],
        steps: 15,
        warmup: 3,
        seed: demo.seed,
    };
    reset_peak_rss();
    let trained = bench_train(base.model.clone(), &method.adapter, &bench)?;

    let mut model = base.model.clone();
    attach(&mut model, &method.adapter, demo.seed)?;
    let vocabulary = model.vocab_size() as u32;
    let prompts: Vec<Vec<u32>> = (0..SHAPE[0] as u32)
        .map(|row| {
            (0..SHAPE[1] as u32 / 2).map(|at| 3 + (7 * row + at) % (vocabulary - 3)).collect()
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        // No token ends it, so that every method generates as many.
        generate_batch(&model, &prompts, GENERATED, &[])?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(MethodCost {
        train_tokens_per_s: trained.tokens_per_s,
        generate_tokens_per_s: (SHAPE[0] * GENERATED) as f64 / times[times.len() / 2],
        peak_rss_mb: trained.peak_rss_mb,
    })
}
