use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{ThresholdMode, TrainError};

/// How the learning rate moves, by the names of transformers' schedulers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    /// It is the same in every step, without a warm-up.
    Constant,
    /// After the warm-up it stays.
    ConstantWithWarmup,
    /// After the warm-up it falls to 0 in a straight line.
    Linear,
    /// After the warm-up it falls to 0 along half a cosine.
    #[default]
    Cosine,
    /// As `cosine`, several times, each from the peak.
    CosineWithRestarts,
    /// As `cosine`, to a rate above 0.
    CosineWithMinLr,
    /// As `cosine_with_min_lr`, with a first step above 0 and a last one at the least rate.
    CosineWarmupWithMinLr,
    /// After the warm-up it falls with a power of what is left.
    Polynomial,
    /// After the warm-up it falls with the root of the step.
    InverseSqrt,
    /// After the warm-up it stays, and falls at the end.
    WarmupStableDecay,
    /// It is reduced when `metric_for_best_model` no longer gains; there is no warm-up.
    ReduceLrOnPlateau,
}

impl LrSchedulerType {
    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::ConstantWithWarmup => "constant_with_warmup",
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::CosineWithRestarts => "cosine_with_restarts",
            Self::CosineWithMinLr => "cosine_with_min_lr",
            Self::CosineWarmupWithMinLr => "cosine_warmup_with_min_lr",
            Self::Polynomial => "polynomial",
            Self::InverseSqrt => "inverse_sqrt",
            Self::WarmupStableDecay => "warmup_stable_decay",
            Self::ReduceLrOnPlateau => "reduce_lr_on_plateau",
        }
    }
}

/// How the rate of `warmup_stable_decay` falls at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DecayType {
    /// In a straight line.
    #[serde(rename = "linear")]
    Linear,
    /// Along half a cosine.
    #[default]
    #[serde(rename = "cosine")]
    Cosine,
    /// With the root of how far it is. Source: Hägele et al., arXiv 2405.18392.
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// `lr_scheduler_kwargs`: what some schedulers know besides, by transformers' names and with its
/// defaults. A key that the scheduler does not know is refused.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LrSchedulerKwargs {
    /// `cosine_with_restarts`: how often it falls. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_cycles: Option<f64>,
    /// `polynomial`: the power. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// `polynomial`: the rate at the end. Default 1e-7.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_end: Option<f64>,
    /// `cosine_with_min_lr`, `cosine_warmup_with_min_lr`: the rate at the end; or `min_lr_rate`.
    /// `reduce_lr_on_plateau`: the least rate. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// `cosine_with_min_lr`, `cosine_warmup_with_min_lr`: the rate at the end as a share of the peak;
    /// or `min_lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr_rate: Option<f64>,
    /// `cosine_warmup_with_min_lr`: the rate of the first step as a share of the peak. Default one over
    /// the steps of the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_lr_rate: Option<f64>,
    /// `inverse_sqrt`: the steps after which the rate would be the peak without a warm-up. Default
    /// the steps of the warm-up, 10,000 without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timescale: Option<usize>,
    /// `warmup_stable_decay`: the steps in which the rate falls, the last ones. Required there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_decay_steps: Option<usize>,
    /// `warmup_stable_decay`: how it falls. Default `cosine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_type: Option<DecayType>,
    /// `warmup_stable_decay`: the rate at the end as a share of the peak. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr_ratio: Option<f64>,
    /// `reduce_lr_on_plateau`: what the rate is multiplied by. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `reduce_lr_on_plateau`: how many evaluations in a row may bring no gain. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// `reduce_lr_on_plateau`: how much better a gain is than the best before. Default 1e-4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// `reduce_lr_on_plateau`: whether that is a share. Default `rel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold_mode: Option<ThresholdMode>,
    /// `reduce_lr_on_plateau`: the evaluations that do not count after the rate was reduced. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<usize>,
    /// `reduce_lr_on_plateau`: the least difference by which the rate is reduced. Default 1e-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
}

