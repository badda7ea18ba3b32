use super::{Dialogue, Instruction, Message, Origin, Role};

/// One example of a data set, before any template or tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was asked and answered.
    pub content: RecordContent,
    /// The record's own task type, or its file's default.
    pub task_type: Option<u32>,
    /// Where it came from.
    pub origin: Origin,
}

/// What a record can be; the columns that it is read from are a [`Shape`](super::Shape).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordContent {
    /// An instruction, which the prompt template applies to.
    Instruction(Instruction),
    /// A conversation with at least one assistant turn.
    Dialogue(Dialogue),
    /// A finished prompt and what follows it: taken literally by every template but `chat`.
    Completion {
        /// The finished prompt.
        prompt: String,
        /// What follows it.
        completion: String,
    },
    /// A text, all of which is learned.
    Text(String),
}

impl Record {
    /// The reference answer: the output, the completion, or the last assistant turn; of a text all
    /// of it.
    pub fn answer(&self) -> &str {
        match &self.content {
            RecordContent::Instruction(instruction) => &instruction.output,
            RecordContent::Completion { completion, .. } => completion,
            RecordContent::Text(text) => text,
            RecordContent::Dialogue(Dialogue { messages, .. }) => messages
                .iter()
                .rev()
                .find(|message| message.role == Role::Assistant)
                .map_or("", Message::text),
        }
    }
}
