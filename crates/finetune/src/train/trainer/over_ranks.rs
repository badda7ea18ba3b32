use data::Sample;
use evaluation::Evaluation;
use model_zoo::CausalLm;
use moe_adapter::AdaptedProjection;

use super::Trainer;
use crate::train::together::{agree_on, evaluate_over};
use crate::train::{TrainError, TrainObserver, TrainerState};

impl<M> Trainer<'_, M>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    /// Refuses more ranks than a step has passes.
    pub(super) fn check_ranks(&self) -> Result<(), TrainError> {
        let (size, passes) = (self.ranks.size(), self.training.gradient_accumulation_steps);
        if passes >= size {
            return Ok(());
        }
        let key = "training.gradient_accumulation_steps";
        let allowed = format!(
            "at least {size}, the number of ranks: they share the forward passes of a step"
        );
        Err(TrainError::value(key, passes, allowed))
    }

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
        agree_on(self.ranks, settings, [self.train, self.validation], self.learner.model())
    }

    /// Whether any rank was asked to end.
    pub(super) fn interrupted(&self, observer: &mut dyn TrainObserver) -> Result<bool, TrainError> {
        let asked = self.ranks.gather(&[u8::from(observer.interrupts())])?;
        Ok(asked.iter().any(|of| of == &[1]))
    }

    /// The loss on samples, without dropout.
    pub(super) fn loss(&self, samples: &[Sample]) -> Result<f64, TrainError> {
        let batch_size = self.training.per_device_train_batch_size;
        let model = self.learner.model().valid();
        Ok(evaluate_over(self.ranks, &model, samples, batch_size)?.loss)
    }

    /// The loss on the validation samples.
    pub(super) fn validate(&self, model: &M) -> Result<Evaluation, TrainError> {
        let batch_size = self.training.per_device_eval_batch_size;
        evaluate_over(self.ranks, model, self.validation, batch_size)
    }
}
