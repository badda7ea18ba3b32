use record_files::OrderedValue;

use super::Message;

/// A conversation of a record: `messages`, and the `tools` that the assistant may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// The turns.
    pub messages: Vec<Message>,
    /// Descriptions of tools, objects as templates expect them; `None` where a record says nothing
    /// of tools.
    pub tools: Option<Vec<OrderedValue>>,
}

impl Dialogue {
    /// A conversation without tools.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, tools: None }
    }

    /// All turns.
    pub fn view(&self) -> DialogueView<'_> {
        DialogueView { messages: &self.messages, tools: self.tools.as_deref() }
    }
}

/// A beginning of a conversation, as a chat template gets it.
#[derive(Debug, Clone, Copy)]
pub struct DialogueView<'a> {
    /// The turns.
    pub messages: &'a [Message],
    /// Descriptions of tools.
    pub tools: Option<&'a [OrderedValue]>,
}

impl DialogueView<'_> {
    /// The first `count` turns; all where there are fewer.
    pub fn first(self, count: usize) -> Self {
        Self { messages: &self.messages[..count.min(self.messages.len())], ..self }
    }
}
