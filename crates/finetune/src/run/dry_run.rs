use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor};
use data::Mixture;
use fused_ops::{Precision, precision, runs_kernels};
use model_zoo::{
    Decoder, DecoderConfig, ModelError, StoredQuantization, WeightDType, WeightSource,
    resolve_model,
};
use moe_adapter::{Adaptable, AdapterSize, Projection};
use serde::Serialize;

use super::prepare::run_tokenizer;
use super::samples::RunSamples;
use super::step_memory::{DryMeasurement, PeakMemory, Points, StepParts};
use super::{ModelConfig, RunConfig};
use crate::bench::{TrainBench, bench_train};
use crate::memory::resident_bytes;
use crate::train::{OptimizerKind, Recompute, TrainError, TrainingConfig};

/// What a run would do and cost, from its configuration and the shapes of its model: no weight is
/// read, and nothing is written.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    /// The parameters of the base model.
    pub parameters: usize,
    /// The linears that are adapted.
    pub linears: usize,
    /// The parameters of experts.
    pub experts: usize,
    /// The parameters of routers.
    pub routers: usize,
    /// The parameters of the base model that are trained as a whole.
    pub whole: usize,
    /// The memory of the base model's weights, in bytes.
    pub weight_bytes: f64,
    /// The memory of what is trained, in bytes.
    pub adapter_bytes: f64,
    /// The memory of its gradients, in bytes.
    pub gradient_bytes: f64,
    /// The memory of the optimiser's state and of averages of the weights, in bytes.
    pub optimizer_bytes: f64,
    /// What the data comes to, where it was read.
    pub data: Option<DryData>,
    /// The optimiser steps, where they are known.
    pub steps: Option<usize>,
    /// What a step takes, where that was measured.
    pub measured: Option<DryMeasurement>,
}

/// The data of a run.
#[derive(Debug, Clone, Serialize)]
pub struct DryData {
    /// The samples to train on, or with packing the rows of samples.
    pub samples: usize,
    /// The forward passes of an epoch.
    pub batches: usize,
    /// Their tokens.
    pub tokens: usize,
    /// The tokens that are learned.
    pub learned: usize,
    /// The longest sample, in tokens.
    pub longest: usize,
    /// How often samples are drawn, where an epoch does not have every one once.
    #[serde(skip)]
    pub mixture: Option<Mixture>,
    /// What became of the records, in words.
    #[serde(skip)]
    pub report: String,
}

/// What a dry run looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DryRunOptions {
    /// Leaves the data alone.
    pub without_data: bool,
    /// Times steps of small models of the same shape.
    pub measure: bool,
}

impl DryRun {
    /// Looks at a run without beginning it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file or key at fault.
    pub fn new(
        run: &RunConfig,
        options: DryRunOptions,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let folder = resolve_model(&run.model.path, run.model.revision.as_deref())
            .map_err(ModelError::from)?;
        let mut config = DecoderConfig::from_folder(&folder).map_err(ModelError::from)?;
        config.fused_projections &= !run.model.split_fused;
        config.fused_experts = run.adapter.target_parameters.is_some();
        config.tie_word_embeddings &= !run.model.untie_head;
        if !run.model.new_tokens.is_empty() {
            let vocab_size = run_tokenizer(&run.model, &folder)?.vocab_size();
            config.vocab_size = config.vocab_size.max(vocab_size);
        }
        let stored = StoredQuantization::beside(&folder, run.model.quantization);
        let stored = stored.map_err(ModelError::from)?;
        let model = Decoder::shaped(&config, device).map_err(ModelError::from)?;
        let size = AdapterSize::of(&model, &run.adapter)?;
        let element = element_bytes(run.model.dtype, &folder, device);
        let mut weight_bytes = weight_bytes(&model, &run.model, stored, element);
        let quantized = stored.is_some() || run.model.quantization.is_some();
        // What loading leaves behind: buffers of the largest matrix, and halves that a start replaces.
        let mut loading = element * (config.vocab_size * config.hidden_size) as f64;
        if !quantized && run.training.precision.unwrap_or_else(precision) != Precision::Bf16 {
            // What a start leaves of a weight is f32.
            let changed = size.changed as f64;
            weight_bytes += (4.0 - element) * changed;
            loading += if element < 4.0 { element * changed } else { 0.0 };
        }
        let data = match options.without_data {
            true => None,
            false => {
                let tokenizer = run_tokenizer(&run.model, &folder)?;
                let max_length = run.data.longest(config.max_position_embeddings);
                let RunSamples { train, mixture, report, .. } =
                    RunSamples::read(run, max_length, &tokenizer, &|_| ())?;
                let lengths: Vec<_> = (0..train.len()).map(|at| train.tokens(at)).collect();
                let mut plan = run.training.plan(&lengths)?;
                if let Some(mixture) = &mixture {
                    plan = plan.with_mixture(mixture)?;
                }
                Some(DryData {
                    samples: train.len(),
                    batches: plan.batches_per_epoch(),
                    tokens: lengths.iter().sum(),
                    learned: (0..train.len()).map(|at| train.targets(at)).sum(),
                    longest: lengths.into_iter().max().unwrap_or(0),
                    mixture,
                    report: report.to_string(),
                })
            }
        };
        let batches = data.as_ref().map(|data| data.batches);
        let steps = match (batches, run.training.max_steps) {
            (Some(batches), _) => Some(run.training.total_steps(batches)),
            (None, 0) => None,
            (None, steps) => Some(steps),
        };
        let longest = data.as_ref().map(|data| data.longest);
        let seq_len = longest.unwrap_or(run.data.longest(config.max_position_embeddings));
        let batch_size = match run.training.max_tokens_per_batch {
            0 => run.training.per_device_train_batch_size,
            tokens => (tokens / seq_len.max(1)).max(1),
        };
        let measured = match options.measure {
            false => None,
            true => {
                let shape = (&config, [batch_size, seq_len]);
                let held = weight_bytes + held_bytes(&size, &run.training);
                Some(measure(run, shape, (held, values_bytes(&size), loading), device)?)
            }
        };
        Ok(Self {
            parameters: config.parameter_count(),
            linears: size.linears,
            experts: size.experts,
            routers: size.routers,
            whole: size.whole,
            weight_bytes,
            adapter_bytes: values_bytes(&size),
            gradient_bytes: values_bytes(&size),
            optimizer_bytes: optimizer_bytes(&size, &run.training),
            data,
            steps,
            measured,
        })
    }

