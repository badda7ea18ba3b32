use std::path::PathBuf;

use eval_tasks::Limit;
use serde_json::{Value, json};

/// What is evaluated, and how prompts are made. Names are those of the harness.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Tasks, groups, tags, patterns or files.
    pub tasks: Vec<String>,
    /// Folders of task files, before those that are shipped.
    pub include_path: Vec<PathBuf>,
    /// Folders in which data sets are looked for.
    pub data_dir: Vec<PathBuf>,
    /// The examples before each question; `None` for what the task says.
    pub num_fewshot: Option<usize>,
    /// Which documents.
    pub limit: Limit,
    /// The seed of the choice of examples.
    pub fewshot_seed: u64,
    /// Whether prompts are put into the model's chat template.
    pub apply_chat_template: bool,
    /// A system message before each prompt.
    pub system_instruction: Option<String>,
    /// Whether examples are turns of the conversation.
    pub fewshot_as_multiturn: bool,
    /// The resamplings behind a standard error without a formula.
    pub bootstrap_iters: usize,
}

impl RunOptions {
    /// All documents of tasks, with the harness's defaults.
    pub fn new(tasks: Vec<String>) -> Self {
        Self {
            tasks,
            include_path: Vec::new(),
            data_dir: Vec::new(),
            num_fewshot: None,
            limit: Limit::All,
            fewshot_seed: 1234,
            apply_chat_template: false,
            system_instruction: None,
            fewshot_as_multiturn: true,
            bootstrap_iters: 100_000,
        }
    }

    /// What of them decides about results.
    pub(super) fn about(&self) -> Value {
        let limit = match self.limit {
            Limit::All => Value::Null,
            Limit::Count(count) => json!(count),
            Limit::Share(share) => json!(share),
        };
        json!({
            "tasks": self.tasks,
            "num_fewshot": self.num_fewshot,
            "limit": limit,
            "fewshot_seed": self.fewshot_seed,
            "apply_chat_template": self.apply_chat_template,
            "system_instruction": self.system_instruction,
            "fewshot_as_multiturn": self.fewshot_as_multiturn,
            "bootstrap_iters": self.bootstrap_iters,
        })
    }
}
