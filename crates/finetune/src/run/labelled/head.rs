use std::path::Path;

use burn::tensor::Device;
use model_zoo::{
    AnyModel, AnyModelConfig, ClassificationTask, ClipClassifier, LoadOptions, ModelError,
    RobertaClassifier, VitClassifier,
};
use moe_adapter::AdapterState;

use super::read_labels;
use crate::train::TrainError;

/// The rows of a head's last linear, by its names in the three families.
const OUTPUTS: [&str; 2] = ["classifier.out_proj.weight", "classifier.weight"];

/// The head that an adapter brings along to the model of a folder: what its file of labels says, or
/// otherwise its size. `None` where it brings none.
pub(in super::super) fn new_head(
    folder: &Path,
    adapter: &Path,
    state: &AdapterState,
) -> Result<Option<ClassificationTask>, TrainError> {
    let Some(rows) = OUTPUTS.iter().find_map(|name| state.get(*name)).map(|data| data.shape()[0])
    else {
        return Ok(None);
    };
    if let Some(task) = read_labels(adapter)? {
        return Ok(Some(task));
    }
    let task = match AnyModelConfig::from_folder(folder).map_err(ModelError::from)? {
        AnyModelConfig::Roberta(config) => config.task,
        AnyModelConfig::Vit(config) => config.task,
        AnyModelConfig::ClipVision(_) => ClassificationTask::with_num_labels(rows),
        _ => return Ok(None),
    };
    Ok(Some(match task.num_labels() == rows {
        true => task,
        false => ClassificationTask::with_num_labels(rows),
    }))
}

/// Loads the encoder of a folder with a new head, drawn from a seed.
pub(in super::super) fn load_with_head(
    folder: &Path,
    task: ClassificationTask,
    seed: u64,
    options: &LoadOptions,
    device: &Device,
) -> Result<AnyModel, TrainError> {
    Ok(match AnyModelConfig::from_folder(folder).map_err(ModelError::from)? {
        AnyModelConfig::Roberta(_) => AnyModel::Roberta(RobertaClassifier::load_with_new_head(
            folder, task, seed, options, device,
        )?),
        AnyModelConfig::Vit(_) => {
            AnyModel::Vit(VitClassifier::load_with_new_head(folder, task, seed, options, device)?)
        }
        AnyModelConfig::ClipVision(_) => AnyModel::ClipClassifier(
            ClipClassifier::load_with_new_head(folder, task, seed, options, device)?,
        ),
        // One that this function does not know has no head.
        _ => AnyModel::load(folder, options, device)?,
    })
}
