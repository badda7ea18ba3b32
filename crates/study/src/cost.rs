use std::time::Instant;

use model_zoo::{CausalLm, Decoder, generate_batch};

use super::MethodCost;
use crate::StudyError;
use crate::demo::DemoMethod;
use finetune::bench::{TrainBench, bench_train};
use finetune::memory::reset_peak;
use finetune::train::Recompute;
use moe_adapter::attach;

/// The tokens generated for each prompt.
const GENERATED: usize = 16;

/// Times training steps and generation of a method on a base model; random tokens are as good
/// as others for that.
pub(super) fn measure_cost(
    base: &Decoder,
    method: &DemoMethod,
    [batch_size, seq_len]: [usize; 2],
    seed: u64,
) -> Result<MethodCost, StudyError> {
    let bench =
        TrainBench { batch_size, seq_len, steps: 15, warmup: 3, seed, recompute: Recompute::None };
    reset_peak();
    let trained = bench_train(base.clone(), &method.adapter, &bench)?;

    let mut model = base.clone();
    attach(&mut model, &method.adapter, seed)?;
    let vocabulary = model.vocab_size();
    let generated = GENERATED.min(model.max_positions() / 2).max(1);
    let length = (seq_len / 2).clamp(1, model.max_positions().saturating_sub(generated).max(1));
    let prompts: Vec<Vec<u32>> = (0..batch_size)
        .map(|row| (0..length).map(|at| ((3 + 7 * row + at) % vocabulary) as u32).collect())
        .collect();
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        // No token ends it, so that every method generates as many.
        generate_batch(&model, &prompts, generated, &[])?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(MethodCost {
        train_tokens_per_s: trained.tokens_per_s,
        generate_tokens_per_s: (batch_size * generated) as f64 / times[times.len() / 2],
        peak_rss_mb: trained.peak_rss_mb,
    })
}
