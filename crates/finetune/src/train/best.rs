use super::{Measurement, TrainerState, TrainingConfig};

impl TrainerState {
    /// Takes in what was measured at the state's step; whether it is the best so far.
    pub(super) fn observe(&mut self, measured: &[Measurement], config: &TrainingConfig) -> bool {
        let name = &config.metric_for_best_model;
        let Some(found) = measured.iter().find(|measured| &measured.name == name) else {
            return false;
        };
        if let Some(plateau) = &mut self.plateau {
            plateau.observe(found, &config.lr_scheduler_kwargs);
        }
        if !found.value.is_finite() {
            self.evaluations_without_gain += 1;
            return false;
        }
        let better_by = |best: f64| {
            if found.higher_is_better { found.value - best } else { best - found.value }
        };
        let gain = self.best.map_or(f64::INFINITY, |(_, best)| better_by(best));
        if gain > config.early_stopping_threshold {
            self.evaluations_without_gain = 0;
        } else {
            self.evaluations_without_gain += 1;
        }
        let best = gain > 0.0;
        if best {
            self.best = Some((self.step, found.value));
        }
        best
    }

    /// Whether training has gone on in vain for as long as it may.
    pub(super) fn out_of_patience(&self, config: &TrainingConfig) -> bool {
        config.early_stopping_patience > 0
            && self.evaluations_without_gain >= config.early_stopping_patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(value: f64) -> [Measurement; 1] {
        [Measurement { name: "a/acc".into(), value, higher_is_better: true }]
    }

    #[test]
    fn patience_counts_evaluations_without_a_sufficient_gain() {
        let config = TrainingConfig {
            metric_for_best_model: "a/acc".into(),
            early_stopping_patience: 2,
            early_stopping_threshold: 0.05,
            ..TrainingConfig::default()
        };
        let mut state = TrainerState { total_steps: 9, ..TrainerState::new(config.clone()) };
        let mut at = |step, value| {
            state.step = step;
            (state.observe(&accuracy(value), &config), state.out_of_patience(&config), state.best)
        };
        assert_eq!(at(1, 0.5), (true, false, Some((1, 0.5))));
        assert_eq!(at(2, 0.52), (true, false, Some((2, 0.52))));
        assert_eq!(at(3, 0.6), (true, false, Some((3, 0.6))));
        assert_eq!(at(4, 0.6), (false, false, Some((3, 0.6))));
        assert_eq!(at(5, 0.61), (true, true, Some((5, 0.61))));
    }

    #[test]
    fn what_is_no_number_is_never_the_best() {
        let config = TrainingConfig {
            metric_for_best_model: "a/acc".into(),
            early_stopping_patience: 1,
            ..TrainingConfig::default()
        };
        let mut state = TrainerState::new(config.clone());
        assert!(!state.observe(&accuracy(f64::NAN), &config));
        assert!(state.best.is_none() && state.out_of_patience(&config));
        assert!(state.observe(&accuracy(0.1), &config));
    }

    #[test]
    fn other_metrics_and_losses_decide_by_their_direction() {
        let config = TrainingConfig { early_stopping_patience: 1, ..TrainingConfig::default() };
        let mut state = TrainerState::new(config.clone());
        assert!(!state.observe(&accuracy(1.0), &config));
        let loss = |value| {
            [Measurement { name: super::super::EVAL_LOSS.into(), value, higher_is_better: false }]
        };
        assert!(state.observe(&loss(2.0), &config));
        assert!(state.observe(&loss(1.5), &config));
        assert!(!state.observe(&loss(1.6), &config));
        assert!(state.out_of_patience(&config));
        assert_eq!(state.best.map(|(_, loss)| loss), Some(1.5));
    }
}
