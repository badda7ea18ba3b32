use std::borrow::Cow;

use record_files::OrderedValue;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Role, tool_calls};

/// Keys under which what the model thought before it spoke is found, the standard one first.
pub(super) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; `None` where a turn is nothing but tool calls.
    pub content: Option<String>,
    /// All else that a chat template may ask for, in the order of the file and never null:
    /// `tool_calls`, `tool_call_id`, `name`, `reasoning_content` …
    pub fields: Vec<(String, OrderedValue)>,
    /// Whether the turn is learned, if it is the assistant's. Default true.
    pub train: bool,
}

impl Message {
    /// A turn of nothing but text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: Some(content.into()), fields: Vec::new(), train: true }
    }

    /// What is said; empty where nothing is.
    pub fn text(&self) -> &str {
        self.content.as_deref().unwrap_or_default()
    }

    /// A field other than role and content.
    pub fn field(&self, key: &str) -> Option<&OrderedValue> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// What was thought before speaking; empty where nothing was.
    pub fn reasoning(&self) -> &str {
        let mut found = REASONING.iter().filter_map(|key| self.field(key));
        found.find_map(OrderedValue::as_str).unwrap_or_default()
    }

    /// Whether it is a turn of the assistant that is learned.
    pub(super) fn is_target(&self) -> bool {
        self.role == Role::Assistant && self.train
    }
}

/// A message as templates get it from transformers: keys without a value are left out, and
/// reasoning goes by all of its names.
pub(super) struct TemplateMessage<'a> {
    pub message: &'a Message,
    /// Whether arguments of tool calls that are JSON in a text become objects, as most templates
    /// expect them.
    pub parse_arguments: bool,
}

impl Serialize for TemplateMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { role, content, fields, .. } = self.message;
        let reasoning = REASONING.iter().find_map(|key| self.message.field(key));
        let mut map = serializer.serialize_map(None)?;
        // The order of transformers: {"thinking": …, **message, "reasoning_content": …}.
        if let Some(reasoning) = reasoning {
            let thinking = self.message.field("thinking").unwrap_or(reasoning);
            map.serialize_entry("thinking", thinking)?;
        }
        map.serialize_entry("role", role.as_str())?;
        if let Some(content) = content {
            map.serialize_entry("content", content)?;
        }
        for (key, value) in fields.iter().filter(|(key, _)| key != "thinking") {
            let value = match key.as_str() {
                "tool_calls" if self.parse_arguments => Cow::Owned(tool_calls::parsed(value)),
                "reasoning_content" => Cow::Borrowed(reasoning.unwrap_or(value)),
                _ => Cow::Borrowed(value),
            };
            map.serialize_entry(key, &*value)?;
        }
        if let Some(reasoning) = reasoning
            && self.message.field("reasoning_content").is_none()
        {
            map.serialize_entry("reasoning_content", reasoning)?;
        }
        map.end()
    }
}
