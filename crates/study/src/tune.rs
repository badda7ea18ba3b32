//! A tuning run whose model is held in memory.

use std::path::Path;

use burn::module::Module;
use model_zoo::{CausalLm, Decoder};
use moe_adapter::{AdapterConfig, AdapterError, AttachOptions, attach_with, trainable_parameters};
use svd_init::SvdCache;

use data::{Collator, Sample};
use finetune::calibrate::calibrate;
use finetune::train::{Learner, LearnerCheckpoints, LearnerConfig, TrainError, TrainingConfig};

use crate::StudyError;
use crate::checkpoints::RunCheckpoints;

/// What a base model is tuned with.
pub(crate) struct Tuning<'a> {
    /// The method.
    pub(crate) adapter: &'a AdapterConfig,
    /// Learning rate, seed, optimiser and schedule.
    pub(crate) training: &'a TrainingConfig,
    /// The samples.
    pub(crate) samples: &'a [Sample],
    /// By optimiser step and forward pass, which samples it sees.
    pub(crate) steps: &'a [Vec<Vec<usize>>],
    /// A folder that keeps decompositions of the weights from run to run.
    pub(crate) svd_cache: Option<&'a Path>,
}

/// What is told of each step and its loss.
pub(crate) type OnStep<'a> = dyn FnMut(usize, f64) + 'a;

/// A model after tuning, off its autodiff device.
pub(crate) struct Tuned {
    pub(crate) model: Decoder,
    pub(crate) trainable_parameters: usize,
}

/// Tunes a copy of `base`, and tells `on_step` of each step and its loss. With `kept` it goes on from
/// the last checkpoint that is there, whose steps are told of too, and keeps those to come.
///
/// # Errors
///
/// [`StudyError`] when the adapter does not fit, the loss becomes no number, or a checkpoint cannot
/// be read or written.
pub(crate) fn tune(
    base: &Decoder,
    tuning: &Tuning<'_>,
    mut kept: Option<&mut RunCheckpoints>,
    on_step: &mut OnStep<'_>,
) -> Result<Tuned, StudyError> {
    let Tuning { adapter, training, samples, steps, svd_cache } = *tuning;
    let mut model = base.clone();
    let few = &samples[..samples.len().min(training.calibration_samples)];
    let cache = svd_cache.map(SvdCache::new);
    let options = AttachOptions {
        seed: training.seed,
        statistics: calibrate(&model, adapter, few, training.per_device_train_batch_size)?,
        svd_cache: cache.as_ref(),
        ..AttachOptions::default()
    };
    attach_with(&mut model, adapter, options)?;
    let trainable_parameters = trainable_parameters(&model);
    let balance = match &adapter.balance_loss {
        Some(loss) => Some(loss.init().map_err(AdapterError::from).map_err(TrainError::from)?),
        None => None,
    };
    let collator = Collator::new(model.pad_token_id().unwrap_or(0));
    let mut learner = Learner::new(model, balance, LearnerConfig::new(training, adapter))?;
    let schedule = training.schedule(steps.len());
    let device = learner.model().device();
    let folder = kept.as_ref().map(|kept| kept.folder().to_owned()).unwrap_or_default();
    let checkpoints =
        LearnerCheckpoints { folder: &folder, adapter, training, total_steps: steps.len() };
    let mut losses = match &mut kept {
        Some(kept) => kept.resume(&checkpoints, &mut learner)?,
        None => Vec::new(),
    };
    (1..).zip(&losses).for_each(|(at, loss)| on_step(at, *loss));
    for (at, passes) in (1..).zip(steps).skip(losses.len()) {
        let batches = passes
            .iter()
            .map(|indices| Ok(collator.collate_indices(samples, indices)?.to_device(&device)))
            .collect::<Result<Vec<_>, TrainError>>()?;
        let report = learner.step(&batches, schedule.at(at))?;
        on_step(at, report.loss);
        losses.push(report.loss);
        if let Some(kept) = &mut kept {
            kept.stepped(&checkpoints, &learner, &losses)?;
        }
    }
    Ok(Tuned { model: learner.model().valid(), trainable_parameters })
}

/// Steps of one forward pass each, over samples as they come.
pub(crate) fn in_order(samples: usize, batch_size: usize) -> Vec<Vec<Vec<usize>>> {
    let all: Vec<usize> = (0..samples).collect();
    all.chunks(batch_size).map(|chunk| vec![chunk.to_vec()]).collect()
}
