use std::time::Instant;

use fused_ops::{Precision, precision};
use model_zoo::{CausalLm, GenerationError, generate_batch};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{DevicePeak, peak_rss_mb};

/// What a benchmark of generation runs.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateBench {
    /// The prompts, which are continued together.
    pub batch_size: usize,
    /// The tokens of a prompt.
    pub prompt: usize,
    /// The tokens that are timed, after the first.
    pub tokens: usize,
    /// The timed rounds.
    pub steps: usize,
    /// The rounds before that, which are not timed.
    pub warmup: usize,
    /// The seed of the prompts.
    pub seed: u64,
}

/// What a benchmark of generation measured, in medians.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerateBenchResult {
    /// How activations were multiplied with frozen weights.
    pub precision: Precision,
    /// The time until the first tokens, in seconds: reading the prompts, mostly.
    pub prompt_s: f64,
    /// The time of each later token of all prompts, in seconds.
    pub token_s: f64,
    /// The later tokens of all prompts per second.
    pub tokens_per_s: f64,
    /// The largest resident memory of the process so far, in MiB; 0 where the system does not tell.
    pub peak_rss_mb: f64,
    /// The most memory of a GPU that its allocator was seen to hold after a batch, in MiB; absent on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_device_memory_mb: Option<f64>,
}

/// Times the continuation of random prompts by their most probable tokens.
///
/// # Errors
///
/// [`GenerationError`] when the model's scores are not numbers.
pub fn bench_generate<M: CausalLm>(
    model: &M,
    bench: &GenerateBench,
) -> Result<GenerateBenchResult, GenerationError> {
    let vocabulary = model.vocab_size() as u32;
    let mut rng = ChaCha8Rng::seed_from_u64(bench.seed);
    let mut rounds = Vec::with_capacity(bench.steps);
    let mut peak = DevicePeak::default();
    for round in 0..bench.warmup + bench.steps {
        let prompts: Vec<Vec<u32>> = (0..bench.batch_size)
            .map(|_| (0..bench.prompt).map(|_| rng.random_range(0..vocabulary)).collect())
            .collect();
        let time = |tokens: usize| {
            let started = Instant::now();
            generate_batch(model, &prompts, tokens, &[])?;
            Ok::<_, GenerationError>(started.elapsed().as_secs_f64())
        };
        let (first, all) = (time(1)?, time(1 + bench.tokens)?);
        peak.look(&model.device());
        if round >= bench.warmup {
            rounds.push([first, (all - first) / bench.tokens.max(1) as f64]);
        }
    }
    let median = |part: usize| {
        let mut times: Vec<f64> = rounds.iter().map(|round| round[part]).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (prompt_s, token_s) = (median(0), median(1));
    let tokens_per_s = bench.batch_size as f64 / token_s;
    Ok(GenerateBenchResult {
        precision: precision(),
        prompt_s,
        token_s,
        tokens_per_s,
        peak_rss_mb: peak_rss_mb(),
        peak_device_memory_mb: peak.mb(),
    })
}
