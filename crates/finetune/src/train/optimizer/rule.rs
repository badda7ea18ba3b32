use burn::optim::{
    Adafactor, AdafactorConfig, AdafactorState, AdamW, AdamWConfig, AdamWState,
    AdaptiveMomentumState, Lion, LionConfig, LionState, Optimizer,
};
use burn::tensor::{DType, Tensor};
use fused_ops::AdamWStep;
use quantization::DynamicBlocks;

use super::moments::{Moments, SMALLEST_PACKED};
use super::muon::muon_update;
use super::{OptimizerConfig, OptimizerKind};

/// A tensor that a file holds of a parameter's state: name, shape and type.
pub(super) type Part = (&'static str, Vec<usize>, DType);

/// Steps AdamW makes of a parameter.
#[derive(Clone)]
pub(super) struct AdamWRule {
    adamw: AdamW,
    /// The numbers of `adamw`, for devices that have kernels for its steps.
    pub(super) numbers: AdamWStep,
}

/// What a step makes of a parameter and its gradient.
#[derive(Clone)]
pub(super) enum Rule {
    AdamW(AdamWRule),
    /// The same, with moments in 8 bits between steps.
    AdamW8bit(AdamWRule),
    Adafactor(Adafactor),
    Lion(Lion),
    Muon {
        momentum: f64,
        weight_decay: f64,
        others: AdamWRule,
    },
    Sgd {
        momentum: f64,
        weight_decay: f64,
    },
}

impl Rule {
    /// The rule of an optimiser, with a weight decay of its own.
    pub(super) fn new(config: &OptimizerConfig, weight_decay: f64) -> Self {
        let [beta1, beta2] = [config.beta1 as f32, config.beta2 as f32];
        match config.kind {
            OptimizerKind::Adamw => Self::AdamW(AdamWRule::new(config, weight_decay)),
            OptimizerKind::Adamw8bit => Self::AdamW8bit(AdamWRule::new(config, weight_decay)),
            OptimizerKind::Adafactor => Self::Adafactor(
                AdafactorConfig::new()
                    .with_relative_step(false)
                    .with_scale_parameter(false)
                    .with_weight_decay(weight_decay as f32)
                    .build(),
            ),
            OptimizerKind::Lion => Self::Lion(
                LionConfig::new()
                    .with_beta_1(beta1)
                    .with_beta_2(beta2)
                    .with_weight_decay(weight_decay as f32)
                    .build(),
            ),
            OptimizerKind::Muon => Self::Muon {
                momentum: config.momentum.unwrap_or(0.95),
                weight_decay,
                others: AdamWRule::new(config, weight_decay),
            },
            OptimizerKind::Sgd => {
                Self::Sgd { momentum: config.momentum.unwrap_or(0.0), weight_decay }
            }
        }
    }

    /// The parameter after a step, and what is known of it then.
    pub(super) fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        moments: Option<Moments<D>>,
    ) -> (Tensor<D>, Moments<D>) {
        let time = moments.as_ref().map_or(0, |moments| moments.time) + 1;
        match self {
            Self::AdamW(rule) => rule.step(learning_rate, tensor, grad, moments),
            Self::AdamW8bit(rule) => {
                let moments = moments.map(|moments| moments.unpacked(&tensor));
                let (tensor, moments) = rule.step(learning_rate, tensor, grad, moments);
                (tensor, moments.packed())
            }
            Self::Adafactor(rule) => {
                let state = moments.and_then(|Moments { time, first, second, .. }| {
                    let (second_moment, column_second_moment) = (first?, second);
                    Some(AdafactorState { time, second_moment, column_second_moment })
                });
                let (tensor, state) = rule.step(learning_rate, tensor, grad, state);
                let [first, second] = match state {
                    Some(state) => [Some(state.second_moment), state.column_second_moment],
                    None => [None, None],
                };
                (tensor, Moments::new(time, first, second))
            }
            Self::Lion(rule) => {
                let momentum = moments.and_then(|moments| moments.first);
                let state = momentum.map(|momentum| LionState { momentum });
                let (tensor, state) = rule.step(learning_rate, tensor, grad, state);
                (tensor, Moments::new(time, state.map(|state| state.momentum), None))
            }
            Self::Muon { others, .. } if D < 2 => others.step(learning_rate, tensor, grad, moments),
            Self::Muon { momentum, weight_decay, .. } => {
                let before = moments.and_then(|moments| moments.first);
                let (update, first) = muon_update(grad, before, *momentum);
                let tensor = tensor * (1.0 - learning_rate * weight_decay);
                (tensor - update * learning_rate, Moments::new(time, first, None))
            }
            Self::Sgd { momentum, weight_decay } => {
                let grad = match *weight_decay {
                    0.0 => grad,
                    decay => grad + tensor.clone() * decay,
                };
                if *momentum == 0.0 {
                    return (tensor - grad * learning_rate, Moments::new(time, None, None));
                }
                let first = match moments.and_then(|moments| moments.first) {
                    Some(before) => before * *momentum + grad,
                    None => grad,
                };
                let tensor = tensor - first.clone() * learning_rate;
                (tensor, Moments::new(time, first, None))
            }
        }
    }

    /// What torch calls the moments of a parameter of this shape, or bitsandbytes those in 8 bits,
    /// with their shapes and types: those of [`Moments::data`].
    pub(super) fn parts(&self, shape: &[usize]) -> Vec<Part> {
        let elements = shape.iter().product::<usize>();
        if matches!(self, Self::AdamW8bit(_)) && elements >= SMALLEST_PACKED {
            let codes = |name| (name, shape.to_vec(), DType::U8);
            let scales = |name| (name, vec![DynamicBlocks::blocks(elements)], DType::F32);
            return vec![codes("state1"), codes("state2"), scales("absmax1"), scales("absmax2")];
        }
        let whole = |name| (name, shape.to_vec(), DType::F32);
        let matrix = shape.len() >= 2;
        match self {
            Self::AdamW(_) | Self::AdamW8bit(_) => vec![whole("exp_avg"), whole("exp_avg_sq")],
            Self::Muon { .. } if !matrix => vec![whole("exp_avg"), whole("exp_avg_sq")],
            Self::Adafactor(_) if matrix => {
                let without = |axis: usize| {
                    let mut shape = shape.to_vec();
                    shape[axis] = 1;
                    shape
                };
                let (rows, columns) = (shape.len() - 2, shape.len() - 1);
                let part = |name, axis| (name, without(axis), DType::F32);
                vec![part("exp_avg_sq_row", columns), part("exp_avg_sq_col", rows)]
            }
            Self::Adafactor(_) => vec![whole("exp_avg_sq")],
            Self::Lion(_) => vec![whole("exp_avg")],
            Self::Sgd { momentum: 0.0, .. } => Vec::new(),
            Self::Muon { .. } | Self::Sgd { .. } => vec![whole("momentum_buffer")],
        }
    }
}

