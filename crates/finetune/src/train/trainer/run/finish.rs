use moe_adapter::{Adaptable, AdaptedProjection};

use super::super::TrainSummary;
use super::Run;
use crate::train::checkpoint::{checkpoint_folder, rotate_checkpoints};
use crate::train::{CheckpointHealth, TrainError, TrainingTask};

impl<M, T> Run<'_, '_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Writes a checkpoint of a step, which was `made` or passed over.
    pub(super) fn checkpoint(&mut self, made: bool) -> Result<(), TrainError> {
        let health = CheckpointHealth::new(self.trainer.loss(&self.probe)?, self.state.first_loss);
        self.state.checked(health, made);
        let (trainer, state) = (&self.trainer, &self.state);
        if let Some(lock) = &self.lock {
            lock.check()?;
            let folder = trainer.save(state)?;
            self.observer.on_checkpoint(state.step, &folder);
            rotate_checkpoints(trainer.output_dir, trainer.training.save_total_limit, state)?;
        }
        if !health.healthy {
            self.observer.on_unhealthy(state.step, health.loss);
        } else if self.rolls_back() {
            self.healthy = Some(self.trainer.learner.snapshot());
        }
        Ok(())
    }

    /// How a run ends that was asked to, after its checkpoint.
    pub(super) fn interruption(&self) -> Result<TrainError, TrainError> {
        // Whoever ends first may end all.
        self.trainer.ranks.barrier()?;
        let step = self.state.step;
        let path = checkpoint_folder(self.trainer.output_dir, step);
        Ok(TrainError::Interrupted { step, path })
    }

    /// Writes the adapter of the last step, or of the best one, and returns its model.
    pub(in super::super) fn end(self) -> Result<(M, TrainSummary), TrainError> {
        let Self { trainer, state, started, tokens, mut validation, .. } = self;
        let ranks = trainer.ranks;
        let mut model = trainer.learner.averaged().valid();
        ranks.barrier()?;
        if let (true, Some((step, _))) = (trainer.training.load_best_model_at_end, state.best)
            && step != state.step
        {
            trainer.load_best(&mut model, step)?;
        }
        if ranks.is_first() {
            trainer.folder().write(&model, trainer.output_dir)?;
        }
        if validation.is_none() && !trainer.validation.is_empty() {
            validation = Some(trainer.validate(&model)?);
        }
        ranks.barrier()?;
        let seconds = started.elapsed().as_secs_f64();
        let summary = TrainSummary {
            steps: state.step,
            train_loss: self.last.map_or(f64::NAN, |report| report.loss),
            evaluation: validation,
            best: state.best,
            stopped_early: self.stopped_early,
            tokens_per_s: tokens as f64 / seconds,
            seconds,
            sum_seconds: trainer.learner.sum_seconds(),
        };
        Ok((model, summary))
    }
}
