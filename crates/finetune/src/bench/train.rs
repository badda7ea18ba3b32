use std::collections::BTreeMap;
use std::time::Instant;

use balance_loss::BalanceLoss;
use fused_ops::{
    COUNTS_LAUNCHES, Precision, Transfers, count_launches, count_transfers, precision,
};
use model_zoo::CausalLm;
use moe_adapter::{
    Adaptable, AdaptedLinear, AdapterConfig, AdapterError, attach, trainable_parameters,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{DevicePeak, peak_rss_mb};
use crate::memory::PeakCount;
use crate::train::{
    CausalTask, Learner, LearnerConfig, Recompute, TrainError, TrainingConfig, TrainingTask,
};
use data::Sample;

/// What a training benchmark runs.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainBench {
    /// The samples of a step.
    pub batch_size: usize,
    /// The tokens of a sample.
    pub seq_len: usize,
    /// The timed steps.
    pub steps: usize,
    /// The steps before that, which are not timed.
    pub warmup: usize,
    /// The seed of tokens and adapters.
    pub seed: u64,
    /// What is computed again in the backward pass.
    pub recompute: Recompute,
}

/// What a training benchmark measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainBenchResult {
    /// How activations were multiplied with frozen weights.
    pub precision: Precision,
    /// Tokens per second, from the median step.
    pub tokens_per_s: f64,
    /// The median time of a step, in seconds.
    pub step_s: f64,
    /// The largest resident memory of the process so far, in MiB; 0 where the system does not tell.
    pub peak_rss_mb: f64,
    /// The most memory of the timed steps beyond what is held between steps (the model with its adapter,
    /// the state of the optimiser), in bytes, where the allocator counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_bytes: Option<f64>,
    /// The trainable parameters.
    pub trainable: usize,
    /// The most memory of a GPU that its allocator was seen to hold after a step, in MiB; absent on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_device_memory_mb: Option<f64>,
    /// The loss of the last timed step, as a sign of life.
    pub loss: f64,
    /// The kernels that one more step, which is not timed, gave to a GPU, the optimiser's included;
    /// absent where none are counted, as on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_launches: Option<usize>,
    /// How often that step waited for numbers of the device, its batch included; absent likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_reads: Option<usize>,
    /// The bytes that it sent to the device, those of its batch included, without what kernels are launched with;
    /// absent likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded_bytes: Option<usize>,
    /// The launches by the kernels' names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kernels: BTreeMap<String, usize>,
}

/// Times training steps of an adapter on a model: every token is a target, half of the samples are
/// of task type 1.
///
/// # Errors
///
/// [`TrainError`] when the adapter does not fit the model.
pub fn bench_train<M>(
    model: M,
    adapter: &AdapterConfig,
    bench: &TrainBench,
) -> Result<TrainBenchResult, TrainError>
where
    M: CausalLm + Adaptable<Projection = AdaptedLinear>,
{
    let vocabulary = model.vocab_size() as u32;
    let sample = |row: usize, rng: &mut ChaCha8Rng| Sample {
        input_ids: (0..bench.seq_len).map(|_| rng.random_range(0..vocabulary)).collect(),
        target_mask: (0..bench.seq_len).map(|at| at > 0).collect(),
        task_type: Some((row % 2) as u32),
        ..Sample::default()
    };
    bench_task(CausalTask::default(), model, adapter, bench, sample)
}

/// As [`bench_train`], for another task: `sample` makes the sample of a row of a batch, all of which
/// are of one size.
///
/// # Errors
///
/// As [`bench_train`], and when the task does not have a setting.
pub fn bench_task<M, T>(
    task: T,
    mut model: M,
    adapter: &AdapterConfig,
    bench: &TrainBench,
    mut sample: impl FnMut(usize, &mut ChaCha8Rng) -> T::Sample,
) -> Result<TrainBenchResult, TrainError>
where
    M: Adaptable<Projection = AdaptedLinear>,
    T: TrainingTask<M>,
{
    attach(&mut model, adapter, bench.seed)?;
    let trainable = trainable_parameters(&model);
    let balance: Option<Box<dyn BalanceLoss>> = match &adapter.balance_loss {
        Some(loss) => Some(loss.init().map_err(AdapterError::from)?),
        None => None,
    };
    let training = TrainingConfig { recompute: bench.recompute, ..TrainingConfig::default() };
    task.check(&training)?;
    let config = LearnerConfig::new(&training, adapter);
    let (mut count, mut peak) = (None, DevicePeak::default());
    let mut learner = Learner::for_task(task, model, balance, config)?;
    let device = learner.task().device(learner.model());
    let mut rng = ChaCha8Rng::seed_from_u64(bench.seed);
    let mut times = Vec::with_capacity(bench.steps);
    let (mut loss, mut tokens) = (f64::NAN, 0);
    let (mut kernels, mut transfers) = (BTreeMap::new(), Transfers::default());
    let rows: Vec<usize> = (0..bench.batch_size).collect();
    for step in 0..bench.warmup + bench.steps + usize::from(COUNTS_LAUNCHES) {
        if step == bench.warmup {
            count = Some(PeakCount::begin());
        }
        let samples: Vec<T::Sample> = rows.iter().map(|row| sample(*row, &mut rng)).collect();
        // Counting takes time, so that it has a step of its own.
        if step == bench.warmup + bench.steps {
            let ((report, launches), moved) = count_transfers(|| {
                count_launches(|| {
                    let batch = learner.task().batch(learner.model(), &samples, &rows)?;
                    learner.step(&[batch], 1e-4)
                })
            });
            report?;
            (kernels, transfers) = (launches.unwrap_or_default(), moved);
            break;
        }
        let batch = learner.task().batch(learner.model(), &samples, &rows)?;
        let started = Instant::now();
        let report = learner.step(&[batch], 1e-4)?;
        (loss, tokens) = (report.loss, report.tokens);
        // Asynchronous devices are waited for, so that a step is timed whole.
        device.sync().map_err(|error| TrainError::value("device", error, "able to compute"))?;
        if step >= bench.warmup {
            times.push(started.elapsed().as_secs_f64());
        }
        peak.look(&device);
    }
    times.sort_by(f64::total_cmp);
    let step_s = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    Ok(TrainBenchResult {
        precision: precision(),
        tokens_per_s: tokens as f64 / step_s,
        step_s,
        peak_rss_mb: peak_rss_mb(),
        peak_device_memory_mb: peak.mb(),
        counted_bytes: count.and_then(|count| count.bytes()),
        trainable,
        loss,
        kernel_launches: (!kernels.is_empty()).then(|| kernels.values().sum()),
        host_reads: (!kernels.is_empty()).then_some(transfers.host_reads),
        uploaded_bytes: (!kernels.is_empty()).then_some(transfers.uploaded_bytes),
        kernels,
    })
}