    /// All parameters that are trained.
    pub fn trainable(&self) -> usize {
        self.experts + self.routers + self.whole
    }
}

/// Parameters, or their gradients, all f32.
pub(super) fn values_bytes(size: &AdapterSize) -> f64 {
    4.0 * size.trainable() as f64
}

/// The state of the optimiser, and averages of the weights.
pub(super) fn optimizer_bytes(size: &AdapterSize, training: &TrainingConfig) -> f64 {
    let moments = match training.optim {
        OptimizerKind::Adamw => 2.0,
        // A byte of each, and a scale for 256 of them.
        OptimizerKind::Adamw8bit => 0.5 + 2.0 / 256.0,
        OptimizerKind::Lion | OptimizerKind::Muon => 1.0,
        OptimizerKind::Sgd if training.momentum.is_some_and(|momentum| momentum > 0.0) => 1.0,
        // Of Adafactor a row and a column of each matrix.
        OptimizerKind::Sgd | OptimizerKind::Adafactor => 0.0,
    };
    let averages = if training.ema_decay > 0.0 { 1.0 } else { 0.0 };
    (moments + averages) * values_bytes(size)
}

/// What is held between steps: all but the gradients.
pub(super) fn held_bytes(size: &AdapterSize, training: &TrainingConfig) -> f64 {
    values_bytes(size) + optimizer_bytes(size, training)
}

/// The bytes of an element of a matrix in floats.
fn element_bytes(dtype: WeightDType, folder: &Path, device: &Device) -> f64 {
    let as_stored = || {
        let widened = runs_kernels(&Tensor::<1>::zeros([1], device));
        // Models without their weights beside them are published in half types.
        let stored = |source: WeightSource| source.stored_dtype();
        widened && WeightSource::open(folder, dtype).map_or(true, |s| stored(s) != DType::F32)
    };
    match dtype {
        WeightDType::F16 | WeightDType::BF16 => 2.0,
        WeightDType::AsStored if as_stored() => 2.0,
        WeightDType::AsStored | WeightDType::F32 => 4.0,
    }
}

/// The bytes of a model's weights as they are held, `element` for each of a matrix in floats, linears as the
/// folder has stored them.
fn weight_bytes(
    model: &Decoder,
    config: &ModelConfig,
    stored: Option<StoredQuantization>,
    element: f64,
) -> f64 {
    struct Sizes {
        matrices: usize,
        vectors: usize,
    }
    impl ModuleVisitor for Sizes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let count = param.lazy_shape().num_elements();
            if D > 1 { self.matrices += count } else { self.vectors += count }
        }
    }
    let mut sizes = Sizes { matrices: 0, vectors: 0 };
    model.visit(&mut sizes);
    let mut bytes = element * sizes.matrices as f64 + 4.0 * sizes.vectors as f64;
    let quantized = |dims| match (config.quantization, stored) {
        (Some(quantization), _) => Some(quantization.bytes(dims)),
        (None, stored) => stored.map(|stored| stored.bytes(dims)),
    };
    model.visit_projections(&mut |_, _, projection| {
        let dims = projection.linear().dims();
        if let Some(held) = quantized(dims) {
            bytes += held as f64 - element * (dims[0] * dims[1]) as f64;
        }
    });
    bytes
}