impl LrSchedulerKwargs {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what a scheduler with a peak of `learning_rate` does not know, lacks or cannot use.
    pub(super) fn check(
        &self,
        kind: LrSchedulerType,
        learning_rate: f64,
    ) -> Result<(), TrainError> {
        use LrSchedulerType::{
            CosineWarmupWithMinLr, CosineWithMinLr, CosineWithRestarts, InverseSqrt, Polynomial,
            ReduceLrOnPlateau, WarmupStableDecay,
        };
        let to_least = [CosineWithMinLr, CosineWarmupWithMinLr];
        let with_least = [CosineWithMinLr, CosineWarmupWithMinLr, ReduceLrOnPlateau];
        let key = |name: &str| format!("training.lr_scheduler_kwargs.{name}");
        let owners: [(_, _, &[LrSchedulerType]); 16] = [
            ("num_cycles", self.num_cycles.is_some(), &[CosineWithRestarts]),
            ("power", self.power.is_some(), &[Polynomial]),
            ("lr_end", self.lr_end.is_some(), &[Polynomial]),
            ("min_lr", self.min_lr.is_some(), &with_least),
            ("min_lr_rate", self.min_lr_rate.is_some(), &to_least),
            ("warmup_lr_rate", self.warmup_lr_rate.is_some(), &[CosineWarmupWithMinLr]),
            ("timescale", self.timescale.is_some(), &[InverseSqrt]),
            ("num_decay_steps", self.num_decay_steps.is_some(), &[WarmupStableDecay]),
            ("decay_type", self.decay_type.is_some(), &[WarmupStableDecay]),
            ("min_lr_ratio", self.min_lr_ratio.is_some(), &[WarmupStableDecay]),
            ("factor", self.factor.is_some(), &[ReduceLrOnPlateau]),
            ("patience", self.patience.is_some(), &[ReduceLrOnPlateau]),
            ("threshold", self.threshold.is_some(), &[ReduceLrOnPlateau]),
            ("threshold_mode", self.threshold_mode.is_some(), &[ReduceLrOnPlateau]),
            ("cooldown", self.cooldown.is_some(), &[ReduceLrOnPlateau]),
            ("eps", self.eps.is_some(), &[ReduceLrOnPlateau]),
        ];
        if let Some((name, _, owners)) =
            owners.iter().find(|(_, set, owners)| *set && !owners.contains(&kind))
        {
            let names: Vec<_> = owners.iter().map(|owner| format!("`{}`", owner.name())).collect();
            let allowed =
                format!("unset unless `training.lr_scheduler_type` is {}", names.join(" or "));
            return Err(TrainError::value(key(name), "set", allowed));
        }
        let within = |name: &str, value: Option<f64>, range: std::ops::RangeInclusive<f64>| {
            let Some(value) = value.filter(|value| !range.contains(value)) else { return Ok(()) };
            let allowed = match *range.end() == f64::MAX {
                true => format!("a finite number of at least {:e}", range.start()),
                false => format!("from {} to {}", range.start(), range.end()),
            };
            Err(TrainError::value(key(name), value, allowed))
        };
        within("num_cycles", self.num_cycles, 1.0..=f64::MAX)?;
        within("power", self.power, f64::MIN_POSITIVE..=f64::MAX)?;
        within("lr_end", self.lr_end, 0.0..=learning_rate)?;
        within("min_lr", self.min_lr, 0.0..=learning_rate)?;
        within("min_lr_rate", self.min_lr_rate, 0.0..=1.0)?;
        within("min_lr_ratio", self.min_lr_ratio, 0.0..=1.0)?;
        within("warmup_lr_rate", self.warmup_lr_rate, 0.0..=1.0)?;
        within("threshold", self.threshold, 0.0..=f64::MAX)?;
        within("eps", self.eps, 0.0..=f64::MAX)?;
        if let Some(factor) = self.factor.filter(|factor| !(*factor > 0.0 && *factor < 1.0)) {
            return Err(TrainError::value(key("factor"), factor, "above 0 and below 1"));
        }
        if self.timescale == Some(0) {
            return Err(TrainError::value(key("timescale"), 0, "at least 1"));
        }
        if kind == WarmupStableDecay && self.num_decay_steps.is_none() {
            let allowed = "a number of steps for `warmup_stable_decay`";
            return Err(TrainError::value(key("num_decay_steps"), "missing", allowed));
        }
        if to_least.contains(&kind) && self.min_lr.is_some() == self.min_lr_rate.is_some() {
            let found = if self.min_lr.is_some() { "set beside `min_lr_rate`" } else { "missing" };
            let allowed = format!("one of `min_lr` and `min_lr_rate` for `{}`", kind.name());
            return Err(TrainError::value(key("min_lr"), found, allowed));
        }
        Ok(())
    }
}

