use std::path::{Path, PathBuf};

use moe_adapter::{Adaptable, AdaptedProjection, AdapterConfig};

use super::checkpoint::{
    AdapterFolder, load_checkpoint, remove_unfinished, rotate_checkpoints, save_checkpoint,
};
use super::{Learner, TrainError, TrainerState, TrainingConfig, TrainingTask, latest_checkpoint};

/// The checkpoints of a [`Learner`] whose steps no [`Trainer`](super::Trainer) makes: of them the
/// newest is kept.
#[derive(Debug, Clone, Copy)]
pub struct LearnerCheckpoints<'a> {
    /// The folder, which holds nothing else.
    pub folder: &'a Path,
    /// The adapter that the model carries.
    pub adapter: &'a AdapterConfig,
    /// How it is trained: a checkpoint of another training is refused.
    pub training: &'a TrainingConfig,
    /// The optimiser steps of the whole run.
    pub total_steps: usize,
}

impl LearnerCheckpoints<'_> {
    /// Brings a learner, whose model carries a freshly attached adapter, to where the newest
    /// checkpoint left off, and returns its folder; `None` where there is none.
    ///
    /// Its next steps give the numbers that they would have given without the interruption.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the checkpoint cannot be read, or is of another run.
    pub fn resume<M, T>(&self, learner: &mut Learner<M, T>) -> Result<Option<PathBuf>, TrainError>
    where
        M: Adaptable,
        M::Projection: AdaptedProjection,
        T: TrainingTask<M>,
    {
        std::fs::create_dir_all(self.folder).map_err(TrainError::io(self.folder))?;
        remove_unfinished(self.folder)?;
        let Some(path) = latest_checkpoint(self.folder) else { return Ok(None) };
        let state = load_checkpoint(learner, self.adapter, self.training, false, &path)?;
        match state.total_steps == self.total_steps {
            true => Ok(Some(path)),
            false => Err(TrainError::State {
                message: format!(
                    "it is of a run of {} steps, not of {}",
                    state.total_steps, self.total_steps
                ),
                path,
            }),
        }
    }

    /// Writes a checkpoint, with further files by name and text, and removes the one before.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when it cannot be written.
    pub fn save<M, T>(
        &self,
        learner: &Learner<M, T>,
        files: &[(String, String)],
    ) -> Result<(), TrainError>
    where
        M: Adaptable,
        M::Projection: AdaptedProjection,
        T: TrainingTask<M>,
    {
        let state = TrainerState {
            step: learner.steps(),
            total_steps: self.total_steps,
            ..TrainerState::new(self.training.clone())
        };
        let adapter = AdapterFolder { adapter: self.adapter, base_model: None, files };
        save_checkpoint(learner, adapter, &state, self.folder)?;
        rotate_checkpoints(self.folder, 1, &state)
    }
}
