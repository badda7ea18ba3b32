use data::BatchPlan;
use fused_ops::Precision;
use serde::{Deserialize, Serialize};

use super::{
    EVAL_LOSS, LrSchedulerKwargs, LrSchedulerType, NonFinitePolicy, OptimizerKind, ParamGroup,
    Recompute, ReportTo, Schedule, TrainError,
};

/// How to train; keys are those of transformers' `TrainingArguments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// The peak of the learning rate. Default 2e-4.
    pub learning_rate: f64,
    /// How it moves, by the names of transformers: `linear`, `cosine` and so on. Default `cosine`.
    pub lr_scheduler_type: LrSchedulerType,
    /// What some schedulers know besides. Default: nothing.
    #[serde(skip_serializing_if = "LrSchedulerKwargs::is_empty")]
    pub lr_scheduler_kwargs: LrSchedulerKwargs,
    /// The steps of the warm-up; above 0 it takes precedence over `warmup_ratio`. Default 0.
    pub warmup_steps: usize,
    /// The share of all steps that is warm-up. Default 0.03.
    pub warmup_ratio: f64,
    /// How often the data is seen; a fraction is allowed. Default 1.
    pub num_train_epochs: f64,
    /// The number of optimiser steps; above 0 it takes precedence over `num_train_epochs`.
    /// Default 0.
    pub max_steps: usize,
    /// The samples of one forward pass in training. Default 8.
    pub per_device_train_batch_size: usize,
    /// The samples of one forward pass in evaluation. Default 8.
    pub per_device_eval_batch_size: usize,
    /// The most positions of one forward pass in training, padding included: as many samples as have
    /// room at the length of the longest of them, in place of `per_device_train_batch_size`; 0 goes
    /// by that. Default 0.
    pub max_tokens_per_batch: usize,
    /// Whether samples are put one behind the other into rows of at most the longest sample's
    /// length, which saves padding: a batch then holds `per_device_train_batch_size` rows. No sample
    /// sees another of its row. Default false.
    pub packing: bool,
    /// Batches are padded to a length that is a multiple of this, so that a device which tunes
    /// itself to shapes sees fewer of them. Default 1.
    pub pad_to_multiple_of: usize,
    /// The forward passes of one optimiser step. Default 1.
    pub gradient_accumulation_steps: usize,
    /// Of a run of several ranks: from how many MiB of gradients of the last layers on their sum over ranks
    /// begins, while the layers before are differentiated. Default 4.
    pub ddp_bucket_cap_mb: f64,
    /// Which activations are computed again in the backward pass instead of being kept: `none`,
    /// `block` (a layer at a time), `every N` (`N` layers at a time) or `nested N` (of `N` layers what
    /// enters each, then a layer at a time). Losses and gradients are the same. Default `none`.
    pub recompute: Recompute,
    /// How activations are multiplied with frozen weights: `f32`, `tf32` or `bf16`, with sums in f32.
    /// On a CPU `bf16` is for weights held in bfloat16, 8 or 4 bits. It holds for the whole process.
    /// Default: what the process has, `f32` unless it was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The largest norm of the gradient of all parameters together; 0 does not clip. Default 1.
    pub max_grad_norm: f64,
    /// The optimiser: `adamw`, `adafactor`, `lion`, `muon` or `sgd`. Default `adamw`.
    pub optim: OptimizerKind,
    /// The weight decay, on what is trained only; decoupled from the gradient, but for `sgd`.
    /// Default 0.
    pub weight_decay: f64,
    /// The decay of the first moment of AdamW and Lion. Default 0.9.
    pub adam_beta1: f64,
    /// The decay of AdamW's second moment and of Lion's momentum. Default 0.999.
    pub adam_beta2: f64,
    /// AdamW's epsilon. Default 1e-8.
    pub adam_epsilon: f64,
    /// The momentum of `sgd` and `muon`. Default 0 and 0.95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Parameters with a learning rate or weight decay of their own, as those of routers. Default
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub param_groups: Vec<ParamGroup>,
    /// The decay of an exponential moving average of what is trained, which is then what is
    /// evaluated and what the run leaves; 0 takes no average. Default 0.
    pub ema_decay: f64,
    /// Everything random follows from it. Default 42.
    pub seed: u64,
    /// Whether batches hold samples of similar length, which saves padding. Default true.
    pub group_by_length: bool,
    /// A line of metrics every so many steps. Default 10.
    pub logging_steps: usize,
    /// Where metrics go besides `metrics.jsonl`: `tensorboard` writes event files into `runs` in the
    /// output folder. Default nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub report_to: Vec<ReportTo>,
    /// An evaluation every so many steps; 0 evaluates at the end only. Default 0.
    pub eval_steps: usize,
    /// Whether the untrained model is evaluated too. Default false.
    pub eval_on_start: bool,
    /// A checkpoint every so many steps; 0 saves at the end only. Default 0.
    pub save_steps: usize,
    /// The training samples that a start looks at, where it looks at data. Default 64.
    pub calibration_samples: usize,
    /// How many checkpoints are kept, the newest; the best by
    /// `metric_for_best_model` and the last healthy one are kept besides. Default 2.
    pub save_total_limit: usize,
    /// What decides which checkpoint is the best: `eval_loss`, or a metric of `[[evaluation]]` as
    /// `task/metric`, with `,filter` where the task has filters. Default `eval_loss`.
    pub metric_for_best_model: String,
    /// How many evaluations in a row may pass without a better one before training stops early; 0
    /// does not stop. Default 0.
    pub early_stopping_patience: usize,
    /// By how much an evaluation must be better to count for that. Default 0.
    pub early_stopping_threshold: f64,
    /// Whether the adapter that a run leaves is the best checkpoint's, not the last one. Default
    /// false.
    pub load_best_model_at_end: bool,
    /// What is done with a step whose loss or gradient is not finite: `error` ends the run, `skip`
    /// passes it over, `rollback` goes back to the last healthy checkpoint. Default `error`.
    pub non_finite: NonFinitePolicy,
    /// How many such steps in a row are skipped, or rolled back without a healthy checkpoint
    /// between them, before the run ends. Default 5.
    pub max_non_finite_steps: usize,
    /// A warning when one expert of a projection keeps more than this share of the routing weight,
    /// which is looked at in the steps that are logged; 0 does not look. Default 0.9.
    pub routing_collapse_threshold: f64,
    /// For how many logged steps in a row it must, before there is a warning. Default 20.
    pub routing_collapse_steps: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            lr_scheduler_type: LrSchedulerType::Cosine,
            lr_scheduler_kwargs: LrSchedulerKwargs::default(),
            warmup_steps: 0,
            warmup_ratio: 0.03,
            num_train_epochs: 1.0,
            max_steps: 0,
            per_device_train_batch_size: 8,
            per_device_eval_batch_size: 8,
            max_tokens_per_batch: 0,
            packing: false,
            pad_to_multiple_of: 1,
            gradient_accumulation_steps: 1,
            ddp_bucket_cap_mb: 4.0,
            recompute: Recompute::None,
            precision: None,
            max_grad_norm: 1.0,
            optim: OptimizerKind::Adamw,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            momentum: None,
            param_groups: Vec::new(),
            ema_decay: 0.0,
            seed: 42,
            group_by_length: true,
            logging_steps: 10,
            report_to: Vec::new(),
            eval_steps: 0,
            eval_on_start: false,
            save_steps: 0,
            calibration_samples: 64,
            save_total_limit: 2,
            metric_for_best_model: EVAL_LOSS.to_owned(),
            early_stopping_patience: 0,
            early_stopping_threshold: 0.0,
            load_best_model_at_end: false,
            non_finite: NonFinitePolicy::Error,
            max_non_finite_steps: 5,
            routing_collapse_threshold: 0.9,
            routing_collapse_steps: 20,
        }
    }
}

