use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::experiment::{equal_parameters, tune};
use super::{DemoConfig, DemoMethod, DemoObserver, EvaluationSets, Half, measure, pretrained};
use crate::report::ResultRow;
use crate::train::TrainError;

/// One point of the search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchRow {
    /// The method.
    pub method: String,
    /// The learning rate tried.
    pub learning_rate: f64,
    /// Tasks learned, on the validation half.
    pub tasks: f64,
    /// Knowledge kept, on the validation half.
    pub knowledge: f64,
    /// The mean of both, by which a learning rate is chosen.
    pub score: f64,
}

/// Tries every learning rate of `grid` for every method at the largest amount of data, on the
/// validation half of the evaluation sets.
///
/// # Errors
///
/// As [`run_demo`](super::run_demo).
pub fn search(
    config: &DemoConfig,
    grid: &[f64],
    cache: &Path,
    device: &Device,
    observer: &mut dyn DemoObserver,
) -> Result<Vec<SearchRow>, TrainError> {
    observer.on_stage("pre-training", config.pretraining_steps);
    let base = pretrained(config, cache, device, |step, _, loss| observer.on_step(step, loss))?;
    let sets = EvaluationSets::new(&base.world, config.inputs_per_task, Half::Validation);
    let amount = config.samples.iter().copied().max().unwrap_or(0);
    let mut rows = Vec::new();
    for method in equal_parameters(&base, &config.methods)? {
        for &learning_rate in grid {
            let steps = amount.div_ceil(config.batch_size);
            observer.on_stage(&format!("{}, learning rate {learning_rate}", method.name), steps);
            let method = DemoMethod { learning_rate, ..method.clone() };
            let tuned = tune(config, &base, &method, amount, |step, loss| {
                observer.on_step(step, loss);
            })?;
            let measured = measure(&tuned.model, &base.tokenizer, &sets)?;
            observer.on_result(&ResultRow {
                method: format!("{} {learning_rate}", method.name),
                samples: amount,
                trainable_parameters: tuned.trainable_parameters,
                knowledge: measured.knowledge,
                tasks: measured.tasks,
                text_loss: measured.text_loss,
                seconds: 0.0,
            });
            rows.push(SearchRow {
                method: method.name,
                learning_rate,
                tasks: measured.tasks,
                knowledge: measured.knowledge,
                score: (measured.tasks + measured.knowledge) / 2.0,
            });
        }
    }
    Ok(rows)
}
