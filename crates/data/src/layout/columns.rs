use serde::{Deserialize, Serialize};

use super::Shape;

/// The names of columns where they are not the usual ones: `columns` of a data file, with the keys
/// of LLaMA-Factory's `dataset_info.json` and those of the shapes that it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// With `response` the instruction, otherwise the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The input of an instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The answer to an instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// What was asked and answered before an instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// Standing instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The tools that the assistant may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
    /// What follows a prompt literally.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// The better answer of preference data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// Plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The task type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
}

impl Columns {
    /// Whether no name is given.
    pub fn is_empty(&self) -> bool {
        self.named().is_empty()
    }

    /// The keys that are given, with the columns that they name.
    pub(super) fn named(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("prompt", &self.prompt),
            ("query", &self.query),
            ("response", &self.response),
            ("history", &self.history),
            ("messages", &self.messages),
            ("system", &self.system),
            ("tools", &self.tools),
            ("completion", &self.completion),
            ("chosen", &self.chosen),
            ("text", &self.text),
            ("task_type", &self.task_type),
        ];
        all.into_iter().filter_map(|(key, name)| Some((key, name.as_deref()?))).collect()
    }

    /// The shapes that the given names can be of.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let found = [
            (Shape::Instruction, self.response.is_some()),
            (Shape::Messages, self.messages.is_some()),
            (Shape::Completion, self.completion.is_some()),
            (Shape::Preference, self.chosen.is_some()),
            (Shape::Text, self.text.is_some()),
        ];
        found.into_iter().filter(|(_, given)| *given).map(|(shape, _)| shape).collect()
    }

    /// The column of what a shape calls `key`, if another name is given.
    pub(super) fn of(&self, shape: Shape, key: &str) -> Option<&str> {
        match (shape, key) {
            (Shape::Instruction, "instruction") | (Shape::Question, "question") => &self.prompt,
            (Shape::Instruction, "input") => &self.query,
            (Shape::Instruction, "output") | (Shape::Question, "answer") => &self.response,
            (_, "prompt") => &self.prompt,
            (_, "history") => &self.history,
            (_, "messages") => &self.messages,
            (_, "system") => &self.system,
            (_, "tools") => &self.tools,
            (_, "completion") => &self.completion,
            (_, "chosen") => &self.chosen,
            (_, "text") => &self.text,
            (_, "task_type") => &self.task_type,
            _ => &None,
        }
        .as_deref()
    }
}
