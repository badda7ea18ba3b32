use moe_adapter::{Adaptable, AdaptedProjection};

use super::Run;
use crate::train::lines::{evaluation_line, measurement_line};
use crate::train::together::measured_by_first;
use crate::train::{EVAL_LOSS, Measurement, TrainError, TrainingTask};

impl<M, T> Run<'_, '_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Measures all that is due `now`, of what is due every so many steps, and writes it down.
    pub(super) fn measure(
        &mut self,
        now: impl Fn(usize) -> bool,
    ) -> Result<Vec<Measurement>, TrainError> {
        let (trainer, step) = (&self.trainer, self.state.step);
        let validate = !trainer.validation.is_empty() && now(trainer.training.eval_steps);
        if !validate && !trainer.evaluations.iter().any(|evaluation| now(evaluation.every())) {
            return Ok(Vec::new());
        }
        let model = trainer.learner.averaged().valid();
        let mut measured = Vec::new();
        if validate {
            let result = trainer.validate(&model)?;
            self.write(&evaluation_line(step, &result))?;
            self.observer.on_evaluation(step, &result);
            let (name, value) = (EVAL_LOSS.to_owned(), result.loss);
            measured.push(Measurement { name, value, higher_is_better: false });
            measured.extend(result.measured.iter().cloned());
            self.validation = Some(result);
        }
        for at in 0..self.trainer.evaluations.len() {
            let evaluation = &mut self.trainer.evaluations[at];
            if now(evaluation.every()) {
                let found = evaluation.measure_over(self.trainer.ranks, &model, step)?;
                let found = measured_by_first(self.trainer.ranks, found)?;
                self.write(&measurement_line(step, &found))?;
                self.observer.on_measurements(step, &found);
                measured.extend(found);
            }
        }
        Ok(measured)
    }
}
