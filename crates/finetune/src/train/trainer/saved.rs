use std::path::{Path, PathBuf};

use moe_adapter::{
    ADAPTER_CONFIG_FILE, Adaptable, AdaptedProjection, load_adapter, load_adapter_state,
};

use super::Trainer;
use crate::train::checkpoint::{
    AdapterFolder, STATE_FILE, checkpoint_folder, load_checkpoint, save_checkpoint,
};
use crate::train::{
    Resume, TrainError, TrainerState, TrainingTask, broken_checkpoint, latest_checkpoint,
};

impl<M, T> Trainer<'_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// The checkpoint to go on from; `None` to start from the beginning, as does a run that ended
    /// before it saved anything.
    pub(super) fn saved_run(
        &self,
        resume: &Resume,
        metrics: &Path,
    ) -> Result<Option<PathBuf>, TrainError> {
        let path = self.output_dir.to_path_buf();
        let finished = path.join(ADAPTER_CONFIG_FILE).exists();
        if resume == &Resume::No {
            let holds_run = finished || latest_checkpoint(&path).is_some();
            return if holds_run { Err(TrainError::OutputExists { path }) } else { Ok(None) };
        }
        match resume.checkpoint(&path)? {
            Some(folder) => Ok(Some(folder)),
            None if finished || !metrics.exists() => Err(TrainError::NothingToResume { path }),
            None => Ok(None),
        }
    }

    /// Brings the learner to where a checkpoint left off, of a run that begins as `fresh`.
    pub(super) fn load(
        &mut self,
        resume: &Resume,
        folder: &Path,
        fresh: &TrainerState,
    ) -> Result<TrainerState, TrainError> {
        let TrainerState { total_steps, data, .. } = fresh;
        let named = matches!(resume, Resume::From(_));
        let state = load_checkpoint(&mut self.learner, self.adapter, self.training, named, folder)
            .map_err(|error| broken_checkpoint(self.output_dir, folder, error))?;
        if state.total_steps != *total_steps {
            return Err(TrainError::State {
                path: folder.to_path_buf(),
                message: format!(
                    "the run to resume has {} steps, but with this data it would have \
                     {total_steps}; the training data must be the same",
                    state.total_steps
                ),
            });
        }
        if let (false, Some(then), Some(now)) = (named, &state.data, data)
            && then != now
        {
            return Err(TrainError::OtherTraining {
                path: folder.join(STATE_FILE),
                message: format!(
                    "other training data, {then}, but `[data]` now gives {now}; restore it, or name \
                     the checkpoint (`--resume CHECKPOINT`), or train into another \
                     `training.output_dir`"
                ),
            });
        }
        Ok(TrainerState { data: data.clone(), ..state })
    }

    /// Writes the checkpoint of a state.
    pub(super) fn save(&self, state: &TrainerState) -> Result<PathBuf, TrainError> {
        save_checkpoint(&self.learner, self.folder(), state, self.output_dir)
    }

    /// What the folder of an adapter holds.
    pub(super) fn folder(&self) -> AdapterFolder<'_> {
        let (adapter, base_model) = (self.adapter, self.base_model.as_deref());
        AdapterFolder { adapter, base_model, files: &self.files }
    }

    /// Puts the adapter of the checkpoint of a step on a model.
    pub(super) fn load_best(&self, model: &mut M, step: usize) -> Result<(), TrainError> {
        let folder = checkpoint_folder(self.output_dir, step);
        let (_, state) = load_adapter(&folder)?;
        load_adapter_state(model, state, &folder.display().to_string())?;
        Ok(())
    }
}
