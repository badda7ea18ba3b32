use std::path::{Path, PathBuf};
use std::time::Instant;

use model_zoo::CausalLm;
use moe_adapter::{AdaptedProjection, AdapterConfig, save_adapter};
use router::RoutingTape;
use serde_json::json;

use super::checkpoint::{load_checkpoint, rotate_checkpoints, save_checkpoint};
use super::{
    CollapseMonitor, Learner, LearnerConfig, MetricsLog, Progress, RoutingCollapse, StepReport,
    TrainError, TrainObserver, TrainerState, TrainingConfig, latest_checkpoint,
};
use data::{BatchPlan, Collator, Sample};
use evaluation::routing::{ExpertUse, SiteShare};
use evaluation::{Evaluation, evaluate};

const METRICS_FILE: &str = "metrics.jsonl";

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSummary {
    /// The optimiser steps of the run.
    pub steps: usize,
    /// The loss of the last step.
    pub train_loss: f64,
    /// The validation at the end; absent without validation data.
    pub evaluation: Option<Evaluation>,
    /// The best validation loss and its step.
    pub best: Option<(usize, f64)>,
    /// Real tokens per second.
    pub tokens_per_s: f64,
    /// The wall-clock time of this process's part of the run.
    pub seconds: f64,
}

/// Trains the adapters of a model on samples, into a folder.
///
/// The folder receives `metrics.jsonl`, `checkpoint-<step>/` and at the end the adapter itself.
pub struct Trainer<'a, M> {
    learner: Learner<M>,
    adapter: &'a AdapterConfig,
    training: &'a TrainingConfig,
    train: &'a [Sample],
    validation: &'a [Sample],
    output_dir: &'a Path,
    base_model: Option<String>,
}

