use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::train::TrainError;

/// Tasks that a run evaluates while it trains: an entry of `[[evaluation]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEvaluationConfig {
    /// Tasks, groups, tags or task files; `*` stands for any characters.
    pub tasks: Vec<String>,
    /// Every how many steps; 0 at the end only. Default 0.
    #[serde(default)]
    pub eval_steps: usize,
    /// The examples before each question. Default: what the task says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_fewshot: Option<usize>,
    /// Only so many documents of each task, or below 1 such a share of them. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Folders of task files.
    #[serde(default)]
    pub include_path: Vec<PathBuf>,
    /// Folders in which data sets are looked for.
    #[serde(default)]
    pub data_dir: Vec<PathBuf>,
    /// Whether prompts are put into the model's chat template. Default false.
    #[serde(default)]
    pub apply_chat_template: bool,
    /// A system message before each prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_instruction: Option<String>,
    /// Whether examples are turns of the conversation. Default: true with a chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewshot_as_multiturn: Option<bool>,
}

impl TaskEvaluationConfig {
    /// Checks what can be checked without the tasks.
    ///
    /// # Errors
    ///
    /// [`TrainError::Value`] naming the key.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.tasks.is_empty() {
            return Err(TrainError::value("evaluation.tasks", "[]", "at least one task"));
        }
        if let Some(limit) = self.limit
            && !(limit.is_finite() && limit > 0.0)
        {
            return Err(TrainError::value("evaluation.limit", limit, "a number above 0"));
        }
        Ok(())
    }
}
