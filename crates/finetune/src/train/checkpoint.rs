use std::path::{Path, PathBuf};

use burn::tensor::Bytes;
use model_zoo::CausalLm;
use moe_adapter::{
    AdaptedProjection, AdapterConfig, load_adapter, load_adapter_state, save_adapter, sync_folder,
    write_atomically,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Learner, TrainError, TrainingConfig};

const STATE_FILE: &str = "trainer_state.json";
const OPTIMIZER_FILE: &str = "optimizer.bpk";
const PREFIX: &str = "checkpoint-";

/// Where a run stood when its checkpoint was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// The optimiser steps made.
    pub step: usize,
    /// The optimiser steps of the whole run.
    pub total_steps: usize,
    /// The best value of `metric_for_best_model` so far, and the step at which it was measured.
    pub best: Option<(usize, f64)>,
    /// The evaluations in a row that brought no sufficient gain.
    #[serde(default)]
    pub evaluations_without_gain: usize,
    /// How the run is trained; a run that resumes must be trained the same way.
    pub training: TrainingConfig,
}

impl TrainerState {
    /// The start of a run.
    pub fn new(training: TrainingConfig) -> Self {
        Self { step: 0, total_steps: 0, best: None, evaluations_without_gain: 0, training }
    }
}

/// The folder of the checkpoint of a step.
pub(super) fn checkpoint_folder(output_dir: &Path, step: usize) -> PathBuf {
    output_dir.join(format!("{PREFIX}{step}"))
}

/// The steps of all complete checkpoints in a run's folder, in ascending order.
fn checkpoints(output_dir: &Path) -> Vec<usize> {
    let Ok(entries) = std::fs::read_dir(output_dir) else {
        return Vec::new();
    };
    let mut steps: Vec<usize> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let step = name.to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            checkpoint_folder(output_dir, step).join(STATE_FILE).is_file().then_some(step)
        })
        .collect();
    steps.sort_unstable();
    steps
}

/// The newest complete checkpoint in a run's folder.
pub fn latest_checkpoint(output_dir: &Path) -> Option<PathBuf> {
    checkpoints(output_dir).last().map(|step| checkpoint_folder(output_dir, *step))
}

/// Writes a checkpoint into a temporary folder and renames it, so that one is complete or absent.
pub(super) fn save_checkpoint<M>(
    learner: &Learner<M>,
    adapter: &AdapterConfig,
    base_model: Option<&str>,
    state: &TrainerState,
    output_dir: &Path,
) -> Result<PathBuf, TrainError>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    let folder = checkpoint_folder(output_dir, state.step);
    let writing = output_dir.join(format!(".{PREFIX}{}.tmp", state.step));
    if writing.exists() {
        std::fs::remove_dir_all(&writing).map_err(TrainError::io(&writing))?;
    }
    save_adapter(learner.model(), adapter, base_model, &writing)?;
    let path = writing.join(OPTIMIZER_FILE);
    let bytes = learner
        .optimizer()
        .into_bytes()
        .map_err(|error| TrainError::State { path: path.clone(), message: error.to_string() })?;
    write_atomically(&path, &bytes).map_err(TrainError::io(&path))?;
    let path = writing.join(STATE_FILE);
    let text = serde_json::to_string_pretty(state)
        .map_err(|error| TrainError::State { path: path.clone(), message: error.to_string() })?;
    write_atomically(&path, text.as_bytes()).map_err(TrainError::io(&path))?;
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(TrainError::io(&folder))?;
    }
    std::fs::rename(&writing, &folder).map_err(TrainError::io(&folder))?;
    sync_folder(output_dir).map_err(TrainError::io(output_dir))?;
    Ok(folder)
}

/// Removes the checkpoints that runs were killed while writing.
pub(super) fn remove_unfinished(output_dir: &Path) -> Result<(), TrainError> {
    let entries = std::fs::read_dir(output_dir).map_err(TrainError::io(output_dir))?;
    for entry in entries {
        let path = entry.map_err(TrainError::io(output_dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(&format!(".{PREFIX}")) && name.ends_with(".tmp") {
            std::fs::remove_dir_all(&path).map_err(TrainError::io(&path))?;
        }
    }
    Ok(())
}

/// Removes all but the newest `limit` checkpoints and the best one.
pub(super) fn rotate_checkpoints(
    output_dir: &Path,
    limit: usize,
    best: Option<usize>,
) -> Result<(), TrainError> {
    let steps = checkpoints(output_dir);
    let old = steps.len().saturating_sub(limit);
    for step in steps[..old].iter().filter(|step| Some(**step) != best) {
        let folder = checkpoint_folder(output_dir, *step);
        std::fs::remove_dir_all(&folder).map_err(TrainError::io(&folder))?;
    }
    Ok(())
}

/// Brings a learner, whose model carries freshly attached adapters, to where a checkpoint left
/// off.
pub(super) fn load_checkpoint<M>(
    learner: &mut Learner<M>,
    adapter: &AdapterConfig,
    training: &TrainingConfig,
    folder: &Path,
) -> Result<TrainerState, TrainError>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    let path = folder.join(STATE_FILE);
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let state: TrainerState = serde_json::from_str(&text)
        .map_err(|error| TrainError::State { path: path.clone(), message: error.to_string() })?;
    check_same_training(&state.training, training, &path)?;
    let (saved, tensors) = load_adapter(folder)?;
    if &saved != adapter {
        return Err(TrainError::State {
            path: folder.join(moe_adapter::ADAPTER_CONFIG_FILE),
            message: "the checkpoint has another `[adapter]` configuration than the run; restore \
                      it, or train into another `training.output_dir`"
                .into(),
        });
    }
    learner.load_adapter(tensors, &folder.display().to_string())?;

    let path = folder.join(OPTIMIZER_FILE);
    let bytes = std::fs::read(&path).map_err(TrainError::io(&path))?;
    learner.continue_from(
        |optimizer| {
            optimizer
                .from_bytes(Bytes::from_bytes_vec(bytes))
                .map_err(|error| TrainError::State { path, message: error.to_string() })
        },
        state.step,
    )?;
    Ok(state)
}

/// A run that resumes repeats the numbers of an uninterrupted one only when it is trained alike.
fn check_same_training(
    saved: &TrainingConfig,
    now: &TrainingConfig,
    path: &Path,
) -> Result<(), TrainError> {
    let object = |config: &TrainingConfig| match serde_json::to_value(config) {
        Ok(Value::Object(object)) => object,
        _ => serde_json::Map::new(),
    };
    let (saved, now) = (object(saved), object(now));
    for (key, value) in &saved {
        if !TrainingConfig::FREE_ON_RESUME.contains(&key.as_str()) && now.get(key) != Some(value) {
            let found = now.get(key).map_or_else(String::new, Value::to_string);
            return Err(TrainError::State {
                path: path.into(),
                message: format!(
                    "the run to resume was trained with `training.{key}` = {value}, but it is now \
                     {found}; restore it, or train into another `training.output_dir`"
                ),
            });
        }
    }
    Ok(())
}

impl<M> Learner<M>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    fn load_adapter(
        &mut self,
        state: moe_adapter::AdapterState,
        origin: &str,
    ) -> Result<(), TrainError> {
        Ok(load_adapter_state(self.model_mut(), state, origin)?)
    }
}