/// The learning rate of every step of a run.
///
/// With peak `lr`, `w` warm-up steps and `n` steps in all, step `i` (from 0) has `lr * i / w` in the
/// warm-up; then, with the progress `p = (i - w) / (n - w)`,
///
/// ```text
/// lr                                               constant (from step 0), constant_with_warmup
/// lr (1 - p)                                       linear
/// lr (1 + cos(pi p)) / 2                           cosine
/// lr (1 + cos(pi (num_cycles p mod 1))) / 2        cosine_with_restarts
/// lr (m + (1 - m) (1 + cos(pi p)) / 2)             cosine_with_min_lr, m = min_lr_rate or min_lr / lr
/// the same, p = (i - w + 1) / (n - w)              cosine_warmup_with_min_lr
/// lr_end + (lr - lr_end) (1 - p)^power             polynomial
/// lr / sqrt((i + t - w) / t)                       inverse_sqrt, t = timescale
/// lr (m + (1 - m) f)                               warmup_stable_decay, m = min_lr_ratio
/// ```
///
/// where `f` is 1 until the last `num_decay_steps` steps, and in them, with their progress `q`,
/// `1 - q` (`linear`), `(1 + cos(pi q)) / 2` (`cosine`) or `1 - sqrt(q)` (`1-sqrt`); with
/// `min_lr_ratio` the warm-up starts from `m lr` too. The warm-up of `cosine_warmup_with_min_lr` has
/// `lr (i + 1) / w`, or with `v = warmup_lr_rate` `lr (v + (1 - v) i / (w - 1))`. The rate of
/// `reduce_lr_on_plateau` is `lr` here, and [`Plateau`](super::Plateau) reduces it. This is what transformers' schedulers give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The peak.
    pub learning_rate: f64,
    /// What happens after the warm-up.
    pub kind: LrSchedulerType,
    /// What some kinds know besides.
    pub kwargs: LrSchedulerKwargs,
    /// The steps in which the rate rises from 0.
    pub warmup_steps: usize,
    /// All steps of the run.
    pub total_steps: usize,
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        let Self { learning_rate, kind, kwargs, warmup_steps, total_steps } = *self;
        if matches!(kind, LrSchedulerType::Constant | LrSchedulerType::ReduceLrOnPlateau) {
            return learning_rate;
        }
        let to = |least: f64, share: f64| least + (1.0 - least) * share;
        if step < warmup_steps {
            if kind == LrSchedulerType::CosineWarmupWithMinLr {
                let last = warmup_steps.saturating_sub(1).max(1) as f64;
                return learning_rate
                    * match kwargs.warmup_lr_rate {
                        None => (step + 1) as f64 / warmup_steps as f64,
                        Some(first) => to(first, step as f64 / last),
                    };
            }
            return match kwargs.min_lr_ratio {
                None => learning_rate * step as f64 / warmup_steps as f64,
                Some(least) => learning_rate * to(least, step as f64 / warmup_steps as f64),
            };
        }
        let span = total_steps.saturating_sub(warmup_steps).max(1) as f64;
        let progress = ((step - warmup_steps) as f64 / span).min(1.0);
        let factor = match kind {
            LrSchedulerType::Constant
            | LrSchedulerType::ConstantWithWarmup
            | LrSchedulerType::ReduceLrOnPlateau => 1.0,
            LrSchedulerType::Linear => 1.0 - progress,
            LrSchedulerType::Cosine => half_cosine(progress),
            LrSchedulerType::CosineWithRestarts if progress >= 1.0 => 0.0,
            LrSchedulerType::CosineWithRestarts => {
                half_cosine((kwargs.num_cycles.unwrap_or(1.0) * progress).fract())
            }
            LrSchedulerType::CosineWithMinLr | LrSchedulerType::CosineWarmupWithMinLr => {
                let of_peak = kwargs.min_lr.map(|least| least / learning_rate);
                let progress = match kind {
                    LrSchedulerType::CosineWithMinLr => progress,
                    _ => (step + 1 - warmup_steps) as f64 / span,
                };
                to(kwargs.min_lr_rate.or(of_peak).unwrap_or(0.0), half_cosine(progress))
            }
            LrSchedulerType::Polynomial => {
                let end = kwargs.lr_end.unwrap_or(1e-7) / learning_rate;
                to(end, (1.0 - progress).powf(kwargs.power.unwrap_or(1.0)))
            }
            LrSchedulerType::InverseSqrt => {
                let of_warmup = if warmup_steps > 0 { warmup_steps } else { 10_000 };
                let timescale = kwargs.timescale.unwrap_or(of_warmup) as f64;
                (timescale / (step as f64 + timescale - warmup_steps as f64)).sqrt()
            }
            LrSchedulerType::WarmupStableDecay => {
                let decay = kwargs.num_decay_steps.unwrap_or(0);
                let start = total_steps.saturating_sub(decay).max(warmup_steps);
                let least = kwargs.min_lr_ratio.unwrap_or(0.0);
                match step.checked_sub(start) {
                    None => 1.0,
                    Some(into) => {
                        let progress = (into as f64 / decay.max(1) as f64).min(1.0);
                        to(least, kwargs.decay_type.unwrap_or_default().at(progress))
                    }
                }
            }
        };
        learning_rate * factor
    }
}

