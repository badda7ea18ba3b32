use std::path::{Path, PathBuf};

use data::LabelSet;
use model_zoo::ClassificationTask;
use serde_json::Value;

use crate::train::TrainError;

/// The labels of the head that is saved with an adapter: the keys `id2label`, `label2id` and
/// `problem_type` of a `config.json`.
pub const LABELS_FILE: &str = "labels.json";

/// What the labels of an adapter's folder are; `None` where it has none.
///
/// # Errors
///
/// [`TrainError`] when the file cannot be read.
pub fn read_labels(folder: &Path) -> Result<Option<ClassificationTask>, TrainError> {
    let path = folder.join(LABELS_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let origin = path.display().to_string();
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| TrainError::State { path, message: error.to_string() })?;
    let task = ClassificationTask::from_json(&value, &origin);
    task.map(Some).map_err(|error| model_zoo::ModelError::from(error).into())
}

/// What a model tells apart.
pub(super) fn task_of(labels: &LabelSet) -> ClassificationTask {
    let mut task = ClassificationTask::new(labels.names.iter().cloned());
    task.problem_type = Some(labels.problem);
    task
}

/// The file of labels.
pub(super) fn file_of(labels: &LabelSet) -> String {
    format!("{:#}\n", task_of(labels).to_json())
}

/// Refuses labels that are not those of a head that is kept.
pub(super) fn check_same(
    labels: &LabelSet,
    head: &ClassificationTask,
    path: PathBuf,
) -> Result<(), TrainError> {
    let now = task_of(labels);
    if now.labels == head.labels && now.problem_type() == head.problem_type() {
        return Ok(());
    }
    let shown = |task: &ClassificationTask| {
        let names: Vec<_> = task.labels.iter().take(8).map(String::as_str).collect();
        let more = if task.labels.len() > names.len() { ", …" } else { "" };
        format!("{} of {}{more}", task.problem_type().name(), names.join(", "))
    };
    let message = format!(
        "the head is for {}, but the data is {}; name the labels in the same order by \
         `data.labels`, or start with a new head",
        shown(head),
        shown(&now)
    );
    Err(TrainError::State { path, message })
}
