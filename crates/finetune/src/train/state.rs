use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CheckpointHealth, LrSchedulerType, Plateau, TrainError, TrainingConfig};

/// Where a run stood when its checkpoint was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// The optimiser steps made.
    pub step: usize,
    /// The optimiser steps of the whole run.
    pub total_steps: usize,
    /// The loss of the start on the samples of the first step, without dropout; absent where it is
    /// not finite.
    pub first_loss: Option<f64>,
    /// Whether the checkpoint is one to go on from; absent before there is one.
    pub health: Option<CheckpointHealth>,
    /// The step of the last healthy checkpoint, this one counted.
    pub last_healthy: Option<usize>,
    /// The steps in a row that were skipped, or since the last healthy checkpoint rolled back,
    /// because something was no finite number.
    pub non_finite_steps: usize,
    /// The best value of `metric_for_best_model` so far, and the step at which it was measured.
    pub best: Option<(usize, f64)>,
    /// The evaluations in a row that brought no sufficient gain.
    pub evaluations_without_gain: usize,
    /// The rate of `reduce_lr_on_plateau`, and what it goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Plateau>,
    /// What tells the training data from other data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How the run is trained; a run that resumes must be trained the same way.
    pub training: TrainingConfig,
}

impl TrainerState {
    /// The start of a run.
    pub fn new(training: TrainingConfig) -> Self {
        Self {
            step: 0,
            total_steps: 0,
            first_loss: None,
            health: None,
            last_healthy: None,
            non_finite_steps: 0,
            best: None,
            evaluations_without_gain: 0,
            plateau: (training.lr_scheduler_type == LrSchedulerType::ReduceLrOnPlateau)
                .then(|| Plateau::new(training.learning_rate)),
            data: None,
            training,
        }
    }

    /// Takes in a step that was made. One suffices to end steps that are skipped; what was rolled
    /// back goes wrong again later, so there a healthy checkpoint does.
    pub(super) fn stepped(&mut self, rolls_back: bool) {
        if !rolls_back {
            self.non_finite_steps = 0;
        }
    }

    /// Takes in the health of the checkpoint of its step, which was `made` or passed over.
    pub(super) fn checked(&mut self, health: CheckpointHealth, made: bool) {
        self.health = Some(health);
        if health.healthy {
            self.last_healthy = Some(self.step);
            if made {
                self.non_finite_steps = 0;
            }
        }
    }

    /// Refuses another training than the run's: one that resumes repeats the numbers of an
    /// uninterrupted one only when it is trained alike. Where the user has `named` the checkpoint,
    /// what only the steps to come depend on may differ. `path` names the state in errors.
    pub(super) fn check_same(
        &self,
        now: &TrainingConfig,
        named: bool,
        path: &Path,
    ) -> Result<(), TrainError> {
        let object = |config: &TrainingConfig| {
            // Not to name it is to name the default.
            let precision = Some(config.precision.unwrap_or_default());
            match serde_json::to_value(TrainingConfig { precision, ..config.clone() }) {
                Ok(Value::Object(object)) => object,
                _ => serde_json::Map::new(),
            }
        };
        let (saved, now) = (object(&self.training), object(now));
        // What is at its default may be absent from either.
        let absent = Value::Null;
        let keys: BTreeSet<&String> = saved.keys().chain(now.keys()).collect();
        for key in keys {
            let value = saved.get(key).unwrap_or(&absent);
            let steps_to_come = TrainingConfig::FREE_FROM_NAMED.contains(&key.as_str());
            let free =
                TrainingConfig::FREE_ON_RESUME.contains(&key.as_str()) || (named && steps_to_come);
            let found = now.get(key).unwrap_or(&absent);
            if free || found == value {
                continue;
            }
            let or = match steps_to_come {
                true => "or name the checkpoint (`--resume CHECKPOINT`), or ",
                false => "or ",
            };
            let [value, found] = [value, found].map(|value| match value {
                Value::Null => "not set".to_owned(),
                value => value.to_string(),
            });
            let message = format!(
                "`training.{key}` = {value}, but it is now {found}; restore it, {or}train into \
                 another `training.output_dir`"
            );
            return Err(TrainError::OtherTraining { path: path.into(), message });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fused_ops::Precision;

    #[test]
    fn steps_that_are_not_finite_are_in_a_row_until_one_is_made_or_a_checkpoint_is_healthy() {
        let failed =
            TrainerState { non_finite_steps: 2, ..TrainerState::new(TrainingConfig::default()) };
        let left = |act: &dyn Fn(&mut TrainerState)| {
            let mut state = failed.clone();
            act(&mut state);
            state.non_finite_steps
        };
        assert_eq!(left(&|state| state.stepped(false)), 0);
        assert_eq!(left(&|state| state.stepped(true)), 2);
        let health = |healthy| CheckpointHealth { loss: None, healthy };
        assert_eq!(left(&|state| state.checked(health(true), true)), 0);
        assert_eq!(left(&|state| state.checked(health(true), false)), 2);
        assert_eq!(left(&|state| state.checked(health(false), true)), 2);
    }
    #[test]
    fn a_run_resumes_with_the_precision_that_it_had_named_or_not() {
        let of = |precision| TrainingConfig { precision, ..TrainingConfig::default() };
        let resumed = |before, now| {
            TrainerState::new(of(before)).check_same(&of(now), false, Path::new("state.json"))
        };
        assert!(resumed(None, Some(Precision::F32)).is_ok());
        assert!(resumed(Some(Precision::F32), None).is_ok());
        let refused = resumed(None, Some(Precision::Bf16)).unwrap_err().to_string();
        assert!(refused.contains("`training.precision` = \"f32\""), "{refused}");
        assert!(resumed(Some(Precision::Bf16), None).is_err());
    }
}
