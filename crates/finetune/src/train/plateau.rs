use serde::{Deserialize, Serialize};

use super::{LrSchedulerKwargs, Measurement};

/// How `threshold` of `reduce_lr_on_plateau` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdMode {
    /// As a share of the best value.
    #[default]
    Rel,
    /// As it is.
    Abs,
}

/// The learning rate of `reduce_lr_on_plateau`, and what it goes by: as PyTorch's `ReduceLROnPlateau`
/// it is multiplied by `factor` after more than `patience` evaluations in a row without a gain.
///
/// A value `v` is a gain over the best one `b` where `v < b (1 - threshold)`, or with
/// `threshold_mode = "abs"` where `v < b - threshold`; of metrics of which more is better, where
/// `v > b (1 + threshold)` or `v > b + threshold`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The rate of the next step.
    pub learning_rate: f64,
    /// The best value so far.
    pub best: Option<f64>,
    /// The evaluations in a row without a gain.
    pub num_bad_epochs: usize,
    /// The evaluations that do not count after the rate was reduced, as far as they are still to come.
    pub cooldown_counter: usize,
}

impl Plateau {
    /// The start of a run.
    pub(super) fn new(learning_rate: f64) -> Self {
        Self { learning_rate, best: None, num_bad_epochs: 0, cooldown_counter: 0 }
    }

    /// Takes in what an evaluation measured.
    pub(super) fn observe(&mut self, measured: &Measurement, kwargs: &LrSchedulerKwargs) {
        let value = measured.value;
        let threshold = kwargs.threshold.unwrap_or(1e-4);
        let gains = |best: f64| {
            let limit = match (kwargs.threshold_mode.unwrap_or_default(), measured.higher_is_better)
            {
                (ThresholdMode::Rel, false) => best * (1.0 - threshold),
                (ThresholdMode::Rel, true) => best * (1.0 + threshold),
                (ThresholdMode::Abs, false) => best - threshold,
                (ThresholdMode::Abs, true) => best + threshold,
            };
            if measured.higher_is_better { value > limit } else { value < limit }
        };
        if value.is_finite() && self.best.is_none_or(gains) {
            self.best = Some(value);
            self.num_bad_epochs = 0;
        } else {
            self.num_bad_epochs += 1;
        }
        if self.cooldown_counter > 0 {
            self.cooldown_counter -= 1;
            self.num_bad_epochs = 0;
        }
        if self.num_bad_epochs > kwargs.patience.unwrap_or(10) {
            let reduced = self.learning_rate * kwargs.factor.unwrap_or(0.1);
            let reduced = reduced.max(kwargs.min_lr.unwrap_or(0.0));
            if self.learning_rate - reduced > kwargs.eps.unwrap_or(1e-8) {
                self.learning_rate = reduced;
            }
            self.cooldown_counter = kwargs.cooldown.unwrap_or(0);
            self.num_bad_epochs = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(higher_is_better: bool, kwargs: LrSchedulerKwargs, values: &[f64]) -> Vec<f64> {
        let mut plateau = Plateau::new(1.0);
        let rates = values.iter().map(|value| {
            let name = "eval_loss".to_owned();
            plateau.observe(&Measurement { name, value: *value, higher_is_better }, &kwargs);
            plateau.learning_rate
        });
        rates.collect()
    }

    /// By torch 2.15.
    #[test]
    fn rates_are_those_of_pytorch() {
        let values = [3.0, 2.5, 2.5, 2.49, 2.6, 2.6, 2.6, 2.6, 2.4, 2.41, 2.41, 2.41];
        let kwargs = LrSchedulerKwargs {
            factor: Some(0.5),
            patience: Some(1),
            cooldown: Some(1),
            min_lr: Some(0.2),
            ..LrSchedulerKwargs::default()
        };
        assert_eq!(
            rates(false, kwargs, &values),
            [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
        );
        let kwargs = LrSchedulerKwargs {
            threshold: Some(0.05),
            threshold_mode: Some(ThresholdMode::Abs),
            min_lr: None,
            cooldown: None,
            ..kwargs
        };
        assert_eq!(
            rates(true, kwargs, &values),
            [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625, 0.03125, 0.03125]
        );
    }

    #[test]
    fn what_is_no_number_is_no_gain() {
        let kwargs = LrSchedulerKwargs { patience: Some(0), ..LrSchedulerKwargs::default() };
        let kwargs = LrSchedulerKwargs { factor: Some(0.5), ..kwargs };
        assert_eq!(rates(false, kwargs, &[f64::NAN, 1.0, f64::INFINITY]), [0.5, 0.5, 0.25]);
    }
}
