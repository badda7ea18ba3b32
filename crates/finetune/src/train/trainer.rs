mod over_ranks;

use std::ops::Add;
use std::path::{Path, PathBuf};
use std::time::Instant;

use model_zoo::CausalLm;
use moe_adapter::{
    ADAPTER_CONFIG_FILE, AdaptedProjection, AdapterConfig, FolderLock, load_adapter,
    load_adapter_state, save_adapter,
};
use ranks::{Alone, PairwiseSum, Ranks, share_of};
use router::RoutingTape;
use serde_json::Value;

use super::checkpoint::{
    checkpoint_folder, load_checkpoint, remove_later, remove_unfinished, rotate_checkpoints,
    save_checkpoint,
};
use super::learner::Snapshot;
use super::lines::{add_routing, evaluation_line, measurement_line, non_finite_line, step_line};
use super::together::measured_by_first;
use super::{
    CheckpointHealth, CollapseMonitor, EVAL_LOSS, Learner, LearnerConfig, Measurement, MetricsLog,
    NonFinite, NonFinitePolicy, PeriodicEvaluation, Progress, Resume, Share, TrainError,
    TrainObserver, TrainerState, TrainingConfig, broken_checkpoint, latest_checkpoint,
};
use data::{BatchPlan, Collator, Sample};
use evaluation::Evaluation;
use evaluation::routing::ExpertUse;

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
    /// The best value of `metric_for_best_model` and its step.
    pub best: Option<(usize, f64)>,
    /// Whether it stopped before its last step, for want of progress.
    pub stopped_early: bool,
    /// Real tokens per second.
    pub tokens_per_s: f64,
    /// The wall-clock time of this process's part of the run.
    pub seconds: f64,
    /// The time of that spent in sums over ranks, waiting for others included.
    pub sum_seconds: f64,
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
    evaluations: Vec<Box<dyn PeriodicEvaluation<M> + 'a>>,
    ranks: &'a dyn Ranks,
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
        Ok(Self {
            learner,
            adapter,
            training,
            train,
            validation,
            output_dir,
            base_model: None,
            evaluations: Vec::new(),
            ranks: &Alone,
        })
    }

    /// Names the base model in the adapter's configuration.
    pub fn with_base_model(mut self, name: impl Into<String>) -> Self {
        self.base_model = Some(name.into());
        self
    }

    /// Measures the model by `evaluation` too.
    pub fn with_evaluation(mut self, evaluation: Box<dyn PeriodicEvaluation<M> + 'a>) -> Self {
        self.evaluations.push(evaluation);
        self
    }

    /// Trains together with other ranks, each of which has a trainer of the same model, settings and
    /// samples, and folder: rank 0 writes to it, all read from it. The passes of a step are shared
    /// out; only rank 0 makes the evaluations of [`with_evaluation`](Self::with_evaluation), which
    /// all need to have.
    pub fn with_ranks(mut self, ranks: &'a dyn Ranks) -> Self {
        self.ranks = ranks;
        self
    }

    /// Trains, from the start or from a checkpoint, and returns the model off its autodiff device.
    ///
    /// A run that was resumed goes through the same numbers as one that was not interrupted.
    /// Checkpoints after the one that it goes on from are removed.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, key or step at fault, and when ranks cannot go on together.
    /// What was saved before stays.
    pub fn run(
        mut self,
        resume: &Resume,
        observer: &mut dyn TrainObserver,
    ) -> Result<(M, TrainSummary), TrainError> {
        let config = self.training;
        let ranks = self.ranks;
        self.check_best_metric()?;
        self.check_ranks()?;
        let lock = match ranks.is_first() {
            true => Some(FolderLock::acquire(self.output_dir)?),
            false => None,
        };
        let lengths: Vec<_> = self.train.iter().map(Sample::len).collect();
        let plan = BatchPlan::new(
            &lengths,
            config.per_device_train_batch_size,
            config.seed,
            config.group_by_length,
            false,
        )?;
        let mut state = TrainerState::new(config.clone());
        state.total_steps = config.total_steps(plan.batches_per_epoch());
        let metrics_path = self.output_dir.join(METRICS_FILE);
        let saved = self.saved_run(resume, &metrics_path)?;
        if let Some(folder) = &saved {
            let total_steps = state.total_steps;
            state = self.load(resume, folder)?;
            if state.total_steps != total_steps {
                return Err(TrainError::State {
                    path: folder.clone(),
                    message: format!(
                        "the run to resume has {} steps, but with this data it would have \
                         {total_steps}; the training data must be the same",
                        state.total_steps
                    ),
                });
            }
        }
        // Nothing is removed before all have read.
        self.agree(&state)?;
        let mut metrics = None;
        if ranks.is_first() {
            remove_unfinished(self.output_dir)?;
            if let Some(folder) = &saved {
                let removed = remove_later(self.output_dir, state.step)?;
                observer.on_resume(state.step, folder, removed);
            } else if metrics_path.exists() {
                std::fs::remove_file(&metrics_path).map_err(TrainError::io(&metrics_path))?;
            }
            metrics = Some(MetricsLog::open(&metrics_path, state.step)?);
        }
        let probe = self.probe(&plan);
        if state.step == 0 {
            state.first_loss = Some(self.loss(&probe)?).filter(|loss| loss.is_finite());
        }

        let schedule = config.schedule(state.total_steps);
        let collator = Collator::new(self.learner.model().pad_token_id().unwrap_or(0));
        let device = self.learner.model().device();
        let started = Instant::now();
        let mut tokens = 0;
        let mut order = (u64::MAX, Vec::new());
        let mut last = None;
        let mut evaluation = None;
        let rolls_back = config.non_finite == NonFinitePolicy::Rollback;
        let mut healthy = rolls_back.then(|| self.learner.snapshot());
        let mut monitor = self.adapter.is_mixture().then(|| CollapseMonitor::of(config)).flatten();
        if config.eval_on_start && state.step == 0 {
            self.measure(0, |_| true, &mut metrics, observer)?;
        }
        let mut stopped_early = state.out_of_patience(config);
        while state.step < state.total_steps && !stopped_early {
            let accumulation = config.gradient_accumulation_steps;
            let own = share_of(accumulation, ranks.rank(), ranks.size());
            let mut batches = Vec::with_capacity(own.len());
            let (mut all_targets, mut all_tokens) = (0, 0);
            for micro in 0..accumulation {
                let (epoch, index) = plan.locate((state.step * accumulation + micro) as u64);
                if order.0 != epoch {
                    order = (epoch, plan.batches(epoch));
                }
                let samples = &order.1[index];
                for sample in samples.iter().filter_map(|at| self.train.get(*at)) {
                    all_targets += sample.target_count();
                    all_tokens += sample.len();
                }
                if own.contains(&micro) {
                    let batch = collator.collate_indices(self.train, samples)?;
                    batches.push(batch.to_device(&device));
                }
            }
            let share = Share {
                ranks,
                batches: &batches,
                first: own.start,
                passes: accumulation,
                targets: all_targets,
                tokens: all_tokens,
            };
            let learning_rate = schedule.at(state.step);
            let end = state.step + 1 == state.total_steps;
            let logged = end || (state.step + 1).is_multiple_of(config.logging_steps);
            let mut used = PairwiseSum::default();
            let mut watch = |tape: &RoutingTape| {
                if let Some(of_pass) = ExpertUse::of(tape) {
                    used.add(of_pass, ExpertUse::add);
                }
            };
            let watch: Option<&mut dyn FnMut(&RoutingTape)> =
                if logged && monitor.is_some() { Some(&mut watch) } else { None };
            let stepped = self.learner.step_share(&share, learning_rate, watch);
            state.step += 1;
            let made = stepped.is_ok();
            match stepped {
                Ok(report) => {
                    state.stepped(rolls_back);
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
                        let used = used.total(ExpertUse::add);
                        if let (Some(monitor), Some(used)) = (&mut monitor, used) {
                            let used = used.with_sums(|sums| ranks.sum(sums))?;
                            let shares = used.largest_shares();
                            let collapsed = monitor.observe(&shares);
                            add_routing(&mut line, &shares, &collapsed);
                            if !collapsed.is_empty() {
                                observer.on_routing_collapse(state.step, &collapsed);
                            }
                        }
                        write(&mut metrics, &line)?;
                    }
                }
                Err(TrainError::Diverged { what, .. }) => {
                    self.pass_over(&mut state, &what, healthy.as_ref())?;
                    let line = non_finite_line(state.step, &what, config.non_finite);
                    write(&mut metrics, &line)?;
                    observer.on_non_finite(state.step, &what, config.non_finite);
                }
                Err(other) => return Err(other),
            }
            let step = state.step;
            let now = |every| end || due(step, every);
            let (validation, measured) = self.measure(step, now, &mut metrics, observer)?;
            evaluation = validation.or(evaluation);
            let best_now = state.observe(&measured, config);
            stopped_early = !end && state.out_of_patience(config);
            let end = end || stopped_early;
            let interrupted = self.interrupted(observer)? && !end;
            let save = due(state.step, config.save_steps) || (best_now && config.save_steps > 0);
            if end || save || interrupted {
                let health = CheckpointHealth::new(self.loss(&probe)?, state.first_loss);
                state.checked(health, made);
                if let Some(lock) = &lock {
                    lock.check()?;
                    let folder = self.save(&state)?;
                    observer.on_checkpoint(state.step, &folder);
                    rotate_checkpoints(self.output_dir, config.save_total_limit, &state)?;
                }
                match health.healthy {
                    true if rolls_back => healthy = Some(self.learner.snapshot()),
                    true => {}
                    false => observer.on_unhealthy(state.step, health.loss),
                }
                if interrupted {
                    // Whoever ends first may end all.
                    ranks.barrier()?;
                    let path = checkpoint_folder(self.output_dir, state.step);
                    return Err(TrainError::Interrupted { step: state.step, path });
                }
            }
        }
        let sum_seconds = self.learner.sum_seconds();
        let mut model = self.learner.model().valid();
        ranks.barrier()?;
        if let (true, Some((step, _))) = (config.load_best_model_at_end, state.best)
            && step != state.step
        {
            load_best(&mut model, self.output_dir, step)?;
        }
        if ranks.is_first() {
            save_adapter(&model, self.adapter, self.base_model.as_deref(), self.output_dir)?;
        }
        if evaluation.is_none() && !self.validation.is_empty() {
            evaluation = Some(self.validate(&model)?);
        }
        ranks.barrier()?;
        let seconds = started.elapsed().as_secs_f64();
        let summary = TrainSummary {
            steps: state.step,
            train_loss: last.map_or(f64::NAN, |report| report.loss),
            evaluation,
            best: state.best,
            stopped_early,
            tokens_per_s: tokens as f64 / seconds,
            seconds,
            sum_seconds,
        };
        Ok((model, summary))
    }

    /// The checkpoint to go on from; `None` to start from the beginning, as does a run that ended
    /// before it saved anything.
    fn saved_run(&self, resume: &Resume, metrics: &Path) -> Result<Option<PathBuf>, TrainError> {
        let path = self.output_dir.to_path_buf();
        let finished = path.join(ADAPTER_CONFIG_FILE).exists();
        if resume == &Resume::No {
            let holds_run = finished || latest_checkpoint(&path).is_some();
            return if holds_run { Err(TrainError::OutputExists { path }) } else { Ok(None) };
        }
        match resume.checkpoint(&path)? {
            Some(folder) => Ok(Some(folder)),
            None if finished || !metrics.exists() => Err(TrainError::NothingToResume { path }),
            None => Ok(None),
        }
    }

    /// Brings the learner to where a checkpoint left off.
    fn load(&mut self, resume: &Resume, folder: &Path) -> Result<TrainerState, TrainError> {
        let named = matches!(resume, Resume::From(_));
        load_checkpoint(&mut self.learner, self.adapter, self.training, named, folder)
            .map_err(|error| broken_checkpoint(self.output_dir, folder, error))
    }

    /// The samples of the first step, whose loss tells how healthy later weights are: other samples may
    /// have another loss for no fault of the weights.
    fn probe(&self, plan: &BatchPlan) -> Vec<Sample> {
        let passes = self.training.gradient_accumulation_steps;
        let order = plan.batches(0);
        let indices = order.iter().take(passes).flatten();
        indices.filter_map(|at| self.train.get(*at).cloned()).collect()
    }

    /// Passes over a step whose loss or gradient is not finite, where the run is to and has not
    /// done so too often.
    fn pass_over(
        &mut self,
        state: &mut TrainerState,
        what: &NonFinite,
        healthy: Option<&Snapshot<M>>,
    ) -> Result<(), TrainError> {
        let config = self.training;
        let often = state.non_finite_steps >= config.max_non_finite_steps;
        if config.non_finite == NonFinitePolicy::Error || often {
            let (step, what) = (state.step, what.clone());
            let tried = match config.non_finite {
                NonFinitePolicy::Error => String::new(),
                policy => format!("{} steps were {policy} in vain; ", state.non_finite_steps),
            };
            let remedy = match state.last_healthy {
                Some(step) => format!(
                    "{tried}go on from the last healthy checkpoint with a lower rate: `--resume \
                     {} --set training.learning_rate={:e}`",
                    checkpoint_folder(self.output_dir, step).display(),
                    config.learning_rate / 10.0
                ),
                None => format!(
                    "{tried}there is no healthy checkpoint (`training.save_steps`); {}",
                    TrainError::LOWER_RATE
                ),
            };
            return Err(TrainError::Diverged { step, what, remedy });
        }
        state.non_finite_steps += 1;
        self.learner.pass_over(healthy);
        Ok(())
    }

    /// Refuses a `metric_for_best_model` that nothing measures, before anything is trained.
    fn check_best_metric(&self) -> Result<(), TrainError> {
        let config = self.training;
        let mut names: Vec<_> = self.evaluations.iter().flat_map(|of| of.names()).collect();
        names.push(EVAL_LOSS.to_owned());
        if !names.contains(&config.metric_for_best_model) {
            let key = "training.metric_for_best_model";
            let allowed = format!("one of {}", names.join(", "));
            return Err(TrainError::value(key, &config.metric_for_best_model, allowed));
        }
        let unmeasured = config.metric_for_best_model == EVAL_LOSS && self.validation.is_empty();
        let needed = [
            ("training.early_stopping_patience", config.early_stopping_patience > 0),
            ("training.load_best_model_at_end", config.load_best_model_at_end),
        ];
        match needed.into_iter().find(|(_, asked)| *asked && unmeasured) {
            Some((key, _)) => Err(TrainError::value(
                key,
                "set",
                "unset without validation data (`data.validation`, `data.validation_split`) or \
                 another `training.metric_for_best_model`",
            )),
            None => Ok(()),
        }
    }

    /// Measures all that is due at a step, and writes it down.
    fn measure(
        &mut self,
        step: usize,
        now: impl Fn(usize) -> bool,
        metrics: &mut Option<MetricsLog>,
        observer: &mut dyn TrainObserver,
    ) -> Result<(Option<Evaluation>, Vec<Measurement>), TrainError> {
        let validate = !self.validation.is_empty() && now(self.training.eval_steps);
        if !validate && !self.evaluations.iter().any(|evaluation| now(evaluation.every())) {
            return Ok((None, Vec::new()));
        }
        let model = self.learner.model().valid();
        let mut measured = Vec::new();
        let mut validation = None;
        if validate {
            let result = self.validate(&model)?;
            write(metrics, &evaluation_line(step, &result))?;
            observer.on_evaluation(step, &result);
            let (name, value) = (EVAL_LOSS.to_owned(), result.loss);
            measured.push(Measurement { name, value, higher_is_better: false });
            validation = Some(result);
        }
        for evaluation in &mut self.evaluations {
            if now(evaluation.every()) {
                let found = match self.ranks.is_first() {
                    true => evaluation.measure(&model, step)?,
                    false => Vec::new(),
                };
                let found = measured_by_first(self.ranks, found)?;
                write(metrics, &measurement_line(step, &found))?;
                observer.on_measurements(step, &found);
                measured.extend(found);
            }
        }
        Ok((validation, measured))
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

/// Puts the adapter of the best checkpoint on a model.
fn load_best<M>(model: &mut M, output_dir: &Path, step: usize) -> Result<(), TrainError>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    let folder = checkpoint_folder(output_dir, step);
    let (_, state) = load_adapter(&folder)?;
    load_adapter_state(model, state, &folder.display().to_string())?;
    Ok(())
}

/// Writes a line of metrics where this rank does.
fn write(metrics: &mut Option<MetricsLog>, line: &Value) -> Result<(), TrainError> {
    metrics.as_mut().map_or(Ok(()), |metrics| metrics.write(line))
}

fn due(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}

#[cfg(test)]
mod tests;
