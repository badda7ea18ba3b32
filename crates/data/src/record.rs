use record_files::Row;
use serde_json::Value;

use super::{DataError, Message, Origin, Role};

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

/// The shapes a record can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordContent {
    /// `instruction`, optional `input`, `output`; also `question` and `answer` (as in GSM8K), so
    /// that the prompt template applies to them too.
    Instruction {
        /// What to do.
        instruction: String,
        /// What to do it with; empty when there is none.
        input: String,
        /// The answer.
        output: String,
    },
    /// `messages`: a conversation with at least one assistant turn.
    Messages(Vec<Message>),
    /// `prompt` and `completion`: taken literally by every template but `chat`.
    Completion {
        /// The finished prompt.
        prompt: String,
        /// What follows it.
        completion: String,
    },
}

impl Record {
    /// The reference answer: the output, the completion, or the last assistant turn.
    pub fn answer(&self) -> &str {
        match &self.content {
            RecordContent::Instruction { output, .. } => output,
            RecordContent::Completion { completion, .. } => completion,
            RecordContent::Messages(messages) => messages
                .iter()
                .rev()
                .find(|message| message.role == Role::Assistant)
                .map_or("", |message| &message.content),
        }
    }

    /// Reads one row. The first shape whose required keys are all there is taken (in the
    /// order instruction, messages, prompt, question); other keys are ignored, `null` counts as
    /// absent.
    ///
    /// # Errors
    /// [`DataError::UnknownShape`] and [`DataError::Value`].
    pub(super) fn from_row(
        row: &Row,
        default_task_type: Option<u32>,
        origin: Origin,
    ) -> Result<Self, DataError> {
        let keys = Keys { row, origin: &origin };
        let content = if keys.has("instruction") && keys.has("output") {
            RecordContent::Instruction {
                instruction: keys.text("instruction")?,
                input: if keys.has("input") { keys.text("input")? } else { String::new() },
                output: keys.answer("output")?,
            }
        } else if keys.has("messages") {
            RecordContent::Messages(keys.messages()?)
        } else if keys.has("prompt") && keys.has("completion") {
            RecordContent::Completion {
                prompt: keys.text("prompt")?,
                completion: keys.answer("completion")?,
            }
        } else if keys.has("question") && keys.has("answer") {
            RecordContent::Instruction {
                instruction: keys.text("question")?,
                input: String::new(),
                output: keys.answer("answer")?,
            }
        } else {
            let found = if row.is_empty() {
                "none".into()
            } else {
                let mark = |value: &Value| if value.is_null() { " (null)" } else { "" };
                let names = row.iter().map(|(key, value)| format!("`{key}`{}", mark(value)));
                names.collect::<Vec<_>>().join(", ")
            };
            return Err(DataError::UnknownShape { origin, found });
        };
        let task_type = keys.task_type()?.or(default_task_type);
        Ok(Self { content, task_type, origin })
    }
}

/// Typed access to the keys of one record.
struct Keys<'a> {
    row: &'a Row,
    origin: &'a Origin,
}

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        self.row.get(key).is_some_and(|value| !value.is_null())
    }

    fn wrong<T>(
        &self,
        key: impl Into<String>,
        found: String,
        allowed: &'static str,
    ) -> Result<T, DataError> {
        Err(DataError::Value { origin: self.origin.clone(), key: key.into(), found, allowed })
    }

    fn text(&self, key: &str) -> Result<String, DataError> {
        match self.row.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            other => self.wrong(key, other.map_or("absent".into(), describe), "a string"),
        }
    }

    fn answer(&self, key: &str) -> Result<String, DataError> {
        let text = self.text(key)?;
        if text.trim().is_empty() {
            return self.wrong(key, "empty".into(), "a string with something to learn");
        }
        Ok(text)
    }

    fn task_type(&self) -> Result<Option<u32>, DataError> {
        const ALLOWED: &str =
            "a non-negative integer below 2^32 (0 or 1 for LoRAMoE), or no such key";
        match self.row.get("task_type") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => Ok(Some(number)),
                None => self.wrong("task_type", describe(value), ALLOWED),
            },
        }
    }

    fn messages(&self) -> Result<Vec<Message>, DataError> {
        let items = match self.row.get("messages") {
            Some(Value::Array(items)) => items,
            other => {
                let found = other.map_or("absent".into(), describe);
                return self.wrong("messages", found, "a list of {role, content}");
            }
        };
        let messages = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.message(index, item))
            .collect::<Result<Vec<_>, _>>()?;
        if !messages.iter().any(|message| message.role == Role::Assistant) {
            let found = "without an assistant turn".into();
            return self.wrong("messages", found, "a list with at least one assistant turn");
        }
        Ok(messages)
    }

    fn message(&self, index: usize, item: &Value) -> Result<Message, DataError> {
        const ROLES: &str = "\"system\", \"user\", \"assistant\" or \"tool\"";
        let absent = || "absent".to_owned();
        if !item.is_object() {
            return self.wrong(format!("messages[{index}]"), describe(item), "{role, content}");
        }
        let role = item.get("role");
        let Some(role) = role.and_then(Value::as_str).and_then(Role::from_name) else {
            let found = role.map_or_else(absent, describe);
            return self.wrong(format!("messages[{index}].role"), found, ROLES);
        };
        let key = format!("messages[{index}].content");
        let content = match item.get("content") {
            Some(Value::String(content)) => content,
            other => return self.wrong(key, other.map_or_else(absent, describe), "a string"),
        };
        if role == Role::Assistant && content.trim().is_empty() {
            return self.wrong(key, "empty".into(), "a string with something to learn");
        }
        Ok(Message::new(role, content))
    }
}

/// Type and, where short, value: enough to find it in the file.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            format!("the string {:?}", text.chars().take(40).collect::<String>())
        }
        Value::Array(items) => format!("a list of {} values", items.len()),
        Value::Object(_) => "an object".into(),
    }
}