impl<'a, M> Trainer<'a, M>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    /// A trainer of `model`, which carries the adapters of `adapter`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a value is out of range or the samples lack what the balance loss
    /// needs.
    pub fn new(
        model: M,
        adapter: &'a AdapterConfig,
        training: &'a TrainingConfig,
        train: &'a [Sample],
        validation: &'a [Sample],
        output_dir: &'a Path,
    ) -> Result<Self, TrainError> {
        training.check()?;
        if train.is_empty() {
            return Err(TrainError::NoSamples);
        }
        let balance = match &adapter.balance_loss {
            Some(loss) => Some(loss.init().map_err(moe_adapter::AdapterError::from)?),
            None => None,
        };
        if let Some(loss) = &adapter.balance_loss
            && loss.needs_task_types()
            && train.iter().any(|sample| sample.task_type.is_none())
        {
            return Err(balance_loss::BalanceLossError::MissingTaskTypes.into());
        }
        let learner = Learner::new(model, balance, LearnerConfig::new(training, adapter));
        Ok(Self { learner, adapter, training, train, validation, output_dir, base_model: None })
    }

    /// Names the base model in the adapter's configuration.
    pub fn with_base_model(mut self, name: impl Into<String>) -> Self {
        self.base_model = Some(name.into());
        self
    }

    /// Trains, from the start or with `resume` from the newest checkpoint, and returns the model
    /// off its autodiff device.
    ///
    /// A run that was resumed goes through the same numbers as one that was not interrupted.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, key or step at fault. What was saved before stays.
    pub fn run(
        mut self,
        resume: bool,
        observer: &mut dyn TrainObserver,
    ) -> Result<(M, TrainSummary), TrainError> {
        let config = self.training;
        let lengths: Vec<_> = self.train.iter().map(Sample::len).collect();
        let plan = BatchPlan::new(
            &lengths,
            config.per_device_train_batch_size,
            config.seed,
            config.group_by_length,
            false,
        )?;
        let mut state = TrainerState {
            step: 0,
            total_steps: config.total_steps(plan.batches_per_epoch()),
            best: None,
            training: config.clone(),
        };
        let metrics_path = self.output_dir.join(METRICS_FILE);
        if resume {
            let folder = latest_checkpoint(self.output_dir).ok_or_else(|| {
                TrainError::NothingToResume { path: self.output_dir.to_path_buf() }
            })?;
            let total_steps = state.total_steps;
            state = load_checkpoint(&mut self.learner, self.adapter, config, &folder)?;
            if state.total_steps != total_steps {
                return Err(TrainError::State {
                    path: folder,
                    message: format!(
                        "the run to resume has {} steps, but with this data it would have \
                         {total_steps}; the training data must be the same",
                        state.total_steps
                    ),
                });
            }
        } else if metrics_path.exists() || latest_checkpoint(self.output_dir).is_some() {
            return Err(TrainError::OutputExists { path: self.output_dir.to_path_buf() });
        }
        let mut metrics = MetricsLog::open(&metrics_path, state.step)?;

        let schedule = config.schedule(state.total_steps);
        let collator = Collator::new(self.learner.model().pad_token_id().unwrap_or(0));
        let device = self.learner.model().device();
        let started = Instant::now();
        let mut tokens = 0;
        let mut order = (u64::MAX, Vec::new());
        let mut last = None;
        let mut evaluation = None;
        let mut monitor = self.adapter.is_mixture().then(|| CollapseMonitor::of(config)).flatten();
        if config.eval_on_start && state.step == 0 && !self.validation.is_empty() {
            let result = self.evaluate()?;
            metrics.write(&evaluation_line(0, &result))?;
            observer.on_evaluation(0, &result);
        }
        while state.step < state.total_steps {
            let accumulation = config.gradient_accumulation_steps;
            let mut batches = Vec::with_capacity(accumulation);
            for micro in 0..accumulation {
                let (epoch, index) = plan.locate((state.step * accumulation + micro) as u64);
                if order.0 != epoch {
                    order = (epoch, plan.batches(epoch));
                }
                let batch = collator.collate_indices(self.train, &order.1[index])?;
                batches.push(batch.to_device(&device));
            }
            let learning_rate = schedule.at(state.step);
            let end = state.step + 1 == state.total_steps;
            let logged = end || (state.step + 1).is_multiple_of(config.logging_steps);
            let mut used: Option<ExpertUse> = None;
            let mut watch = |tape: &RoutingTape| {
                used = match (used.take(), ExpertUse::of(tape)) {
                    (Some(used), Some(more)) => Some(used + more),
                    (used, more) => used.or(more),
                };
            };
            let watch: Option<&mut dyn FnMut(&RoutingTape)> =
                if logged && monitor.is_some() { Some(&mut watch) } else { None };
            let report = self.learner.step_watched(&batches, learning_rate, watch)?;
            state.step += 1;
            tokens += report.tokens;
            last = Some(report);
            let progress = Progress {
                step: state.step,
                total_steps: state.total_steps,
                epoch: (state.step * accumulation) as f64 / plan.batches_per_epoch() as f64,
                learning_rate,
                tokens_per_s: tokens as f64 / started.elapsed().as_secs_f64(),
            };
            observer.on_step(&progress, &report);
            if logged {
                let mut line = step_line(&progress, &report);
                if let (Some(monitor), Some(used)) = (&mut monitor, used) {
                    let shares = used.largest_shares();
                    let collapsed = monitor.observe(&shares);
                    add_routing(&mut line, &shares, &collapsed);
                    if !collapsed.is_empty() {
                        observer.on_routing_collapse(state.step, &collapsed);
                    }
                }
                metrics.write(&line)?;
            }
            if !self.validation.is_empty() && (end || due(state.step, config.eval_steps)) {
                let result = self.evaluate()?;
                metrics.write(&evaluation_line(state.step, &result))?;
                observer.on_evaluation(state.step, &result);
                if state.best.is_none_or(|(_, loss)| result.loss < loss) {
                    state.best = Some((state.step, result.loss));
                }
                evaluation = Some(result);
            }
            let best_now = state.best.is_some_and(|(step, _)| step == state.step);
            if end || due(state.step, config.save_steps) || (best_now && config.save_steps > 0) {
                let folder = self.save(&state)?;
                observer.on_checkpoint(state.step, &folder);
                let best = state.best.map(|(step, _)| step);
                rotate_checkpoints(self.output_dir, config.save_total_limit, best)?;
            }
        }
        let model = self.learner.model().valid();
        save_adapter(&model, self.adapter, self.base_model.as_deref(), self.output_dir)?;
        if evaluation.is_none() && !self.validation.is_empty() {
            evaluation = Some(self.evaluate()?);
        }
        let seconds = started.elapsed().as_secs_f64();
        let summary = TrainSummary {
            steps: state.step,
            train_loss: last.map_or(f64::NAN, |report| report.loss),
            evaluation,
            best: state.best,
            tokens_per_s: tokens as f64 / seconds,
            seconds,
        };
        Ok((model, summary))
    }

    fn evaluate(&self) -> Result<Evaluation, TrainError> {
        let model = self.learner.model().valid();
        evaluate(&model, self.validation, self.training.per_device_eval_batch_size)
    }

    fn save(&self, state: &TrainerState) -> Result<PathBuf, TrainError> {
        save_checkpoint(
            &self.learner,
            self.adapter,
            self.base_model.as_deref(),
            state,
            self.output_dir,
        )
    }
}

/// Adds the largest share of all projections, and those that have collapsed since the last line.
fn add_routing(line: &mut serde_json::Value, shares: &[SiteShare], collapsed: &[RoutingCollapse]) {
    let largest = shares.iter().map(|share| share.share).fold(0.0, f64::max);
    line["largest_routing_share"] = json!(largest);
    if !collapsed.is_empty() {
        let collapsed: Vec<_> = collapsed
            .iter()
            .map(|c| json!({ "site": c.site.to_string(), "expert": c.expert, "share": c.share }))
            .collect();
        line["routing_collapse"] = json!(collapsed);
    }
}

fn due(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}

fn evaluation_line(step: usize, evaluation: &Evaluation) -> serde_json::Value {
    json!({
        "step": step,
        "eval_loss": evaluation.loss,
        "eval_perplexity": evaluation.perplexity(),
        "eval_targets": evaluation.targets,
    })
}

fn step_line(progress: &Progress, report: &StepReport) -> serde_json::Value {
    let mut line = json!({
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": report.loss,
        "learning_rate": progress.learning_rate,
        "grad_norm": report.grad_norm,
        "tokens_per_s": progress.tokens_per_s,
    });
    if let Some(balance_loss) = report.balance_loss {
        line["balance_loss"] = json!(balance_loss);
    }
    line
}
