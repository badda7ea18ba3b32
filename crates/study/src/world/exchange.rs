use serde::{Deserialize, Serialize};

use super::Task;

/// Task type of samples that ask for knowledge.
pub const KNOWLEDGE: u32 = 1;
/// Task type of all other samples.
pub const OTHER: u32 = 0;

/// What an [`Exchange`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeKind {
    /// A fact, asked for by a question.
    Question,
    /// A fact, asked for by the beginning of a statement.
    Statement,
    /// A task on letters.
    Task(Task),
}

/// A prompt and the one right answer to it, as words separated by single spaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exchange {
    /// What the model is given.
    pub prompt: String,
    /// What it shall add before it ends.
    pub answer: String,
    /// [`KNOWLEDGE`] or [`OTHER`].
    pub task_type: u32,
    /// What is asked for.
    pub kind: ExchangeKind,
}

impl Exchange {
    /// Prompt and answer as one text.
    pub fn text(&self) -> String {
        format!("{} {}", self.prompt, self.answer)
    }
}
