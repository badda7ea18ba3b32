use std::path::Path;
use std::time::{Duration, Instant};

use balance_loss::BalanceLoss;
use model_zoo::CausalLm;
use moe_adapter::{Adaptable, AdapterConfig};
use ranks::Ranks;
use router::RoutingTape;
use tensor_files::TensorTable;

use super::clip::{gradient_scale, squared_norm};
use super::numbers_found::NumbersFound;
use super::optimizer::AdapterOptimizer;
use super::rank_buckets::{Found, RankBuckets};
use super::rank_sum::RankSums;
use super::running_state::{running_state, with_running_state};
use super::together::numbers;
use super::{
    CausalTask, NonFinite, OptimizerConfig, Pass, Recompute, Share, TrainError, TrainingConfig,
    TrainingTask,
};

/// What a [`Learner`] needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The largest norm of the gradient; 0 does not clip.
    pub max_grad_norm: f64,
    /// The seed of what is random inside a step.
    pub seed: u64,
    /// What is computed again in the backward pass.
    pub recompute: Recompute,
    /// How many tokens go through the second half of a layer at once where `"nested N"` computes it again;
    /// `None` for all of them, as it has to be with routers, which see all tokens, and with dropout, which
    /// each slice would draw anew.
    pub recompute_slice: Option<usize>,
    /// From how many MiB of gradients of the last layers on ranks sum them, while those of the layers before
    /// are computed.
    pub ddp_bucket_cap_mb: f64,
}

/// Long enough for products to be fast, short beside the sequences for which memory is short.
const RECOMPUTE_SLICE: usize = 1024;

impl LearnerConfig {
    /// How a run trains the adapter of a configuration.
    pub fn new(training: &TrainingConfig, adapter: &AdapterConfig) -> Self {
        let mut config = Self::from(training);
        config.optimizer.loraplus_lr_ratio = adapter.loraplus_lr_ratio;
        let alone = adapter.lora_dropout == 0.0 && !adapter.is_mixture();
        config.recompute_slice = alone.then_some(RECOMPUTE_SLICE);
        config
    }
}

impl From<&TrainingConfig> for LearnerConfig {
    fn from(config: &TrainingConfig) -> Self {
        Self {
            optimizer: config.into(),
            max_grad_norm: config.max_grad_norm,
            seed: config.seed,
            recompute: config.recompute,
            recompute_slice: None,
            ddp_bucket_cap_mb: config.ddp_bucket_cap_mb,
        }
    }
}

/// What one optimiser step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The mean loss of the targets; of tokens and classes the cross-entropy, in nats.
    pub loss: f64,
    /// The balance loss with its coefficient; absent without one.
    pub balance_loss: Option<f64>,
    /// The norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The real tokens that passed through the model.
    pub tokens: usize,
}

/// What a step changes.
pub(super) struct Snapshot<M> {
    model: M,
    optimizer: AdapterOptimizer,
}

/// A model, what it is trained for, its optimiser and its balance loss: makes optimiser steps.
pub struct Learner<M, T = CausalTask> {
    task: T,
    model: M,
    optimizer: AdapterOptimizer,
    balance: Option<Box<dyn BalanceLoss>>,
    config: LearnerConfig,
    /// Of a run of several ranks.
    buckets: Option<RankBuckets>,
    steps: usize,
    sum_seconds: f64,
}

impl<M: CausalLm> Learner<M> {
    /// A learner of the next token for what is trainable in `model`, which is moved onto an autodiff
    /// device.
    ///
    /// # Errors
    ///
    /// [`TrainError::Value`] for a group of parameters that names none.
    pub fn new(
        model: M,
        balance: Option<Box<dyn BalanceLoss>>,
        config: LearnerConfig,
    ) -> Result<Self, TrainError> {
        Self::for_task(CausalTask::default(), model, balance, config)
    }
}