/// The longest sequences that are run as they are; longer ones are told from such of half of it and of it.
const LONGEST_RUN: usize = 4096;

/// Runs micro-batches of models of two and three layers with random weights, or twice as many where layers
/// alternate in kind. `held` are the bytes that the whole model and its adapter hold between steps,
/// `trained` those of what is trained, and `loading` those of what loading has freed.
fn measure(
    run: &RunConfig,
    (config, [batch_size, seq_len]): (&DecoderConfig, [usize; 2]),
    (held, trained, loading): (f64, f64, f64),
    device: &Device,
) -> Result<DryMeasurement, TrainError> {
    let period = if config.full_attention_layers.is_empty() { 1 } else { 2 };
    let before = resident_bytes().unwrap_or(0.0);
    let lengths = match seq_len {
        0..=LONGEST_RUN => vec![seq_len],
        _ => vec![LONGEST_RUN / 2, LONGEST_RUN],
    };
    let mut adapter = run.adapter.clone();
    adapter.layers_to_transform = None;
    let layers = config.num_hidden_layers;
    let of_layer = trained / layers.max(1) as f64;
    let input = |tokens: usize| (4 * batch_size * tokens * config.hidden_size) as f64;
    let (mut parts, mut step_s, mut counted) = (Vec::new(), 0.0, true);
    for tokens in lengths.iter().copied() {
        let measured = |recompute: Recompute| -> Result<Points, TrainError> {
            let bench = TrainBench {
                batch_size,
                seq_len: tokens,
                steps: 2,
                warmup: 1,
                seed: run.training.seed,
                recompute,
            };
            let mut points = Points::default();
            for layers in [2 * period, 3 * period] {
                let mut small = DecoderConfig { num_hidden_layers: layers, ..config.clone() };
                small.full_attention_layers.retain(|layer| *layer < layers);
                let model = Decoder::init_random(&small, 0, device).map_err(ModelError::from)?;
                points.add(&bench_train(model.no_grad(), &adapter, &bench)?);
            }
            Ok(points)
        };
        let shape = (input(tokens), of_layer);
        let recompute = run.training.recompute;
        let points = measured(recompute.one_by_one())?;
        // Within a group that is more than a layer, graphs are as without groups.
        let graphs = match recompute {
            Recompute::Every(group) if group > 1 => Some(measured(Recompute::None)?),
            _ => None,
        };
        parts.push(StepParts::of(recompute, period, shape, &points, graphs.as_ref()));
        step_s = points.line(0, layers as f64 / period as f64);
        counted &= points.counted(device);
    }
    let passes = run.training.gradient_accumulation_steps as f64;
    let told = StepParts::at(&parts, &lengths, seq_len);
    let step = told.in_all(run.training.recompute, layers, (input(seq_len), of_layer));
    Ok(DryMeasurement {
        step_s: (lengths.len() == 1).then_some(step_s * passes),
        memory: counted.then(|| PeakMemory::new(held, step, loading, before + trained)),
        batch: [batch_size, seq_len],
        run: lengths,
    })
}

#[cfg(test)]
mod tests {
    use quantization::Quantization;

    use super::*;

    #[test]
    fn weights_are_counted_as_they_are_held() {
        let shape = DecoderConfig::new(10, 4, 6, 1, 2);
        let model: Decoder = Decoder::init_random(&shape, 0, &Device::flex()).unwrap();
        let bytes = |keys: &str| {
            let config: ModelConfig = toml::from_str(&format!("path = \"m\"\n{keys}")).unwrap();
            let element = element_bytes(config.dtype, Path::new("m"), &Device::flex());
            weight_bytes(&model, &config, None, element)
        };
        // Three norms are vectors, which are f32 always.
        let (vectors, matrices) = (3 * 4, shape.parameter_count() - 3 * 4);
        assert_eq!(bytes("dtype = \"float32\""), 4.0 * (vectors + matrices) as f64);
        assert_eq!(bytes("dtype = \"bfloat16\""), (4 * vectors + 2 * matrices) as f64);
        // Four linears of attention and three of the feed-forward block.
        let linears = [[4, 4]; 4].into_iter().chain([[4, 6], [4, 6], [6, 4]]);
        let held: usize = linears.map(|dims| Quantization::Int8.bytes(dims)).sum();
        let others = 4 * (vectors + matrices - 4 * 16 - 3 * 24);
        assert_eq!(bytes("dtype = \"float32\"\nquantization = \"int8\""), (held + others) as f64);
    }
}
