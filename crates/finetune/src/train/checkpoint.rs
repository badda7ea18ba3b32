use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fused_ops::precision;
use moe_adapter::{
    ADAPTER_CONFIG_FILE, Adaptable, AdaptedProjection, AdapterConfig, StoredAdapter, load_adapter,
    load_adapter_state, sync_folder, write_atomically,
};
use serde_json::Value;
use tensor_files::TensorTable;

use super::{Learner, TrainError, TrainerState, TrainingConfig, TrainingTask};

pub(super) const STATE_FILE: &str = "trainer_state.json";
const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const PREFIX: &str = "checkpoint-";

/// The folder of the checkpoint of a step.
pub(super) fn checkpoint_folder(output_dir: &Path, step: usize) -> PathBuf {
    output_dir.join(format!("{PREFIX}{step}"))
}

/// The steps of all complete checkpoints in a run's folder, in ascending order.
pub(super) fn checkpoints(output_dir: &Path) -> Vec<usize> {
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

/// What the folder of an adapter holds besides its parameters.
#[derive(Clone, Copy)]
pub(super) struct AdapterFolder<'a> {
    pub(super) adapter: &'a AdapterConfig,
    pub(super) base_model: Option<&'a str>,
    /// Further files, by name.
    pub(super) files: &'a [(String, String)],
}

impl AdapterFolder<'_> {
    /// Writes the adapter of a model, each file atomically and the configuration last.
    pub(super) fn write<M>(&self, model: &M, folder: &Path) -> Result<(), TrainError>
    where
        M: Adaptable,
        M::Projection: AdaptedProjection,
    {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        for (name, text) in self.files {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes()).map_err(TrainError::io(&path))?;
        }
        let stored = StoredAdapter::of(model, self.adapter, self.base_model);
        Ok(StoredAdapter { precision: Some(precision()), ..stored }.write(folder)?)
    }
}

/// Writes a checkpoint into a temporary folder and renames it, so that one is complete or absent.
pub(super) fn save_checkpoint<M, T>(
    learner: &Learner<M, T>,
    adapter: AdapterFolder<'_>,
    state: &TrainerState,
    output_dir: &Path,
) -> Result<PathBuf, TrainError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    let folder = checkpoint_folder(output_dir, state.step);
    let writing = output_dir.join(format!(".{PREFIX}{}.tmp", state.step));
    if writing.exists() {
        std::fs::remove_dir_all(&writing).map_err(TrainError::io(&writing))?;
    }
    adapter.write(&learner.averaged(), &writing)?;
    let path = writing.join(OPTIMIZER_FILE);
    learner.optimizer().table(learner.model()).write(&path)?;
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

/// Removes all but the newest `limit` checkpoints, the best one and the last healthy one.
pub(super) fn rotate_checkpoints(
    output_dir: &Path,
    limit: usize,
    state: &TrainerState,
) -> Result<(), TrainError> {
    let steps = checkpoints(output_dir);
    let old = steps.len().saturating_sub(limit);
    let kept = [state.best.map(|(step, _)| step), state.last_healthy];
    for step in steps[..old].iter().filter(|step| !kept.contains(&Some(**step))) {
        remove(&checkpoint_folder(output_dir, *step))?;
    }
    Ok(())
}

/// Removes the checkpoints after a step, which a run that goes on from there makes anew; returns
/// how many.
pub(super) fn remove_later(output_dir: &Path, step: usize) -> Result<usize, TrainError> {
    let later: Vec<_> = checkpoints(output_dir).into_iter().filter(|of| *of > step).collect();
    later.iter().try_for_each(|step| remove(&checkpoint_folder(output_dir, *step)))?;
    Ok(later.len())
}

/// Removes a checkpoint: under the name of an unfinished one, so that there is none by halves though
/// the process ends here.
fn remove(folder: &Path) -> Result<(), TrainError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let removing = folder.with_file_name(format!(".{name}.tmp"));
    std::fs::rename(folder, &removing).map_err(TrainError::io(folder))?;
    std::fs::remove_dir_all(&removing).map_err(TrainError::io(&removing))
}

/// Where the run of a checkpoint stood.
pub(super) fn read_state(folder: &Path) -> Result<TrainerState, TrainError> {
    let path = folder.join(STATE_FILE);
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    serde_json::from_str(&text)
        .map_err(|error| TrainError::State { path, message: error.to_string() })
}

/// A configuration as it is read from the file that it is written to: a number of many digits, such
/// as one that was computed, need not come back in its last bit.
fn read_back(adapter: &AdapterConfig) -> Option<AdapterConfig> {
    serde_json::from_str(&serde_json::to_string(adapter).ok()?).ok()
}

/// Refuses the adapter of a checkpoint that is not that of the run.
pub(crate) fn check_adapter(
    saved: &AdapterConfig,
    now: &AdapterConfig,
    folder: &Path,
) -> Result<(), TrainError> {
    if saved == now || Some(saved) == read_back(now).as_ref() {
        return Ok(());
    }
    let object = |config: &AdapterConfig| match serde_json::to_value(config) {
        Ok(Value::Object(object)) => object,
        _ => serde_json::Map::new(),
    };
    let (saved, now) = (object(saved), object(now));
    let keys: BTreeSet<&String> = saved.keys().chain(now.keys()).collect();
    let differs = keys.into_iter().find(|key| saved.get(*key) != now.get(*key));
    let difference = differs.map_or_else(String::new, |key| {
        let said = |value: Option<&Value>| {
            value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
        };
        let [then, now] = [saved.get(key), now.get(key)].map(said);
        format!("`adapter.{key}` = {then}, but it is now {now}")
    });
    Err(TrainError::OtherAdapter { path: folder.join(ADAPTER_CONFIG_FILE), difference })
}

/// Brings a learner, whose model carries freshly attached adapters, to where a checkpoint left
/// off.
pub(super) fn load_checkpoint<M, T>(
    learner: &mut Learner<M, T>,
    adapter: &AdapterConfig,
    training: &TrainingConfig,
    named: bool,
    folder: &Path,
) -> Result<TrainerState, TrainError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    let state = read_state(folder)?;
    state.check_same(training, named, &folder.join(STATE_FILE))?;
    let (saved, tensors) = load_adapter(folder)?;
    check_adapter(&saved, adapter, folder)?;
    load_adapter_state(learner.model_mut(), tensors, &folder.display().to_string())?;
    let path = folder.join(OPTIMIZER_FILE);
    learner.continue_from(TensorTable::read(&path)?, &path, state.step)?;
    // A named checkpoint may go on otherwise.
    let again = training.learning_rate == state.training.learning_rate;
    let plateau = match TrainerState::new(training.clone()).plateau {
        Some(fresh) => Some(state.plateau.filter(|_| again).unwrap_or(fresh)),
        None => None,
    };
    Ok(TrainerState { training: training.clone(), plateau, ..state })
}
