//! What ranks do together besides steps: agree on their work, and evaluate.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use data::BatchPlan;
use moe_adapter::Adaptable;
use ranks::{Ranks, agree};
use sha2::{Digest, Sha256};

use super::source::picked;
use super::{
    BatchOutcome, Measurement, SampleSource, TrainError, TrainingSample, TrainingTask, Validation,
};

/// A hash of samples, for comparison between ranks.
fn samples_hash<S: TrainingSample>(samples: &dyn SampleSource<S>) -> Result<String, TrainError> {
    let mut hash = Sha256::new();
    for at in 0..samples.len() {
        samples.get(at)?.describe(&mut |bytes| hash.update(bytes));
    }
    Ok(shown(samples.len(), "samples", hash))
}

/// The samples that [`data_hash`] reads.
const READ: usize = 256;

/// A hash that tells training data from other data: of the length of every sample, and of what some of them
/// are, for to read all may take long.
pub(super) fn data_hash<S: TrainingSample>(
    samples: &dyn SampleSource<S>,
) -> Result<String, TrainError> {
    let mut hash = Sha256::new();
    for at in 0..samples.len() {
        hash.update((samples.tokens(at) as u64).to_le_bytes());
        hash.update((samples.targets(at) as u64).to_le_bytes());
    }
    for at in (0..samples.len()).step_by(samples.len().div_ceil(READ).max(1)) {
        samples.get(at)?.describe(&mut |bytes| hash.update(bytes));
    }
    Ok(shown(samples.len(), "samples", hash))
}

/// A hash of what of a model on an autodiff device is trained, or moves as it is trained.
fn trained_hash<M: Module>(model: &M) -> String {
    struct Hash {
        hash: Sha256,
        count: usize,
    }
    impl ModuleVisitor for Hash {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if param.is_require_grad() || !value.is_autodiff() {
                let data = value.cast(DType::F32).into_data();
                data.iter::<f32>().for_each(|value| self.hash.update(value.to_le_bytes()));
                self.count += 1;
            }
        }
    }
    let mut hash = Hash { hash: Sha256::new(), count: 0 };
    model.visit(&mut hash);
    shown(hash.count, "tensors", hash.hash)
}

/// How large the weights are in sum: enough to tell models apart, and cheap where they lie.
fn weights<M: Module>(model: &M) -> String {
    struct Sizes(Vec<Tensor<1>>);
    impl ModuleVisitor for Sizes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let value = if value.is_autodiff() { value.inner() } else { value };
            self.0.push(value.cast(DType::F32).abs().mean());
        }
    }
    let mut sizes = Sizes(Vec::new());
    model.visit(&mut sizes);
    let count = sizes.0.len();
    if count == 0 {
        return "no tensors".to_owned();
    }
    let sums = Tensor::cat(sizes.0, 0).into_data();
    // Not to the last bit, which may differ between machines.
    let texts: Vec<String> = sums.iter::<f32>().map(|size| format!("{size:.2e}")).collect();
    let mut hash = Sha256::new();
    texts.iter().for_each(|text| hash.update(text));
    shown(count, "tensors", hash)
}

fn shown(count: usize, what: &str, hash: Sha256) -> String {
    let bytes = hash.finalize();
    let hex: String = bytes.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{count} {what} with hash {hex}")
}

/// Refuses ranks that have other settings, data or models, before anything is trained.
pub(super) fn agree_on<M: Module, S: TrainingSample>(
    ranks: &dyn Ranks,
    settings: Vec<(&str, String)>,
    samples: [&dyn SampleSource<S>; 2],
    model: &M,
) -> Result<(), TrainError> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let mut properties = vec![("the version of lora-moe", env!("CARGO_PKG_VERSION").to_owned())];
    properties.extend(settings);
    properties.push(("the training data", samples_hash(samples[0])?));
    properties.push(("the validation data", samples_hash(samples[1])?));
    properties.push(("the weights of the model", weights(model)));
    properties.push(("the start of the adapter", trained_hash(model)));
    Ok(agree(ranks, &properties)?)
}

/// Evaluates a model off its autodiff device with the batches shared by ranks; all find the same
/// numbers.
pub(super) fn evaluate_over<M: Adaptable, T: TrainingTask<M>>(
    ranks: &dyn Ranks,
    task: &T,
    model: &M,
    samples: &dyn SampleSource<T::Sample>,
    batch_size: usize,
) -> Result<Validation, TrainError> {
    let (rank, size) = (ranks.rank(), ranks.size());
    let lengths: Vec<_> = (0..samples.len()).map(|at| samples.tokens(at)).collect();
    let batches = BatchPlan::ordered(&lengths, batch_size)?.batches(0);
    let mut own = Vec::new();
    for indices in batches.iter().skip(rank).step_by(size) {
        let samples = picked(samples, indices)?;
        let all: Vec<usize> = (0..samples.len()).collect();
        let batch = task.batch(model, &samples, &all)?;
        task.evaluate(model, &batch)?.write(&mut own);
    }
    let mut of_ranks: Vec<_> =
        ranks.gather(&own)?.iter().map(|bytes| BatchOutcome::read_all(bytes).into_iter()).collect();
    // In the order of the batches, as one rank adds them up.
    let outcomes: Vec<BatchOutcome> =
        (0..batches.len()).filter_map(|batch| of_ranks[batch % size].next()).collect();
    let (sum, targets) =
        outcomes.iter().fold((0.0, 0), |(sum, targets), of| (sum + of.loss, targets + of.targets));
    let loss = sum / targets.max(1) as f64;
    Ok(Validation { loss, targets, measured: task.measure(loss, &outcomes) })
}

/// The numbers in bytes, eight each.
pub(super) fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

/// What rank 0 has measured, on every rank.
pub(super) fn measured_by_first(
    ranks: &dyn Ranks,
    measured: Vec<Measurement>,
) -> Result<Vec<Measurement>, TrainError> {
    if ranks.size() == 1 {
        return Ok(measured);
    }
    let mut bytes = Vec::new();
    for Measurement { name, value, higher_is_better } in &measured {
        let head = [name.len() as u64, value.to_bits(), u64::from(*higher_is_better)];
        bytes.extend(head.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(name.as_bytes());
    }
    ranks.broadcast(&mut bytes)?;
    let mut rest = bytes.as_slice();
    let mut found = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<24>() {
        let head = numbers(head);
        let (name, after) = after.split_at((head[0] as usize).min(after.len()));
        found.push(Measurement {
            name: String::from_utf8_lossy(name).into_owned(),
            value: f64::from_bits(head[1]),
            higher_is_better: head[2] == 1,
        });
        rest = after;
    }
    Ok(found)
}