impl<M: Adaptable, T: TrainingTask<M>> Learner<M, T> {
    /// As [`new`](Learner::new), for another task.
    ///
    /// # Errors
    ///
    /// As [`new`](Learner::new).
    pub fn for_task(
        task: T,
        model: M,
        balance: Option<Box<dyn BalanceLoss>>,
        config: LearnerConfig,
    ) -> Result<Self, TrainError> {
        let model = model.train();
        let optimizer = AdapterOptimizer::new(&model, &config.optimizer)?;
        Ok(Self {
            task,
            model,
            optimizer,
            balance,
            config,
            buckets: None,
            steps: 0,
            sum_seconds: 0.0,
        })
    }

    /// What the model is trained for.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// The model as it is, on its autodiff device.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model to evaluate, and to keep: with the average of what is trained, where one is taken.
    pub fn averaged(&self) -> M {
        self.optimizer.averaged(&self.model)
    }

    pub(super) fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// How many steps were made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The time that its steps waited for sums over ranks, and so for other ranks, after their passes.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }

    pub(super) fn optimizer(&self) -> &AdapterOptimizer {
        &self.optimizer
    }

    /// Continues after `steps` steps of another learner, with the state of its optimiser, which
    /// `path` names in errors.
    pub(super) fn continue_from(
        &mut self,
        optimizer: TensorTable,
        path: &Path,
        steps: usize,
    ) -> Result<(), TrainError> {
        self.model = self.optimizer.load(self.model.clone(), optimizer, path)?;
        self.steps = steps;
        Ok(())
    }

    /// The model and the state of its optimiser, to come back to.
    pub(super) fn snapshot(&self) -> Snapshot<M> {
        Snapshot { model: self.model.clone(), optimizer: self.optimizer.clone() }
    }

    /// Counts a step that changes nothing, or goes back to a snapshot.
    pub(super) fn pass_over(&mut self, back_to: Option<&Snapshot<M>>) {
        if let Some(Snapshot { model, optimizer }) = back_to {
            self.model = model.clone();
            self.optimizer = optimizer.clone();
        }
        self.steps += 1;
    }

    /// One optimiser step on the mean loss of all targets of `batches`, which pass through the
    /// model one after the other, plus the mean of their balance losses.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the balance loss lacks what it needs, or the loss or a gradient is not
    /// finite; the model is then unchanged.
    pub fn step(
        &mut self,
        batches: &[T::Batch],
        learning_rate: f64,
    ) -> Result<StepReport, TrainError> {
        self.step_share(&Share::whole(batches), learning_rate, None)
    }