impl DecayType {
    fn at(self, progress: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - progress,
            Self::Cosine => half_cosine(progress),
            Self::OneMinusSqrt => 1.0 - progress.sqrt(),
        }
    }
}

/// From 1 at 0 to 0 at 1.
fn half_cosine(progress: f64) -> f64 {
    (1.0 + (PI * progress).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates of steps 0, 2, 4, 7, 13, 19 and 24 of 24, from a peak of 2, by transformers 5.24.
    #[test]
    fn rates_are_those_of_transformers() {
        let none = LrSchedulerKwargs::default();
        let stable = |decay_type, min_lr_ratio| LrSchedulerKwargs {
            num_decay_steps: Some(8),
            decay_type,
            min_lr_ratio,
            ..none
        };
        use LrSchedulerType as Kind;
        let cases = [
            (Kind::Constant, none, 4, [2.0; 7]),
            (Kind::ConstantWithWarmup, none, 4, [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]),
            (Kind::Linear, none, 4, [0.0, 1.0, 2.0, 1.7, 1.1, 0.5, 0.0]),
            (Kind::Cosine, none, 4, [0.0, 1.0, 2.0, 1.891006524, 1.156434465, 0.292893219, 0.0]),
            (
                Kind::CosineWithRestarts,
                LrSchedulerKwargs { num_cycles: Some(2.0), ..none },
                4,
                [0.0, 1.0, 2.0, 1.587785252, 0.048943484, 1.0, 0.0],
            ),
            (
                Kind::CosineWithMinLr,
                LrSchedulerKwargs { min_lr: Some(0.5), ..none },
                4,
                [0.0, 1.0, 2.0, 1.918254893, 1.367325849, 0.719669914, 0.5],
            ),
            (
                Kind::CosineWithMinLr,
                LrSchedulerKwargs { min_lr_rate: Some(0.1), ..none },
                4,
                [0.0, 1.0, 2.0, 1.901905872, 1.240791019, 0.463603897, 0.2],
            ),
            (
                Kind::CosineWarmupWithMinLr,
                LrSchedulerKwargs { min_lr_rate: Some(0.1), ..none },
                4,
                [0.5, 1.5, 1.988919507, 1.828115295, 1.1, 0.371884705, 0.211080493],
            ),
            (
                Kind::CosineWarmupWithMinLr,
                LrSchedulerKwargs { min_lr: Some(0.5), warmup_lr_rate: Some(0.25), ..none },
                4,
                [0.5, 1.5, 1.990766255, 1.856762746, 1.25, 0.643237254, 0.509233745],
            ),
            (
                Kind::Polynomial,
                LrSchedulerKwargs { power: Some(2.0), lr_end: Some(0.1), ..none },
                4,
                [0.0, 1.0, 2.0, 1.47275, 0.67475, 0.21875, 0.1],
            ),
            (
                Kind::InverseSqrt,
                none,
                4,
                [0.0, 1.0, 2.0, 1.511857892, 1.109400392, 0.917662935, 0.816496581],
            ),
            (
                Kind::InverseSqrt,
                LrSchedulerKwargs { timescale: Some(7), ..none },
                4,
                [0.0, 1.0, 2.0, 1.673320053, 1.322875656, 1.12815215, 1.018350154],
            ),
            (
                Kind::InverseSqrt,
                none,
                0,
                [2.0, 1.99980003, 1.99960012, 1.999300367, 1.998701266, 1.998102703, 1.997604311],
            ),
            (
                Kind::WarmupStableDecay,
                stable(None, None),
                4,
                [0.0, 1.0, 2.0, 2.0, 2.0, 1.382683432, 0.0],
            ),
            (
                Kind::WarmupStableDecay,
                stable(Some(DecayType::Linear), Some(0.1)),
                4,
                [0.2, 1.1, 2.0, 2.0, 2.0, 1.325, 0.2],
            ),
            (
                Kind::WarmupStableDecay,
                stable(Some(DecayType::OneMinusSqrt), None),
                4,
                [0.0, 1.0, 2.0, 2.0, 2.0, 0.775255129, 0.0],
            ),
        ];
        for (kind, kwargs, warmup_steps, expected) in cases {
            let schedule =
                Schedule { learning_rate: 2.0, kind, kwargs, warmup_steps, total_steps: 24 };
            let found = [0, 2, 4, 7, 13, 19, 24].map(|step| schedule.at(step));
            let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8);
            assert!(close, "{kind:?} {kwargs:?}: {found:?}, expected {expected:?}");
        }
    }
}