impl AdamWRule {
    fn new(config: &OptimizerConfig, weight_decay: f64) -> Self {
        let numbers = AdamWStep {
            gradient_scale: 1.0,
            learning_rate: 0.0,
            beta1: config.beta1,
            beta2: config.beta2,
            epsilon: config.epsilon,
            weight_decay,
            time: 0,
        };
        let adamw = AdamWConfig::new()
            .with_beta_1(numbers.beta1 as f32)
            .with_beta_2(numbers.beta2 as f32)
            .with_epsilon(numbers.epsilon as f32)
            .with_weight_decay(numbers.weight_decay as f32)
            .build();
        Self { adamw, numbers }
    }

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        moments: Option<Moments<D>>,
    ) -> (Tensor<D>, Moments<D>) {
        let time = moments.as_ref().map_or(0, |known| known.time) + 1;
        let state = moments.and_then(|Moments { time, first, second, .. }| {
            let (moment_1, moment_2) = (first?, second?);
            let momentum = AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None };
            Some(AdamWState { momentum })
        });
        let (tensor, state) = self.adamw.step(learning_rate, tensor, grad, state);
        let [first, second] = match state {
            Some(AdamWState { momentum }) => [Some(momentum.moment_1), Some(momentum.moment_2)],
            None => [None, None],
        };
        (tensor, Moments::new(time, first, second))
    }
}
