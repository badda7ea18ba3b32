use serde::{Deserialize, Serialize};

use crate::BoxError;
use crate::python::is_space;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTurn {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// The chat template of a model.
pub trait ChatTemplate {
    /// The text of a conversation. Without a generation prompt, the last message is the beginning
    /// of the model's answer, and goes on.
    ///
    /// # Errors
    /// Why the template refuses the conversation.
    fn render(
        &self,
        messages: &[ChatTurn],
        add_generation_prompt: bool,
    ) -> Result<String, BoxError>;
}

/// A message, and what follows it in plain text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) role: &'static str,
    pub(crate) content: String,
    pub(crate) delimiter: String,
}

impl Message {
    pub(crate) fn new(role: &'static str, content: String, delimiter: &str) -> Self {
        Self { role, content, delimiter: delimiter.to_owned() }
    }

    fn turn(&self) -> ChatTurn {
        ChatTurn { role: self.role.to_owned(), content: self.content.clone() }
    }
}

/// All messages as one text.
pub(super) fn plain(messages: &[Message]) -> String {
    messages.iter().flat_map(|message| [message.content.as_str(), &message.delimiter]).collect()
}

/// One turn a message, without delimiters.
pub(super) fn multiturn(messages: &[Message]) -> Vec<ChatTurn> {
    messages.iter().map(Message::turn).collect()
}

/// All but the system's message, and the beginning of an answer, as one message of the user.
pub(super) fn singleturn(messages: &[Message]) -> Vec<ChatTurn> {
    let system = messages.first().filter(|message| message.role == "system");
    let rest = if system.is_some() { &messages[1..] } else { messages };
    let prefix = rest.last().filter(|message| message.role == "assistant");
    let rest = if prefix.is_some() { &rest[..rest.len() - 1] } else { rest };
    let mut content = plain(rest);
    // Nothing comes after the last message.
    if let Some(last) = rest.last() {
        content.truncate(content.len() - last.delimiter.len());
    }
    let user = ChatTurn { role: "user".into(), content };
    system.map(Message::turn).into_iter().chain([user]).chain(prefix.map(Message::turn)).collect()
}

/// Both texts, with the delimiter between them where neither has white space there.
pub(crate) fn join_boundary(before: &str, after: &str, delimiter: &str) -> String {
    if before.is_empty() || after.is_empty() {
        return format!("{before}{after}");
    }
    if needs_delimiter(before, after) {
        format!("{before}{delimiter}{after}")
    } else {
        format!("{before}{after}")
    }
}

/// Whether neither side has white space at the boundary; nothing needs none.
pub(super) fn needs_delimiter(before: &str, after: &str) -> bool {
    match (before.chars().next_back(), after.chars().next()) {
        (Some(last), Some(first)) => !is_space(last) && !is_space(first),
        _ => false,
    }
}
