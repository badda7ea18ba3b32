use std::path::Path;
use std::sync::Mutex;

use burn::tensor::Device;
use serde::Serialize;

use super::experiment::{base, equal_parameters, tune_base, watched};
use super::jobs::run_jobs;
use super::{DemoConfig, DemoMethod, DemoObserver, EvaluationSets, Half, measure};
use crate::StudyError;

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
    workers: usize,
    observer: &mut dyn DemoObserver,
) -> Result<Vec<SearchRow>, StudyError> {
    let base = base(config, cache, device, observer)?;
    let sets = EvaluationSets::new(&base.world, config.inputs_per_task, Half::Validation);
    let amount = config.samples.iter().copied().max().unwrap_or(0);
    let mut jobs = Vec::new();
    for method in equal_parameters(&base, &config.methods)? {
        for &learning_rate in grid {
            jobs.push(DemoMethod { learning_rate, ..method.clone() });
        }
    }
    let observer = Mutex::new(observer);
    run_jobs(
        &base,
        &jobs,
        (workers, 1),
        |_| amount,
        |base, method| {
            let run = format!("{}, learning rate {}", method.name, method.learning_rate);
            let steps = amount.div_ceil(config.batch_size);
            let tuned = watched(&observer, &run, steps, |on_step| {
                tune_base(config, base, method, amount, None, on_step)
            })?;
            let measured = measure(&tuned.model, &base.tokenizer, &sets)?;
            Ok(SearchRow {
                method: method.name.clone(),
                learning_rate: method.learning_rate,
                tasks: measured.tasks,
                knowledge: measured.knowledge,
                score: (measured.tasks + measured.knowledge) / 2.0,
            })
        },
    )
}