impl TrainingConfig {
    /// Keys that may differ when a run is resumed: they do not change what is learned.
    pub(super) const FREE_ON_RESUME: [&'static str; 15] = [
        "recompute",
        "ddp_bucket_cap_mb",
        "eval_on_start",
        "logging_steps",
        "report_to",
        "eval_steps",
        "save_steps",
        "save_total_limit",
        "metric_for_best_model",
        "early_stopping_patience",
        "early_stopping_threshold",
        "load_best_model_at_end",
        "per_device_eval_batch_size",
        "routing_collapse_threshold",
        "routing_collapse_steps",
    ];

    /// Keys that may differ besides when a run goes on from a checkpoint that the user names: they
    /// change the steps to come only.
    pub(super) const FREE_FROM_NAMED: [&'static str; 9] = [
        "learning_rate",
        "lr_scheduler_type",
        "lr_scheduler_kwargs",
        "warmup_steps",
        "warmup_ratio",
        "max_grad_norm",
        "weight_decay",
        "non_finite",
        "max_non_finite_steps",
    ];

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`TrainError::Value`] naming the key, the value and what is allowed.
    pub fn check(&self) -> Result<(), TrainError> {
        let above_zero = [
            ("training.learning_rate", self.learning_rate),
            ("training.num_train_epochs", self.num_train_epochs),
            ("training.adam_epsilon", self.adam_epsilon),
        ];
        for (key, value) in above_zero {
            if !(value.is_finite() && value > 0.0) {
                return Err(TrainError::value(key, value, "a finite number above 0"));
            }
        }
        let from_zero = [
            ("training.max_grad_norm", self.max_grad_norm),
            ("training.weight_decay", self.weight_decay),
            ("training.early_stopping_threshold", self.early_stopping_threshold),
            ("training.ddp_bucket_cap_mb", self.ddp_bucket_cap_mb),
        ];
        for (key, value) in from_zero {
            if !(value.is_finite() && value >= 0.0) {
                return Err(TrainError::value(key, value, "a finite number of at least 0"));
            }
        }
        let below_one = [
            ("training.warmup_ratio", self.warmup_ratio),
            ("training.adam_beta1", self.adam_beta1),
            ("training.adam_beta2", self.adam_beta2),
            ("training.momentum", self.momentum.unwrap_or(0.0)),
            ("training.ema_decay", self.ema_decay),
            ("training.routing_collapse_threshold", self.routing_collapse_threshold),
        ];
        for (key, value) in below_one {
            if !(0.0..1.0).contains(&value) {
                return Err(TrainError::value(key, value, "at least 0 and below 1"));
            }
        }
        if self.load_best_model_at_end && self.save_steps == 0 {
            let allowed = "above 0 where `training.load_best_model_at_end` is set";
            return Err(TrainError::value("training.save_steps", 0, allowed));
        }
        let counts = [
            ("training.per_device_train_batch_size", self.per_device_train_batch_size),
            ("training.per_device_eval_batch_size", self.per_device_eval_batch_size),
            ("training.pad_to_multiple_of", self.pad_to_multiple_of),
            ("training.gradient_accumulation_steps", self.gradient_accumulation_steps),
            ("training.logging_steps", self.logging_steps),
            ("training.save_total_limit", self.save_total_limit),
            ("training.max_non_finite_steps", self.max_non_finite_steps),
            ("training.routing_collapse_steps", self.routing_collapse_steps),
        ];
        for (key, value) in counts {
            if value == 0 {
                return Err(TrainError::value(key, value, "at least 1"));
            }
        }
        let with_momentum = [OptimizerKind::Sgd, OptimizerKind::Muon];
        if let Some(momentum) = self.momentum
            && !with_momentum.contains(&self.optim)
        {
            let allowed = "unset unless `training.optim` is `sgd` or `muon`";
            return Err(TrainError::value("training.momentum", momentum, allowed));
        }
        if self.packing && self.max_tokens_per_batch > 0 {
            let allowed = "0 with `training.packing`, whose rows are all about as long: set \
                           `training.per_device_train_batch_size`";
            let key = "training.max_tokens_per_batch";
            return Err(TrainError::value(key, self.max_tokens_per_batch, allowed));
        }
        self.lr_scheduler_kwargs.check(self.lr_scheduler_type, self.learning_rate)?;
        self.param_groups.iter().enumerate().try_for_each(|(index, group)| group.check(index))
    }

    /// Which of the samples with `lengths` tokens are in which batch.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] without samples, or when one has more positions than
    /// `max_tokens_per_batch`.
    pub fn plan(&self, lengths: &[usize]) -> Result<BatchPlan, TrainError> {
        let Self { per_device_train_batch_size, max_tokens_per_batch, seed, .. } = *self;
        Ok(match max_tokens_per_batch {
            0 => BatchPlan::new(
                lengths,
                per_device_train_batch_size,
                seed,
                self.group_by_length,
                false,
            )?,
            tokens => BatchPlan::by_tokens(lengths, tokens, self.pad_to_multiple_of, seed)?,
        })
    }

    /// The number of optimiser steps over epochs of `batches_per_epoch` batches.
    pub fn total_steps(&self, batches_per_epoch: usize) -> usize {
        if self.max_steps > 0 {
            return self.max_steps;
        }
        let batches = batches_per_epoch as f64 * self.num_train_epochs;
        ((batches / self.gradient_accumulation_steps as f64).ceil() as usize).max(1)
    }

    /// The learning rates of a run of `total_steps`.
    pub fn schedule(&self, total_steps: usize) -> Schedule {
        let warmup_steps = match self.warmup_steps {
            0 => (self.warmup_ratio * total_steps as f64).ceil() as usize,
            steps => steps,
        };
        Schedule {
            learning_rate: self.learning_rate,
            kind: self.lr_scheduler_type,
            kwargs: self.lr_scheduler_kwargs,
            warmup_steps,
            total_steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        TrainingConfig::default().check().unwrap();
    }

    #[test]
    fn bad_values_are_refused_by_key() {
        let refused = |change: fn(&mut TrainingConfig)| {
            let mut config = TrainingConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(refused(|c| c.learning_rate = -1.0).contains("training.learning_rate"));
        assert!(refused(|c| c.max_grad_norm = f64::NAN).contains("training.max_grad_norm"));
        assert!(refused(|c| c.load_best_model_at_end = true).contains("training.save_steps"));
        assert!(refused(|c| c.warmup_ratio = 1.0).contains("training.warmup_ratio"));
        assert!(refused(|c| c.gradient_accumulation_steps = 0).contains("accumulation"));
        let threshold = refused(|c| c.routing_collapse_threshold = 1.0);
        assert!(threshold.contains("training.routing_collapse_threshold"), "{threshold}");
        assert!(refused(|c| c.pad_to_multiple_of = 0).contains("training.pad_to_multiple_of"));
        assert!(refused(|c| c.ema_decay = 1.0).contains("training.ema_decay"));
        assert!(refused(|c| c.momentum = Some(0.9)).contains("`sgd` or `muon`"));
        let both = |c: &mut TrainingConfig| (c.packing, c.max_tokens_per_batch) = (true, 9);
        assert!(refused(both).contains("training.max_tokens_per_batch"));
        assert!(refused(|c| c.routing_collapse_steps = 0).contains("routing_collapse_steps"));
    }

    #[test]
    fn keys_of_another_scheduler_are_refused() {
        use LrSchedulerType::{Cosine, CosineWithMinLr, Polynomial, WarmupStableDecay};
        let refused = |kind, kwargs| {
            let config = TrainingConfig {
                lr_scheduler_type: kind,
                lr_scheduler_kwargs: kwargs,
                ..TrainingConfig::default()
            };
            config.check().unwrap_err().to_string()
        };
        let none = LrSchedulerKwargs::default();
        let other = refused(Cosine, LrSchedulerKwargs { power: Some(2.0), ..none });
        assert!(other.contains("lr_scheduler_kwargs.power"), "{other}");
        assert!(other.contains("`polynomial`"), "{other}");
        assert!(refused(WarmupStableDecay, none).contains("num_decay_steps"));
        assert!(refused(CosineWithMinLr, none).contains("min_lr"));
        let high = refused(Polynomial, LrSchedulerKwargs { lr_end: Some(1.0), ..none });
        assert!(high.contains("lr_scheduler_kwargs.lr_end"), "{high}");
    }

    #[test]
    fn steps_come_from_epochs_unless_given() {
        let mut config = TrainingConfig { gradient_accumulation_steps: 4, ..Default::default() };
        assert_eq!(config.total_steps(10), 3);
        config.num_train_epochs = 2.0;
        assert_eq!(config.total_steps(10), 5);
        config.max_steps = 7;
        assert_eq!(config.total_steps(10), 7);
    }

    #[test]
    fn warmup_in_steps_takes_precedence_over_its_share() {
        let config = TrainingConfig { warmup_ratio: 0.1, ..Default::default() };
        assert_eq!(config.schedule(100).warmup_steps, 10);
        let config = TrainingConfig { warmup_steps: 3, ..config };
        assert_eq!(config.schedule(100).warmup_steps, 3);
    }
}
