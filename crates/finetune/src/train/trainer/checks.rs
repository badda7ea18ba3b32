use moe_adapter::{Adaptable, AdaptedProjection};

use super::Trainer;
use crate::train::{EVAL_LOSS, LrSchedulerType, TrainError, TrainingTask};

impl<M, T> Trainer<'_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Refuses a `metric_for_best_model` that nothing measures, before anything is trained.
    pub(super) fn check_best_metric(&self) -> Result<(), TrainError> {
        let config = self.training;
        let mut of_validation = vec![EVAL_LOSS.to_owned()];
        of_validation.extend(self.learner.task().measures());
        let mut names = of_validation.clone();
        names.extend(self.evaluations.iter().flat_map(|of| of.names()));
        if !names.contains(&config.metric_for_best_model) {
            let key = "training.metric_for_best_model";
            let allowed = format!("one of {}", names.join(", "));
            return Err(TrainError::value(key, &config.metric_for_best_model, allowed));
        }
        let unmeasured =
            of_validation.contains(&config.metric_for_best_model) && self.validation.is_empty();
        let needed = [
            ("training.early_stopping_patience", config.early_stopping_patience > 0),
            ("training.load_best_model_at_end", config.load_best_model_at_end),
            (
                "training.lr_scheduler_type = \"reduce_lr_on_plateau\"",
                config.lr_scheduler_type == LrSchedulerType::ReduceLrOnPlateau,
            ),
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
}
