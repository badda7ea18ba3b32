use moe_adapter::{Adaptable, AdaptedProjection};

use super::Trainer;
use crate::train::together::{agree_on, evaluate_over};
use crate::train::{TrainError, TrainObserver, TrainerState, TrainingTask, Validation};

impl<M, T> Trainer<'_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Refuses ranks that would train something else.
    pub(super) fn agree(&self, state: &TrainerState) -> Result<(), TrainError> {
        let json = |value: serde_json::Result<String>| {
            value.map_err(|error| TrainError::State {
                path: self.output_dir.into(),
                message: error.to_string(),
            })
        };
        let settings = vec![
            ("`training.output_dir`", self.output_dir.display().to_string()),
            ("`[training]`", json(serde_json::to_string(self.training))?),
            ("`[adapter]`", json(serde_json::to_string(self.adapter))?),
            ("the step to go on from", state.step.to_string()),
        ];
        agree_on(self.ranks, settings, [&*self.train, &*self.validation], self.learner.model())
    }

    /// Whether any rank was asked to end.
    pub(super) fn interrupted(&self, observer: &mut dyn TrainObserver) -> Result<bool, TrainError> {
        let asked = self.ranks.gather(&[u8::from(observer.interrupts())])?;
        Ok(asked.iter().any(|of| of == &[1]))
    }

    /// The loss on samples, without dropout.
    pub(super) fn loss(&self, samples: &[T::Sample]) -> Result<f64, TrainError> {
        let batch_size = self.training.per_device_train_batch_size;
        let model = self.learner.model().valid();
        let task = self.learner.task();
        Ok(evaluate_over(self.ranks, task, &model, &samples, batch_size)?.loss)
    }

    /// How well a model does on the validation samples.
    pub(super) fn validate(&self, model: &M) -> Result<Validation, TrainError> {
        let batch_size = self.training.per_device_eval_batch_size;
        evaluate_over(self.ranks, self.learner.task(), model, &*self.validation, batch_size)
    }
}