    /// As [`step`](Self::step) over several ranks, of which each makes its share of the passes: all
    /// have the same model afterwards, and report the same. Shows `watch` the recorded tape of each
    /// forward pass, as for analytics. What it makes of a tape should stay on the device: reading
    /// waits for the device.
    ///
    /// What ranks do together are sums in pairs ([`PairwiseSum`](ranks::PairwiseSum)): where each has
    /// equally many passes, a power of two, the numbers do not depend on how many ranks there are.
    /// Running state of routers moves once a step, from where it was before by the mean of the moves of all passes.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step), and when ranks cannot go on together.
    pub fn step_share(
        &mut self,
        share: &Share<'_, T::Batch>,
        learning_rate: f64,
        mut watch: Option<&mut dyn FnMut(&RoutingTape)>,
    ) -> Result<StepReport, TrainError> {
        let Share { ranks, batches, first, passes, targets, tokens } = *share;
        // Routers with running state move it in the forward pass.
        let before = self.model.clone();
        let stateful = passes > 1 && running_state(&before).is_some();
        // With a seed for each step, a resumed run draws the same numbers.
        let step_seed = self.config.seed.wrapping_add(self.steps as u64);
        if ranks.size() > 1 && self.buckets.is_none() {
            let layers = self.task.layers(&self.model);
            let bytes = (self.config.ddp_bucket_cap_mb * f64::from(1 << 20)) as usize;
            self.buckets = Some(RankBuckets::new(&self.model, &layers, bytes));
        }
        let one = RankBuckets::default();
        let buckets = self.buckets.as_ref().unwrap_or(&one);
        let whole = Pass {
            balance: self.balance.as_deref().map(|balance| (balance, 1.0 / passes.max(1) as f64)),
            scale: 1.0 / targets.max(1) as f64,
            recompute: self.config.recompute,
            recompute_slice: self.config.recompute_slice,
            cuts: &[],
            record: watch.is_some(),
            seed: step_seed,
        };
        let mut numbers = NumbersFound::default();
        let mut waited = Duration::ZERO;
        let Found { gradients: grads, state } = std::thread::scope(|scope| {
            let mut sums = RankSums::begin(scope, ranks, &self.model, buckets, batches.len());
            for (at, batch) in batches.iter().enumerate() {
                let seed = step_seed.rotate_left(32) ^ (first + at) as u64;
                // Backends without a dropout of ours draw from the device's generator.
                self.task.device(&self.model).seed(seed);
                let own = stateful.then(|| before.clone());
                let model = own.as_ref().unwrap_or(&self.model);
                // Sums over ranks begin with the gradients of the last pass.
                let cuts = if at + 1 == batches.len() { buckets.cuts() } else { &[] };
                let pass = Pass { seed, cuts, ..whole };
                let found =
                    sums.pass(|found| self.task.differentiate(model, batch, &pass, found))?;
                if let Some(state) = stateful.then(|| running_state(model)).flatten() {
                    sums.state(state);
                }
                if let Some(watch) = &mut watch {
                    watch(&found.tape);
                }
                numbers.push(found.losses, found.scale, found.balance_loss);
            }
            // The first that ranks wait for each other for.
            let started = Instant::now();
            let found = sums.finish(&self.task.device(&self.model).inner());
            waited = started.elapsed();
            found
        })?;
        self.sum_seconds += waited.as_secs_f64();
        // The one time that the host waits for the device.
        let (losses, square) = numbers.read(squared_norm(&self.model, &grads));
        let (loss, balance_loss) = summed(ranks, &losses)?;
        let (total, grad_norm) = (loss + balance_loss.unwrap_or(0.0), square.sqrt());
        if !(total.is_finite() && grad_norm.is_finite()) {
            let what = NonFinite::find(total, &self.model, &grads);
            self.model = before;
            return Err(TrainError::Diverged {
                step: self.steps + 1,
                what,
                remedy: TrainError::LOWER_RATE.into(),
            });
        }
        if let Some(state) = state {
            self.model = with_running_state(self.model.clone(), state / passes as f64);
        }
        let scale = gradient_scale(grad_norm, self.config.max_grad_norm);
        self.model = self.optimizer.step(learning_rate, self.model.clone(), grads, scale);
        self.steps += 1;
        Ok(StepReport { loss, balance_loss, grad_norm, tokens })
    }
}

/// The losses and balance losses of all passes of all ranks, added up in their order.
fn summed(ranks: &dyn Ranks, own: &[(f64, Option<f64>)]) -> Result<(f64, Option<f64>), TrainError> {
    let bytes: Vec<u8> = own
        .iter()
        .flat_map(|(loss, balance)| {
            [loss.to_bits(), u64::from(balance.is_some()), balance.unwrap_or_default().to_bits()]
        })
        .flat_map(u64::to_le_bytes)
        .collect();
    let (mut loss, mut balance_loss) = (0.0, None);
    for bytes in ranks.gather(&bytes)? {
        for pass in numbers(&bytes).as_chunks::<3>().0 {
            loss += f64::from_bits(pass[0]);
            if pass[1] == 1 {
                *balance_loss.get_or_insert(0.0) += f64::from_bits(pass[2]);
            }
        }
    }
    Ok((loss, balance_loss))
}
