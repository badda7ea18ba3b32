//! From rows to records: which columns a file has, what they are, and what is in them.

mod columns;
mod keys;
mod messages;
mod shape;
mod tags;

use record_files::OrderedValue;

use super::{
    DataError, DataFile, Dialogue, Instruction, Message, Origin, Record, RecordContent, Role,
};
pub use columns::Columns;
pub(crate) use keys::DataRow;
use keys::Keys;
pub(crate) use keys::found;
pub use shape::Shape;
pub use tags::Tags;

/// What the columns of a file are, found from its first row.
pub(super) struct Layout<'a> {
    file: &'a DataFile,
    shape: Shape,
    /// Whether cells are all text, and an empty one is nothing.
    is_table: bool,
    /// Whether a conversation is called `conversations`.
    conversations: bool,
    /// Whether only what comes before an answer is needed.
    prompts: bool,
}

impl<'a> Layout<'a> {
    /// The layout of a file whose first row is `first`: what its settings say, and otherwise the
    /// one shape that has such columns.
    ///
    /// # Errors
    /// [`DataError::UnknownShape`] where there is none or more than one, or a column that the
    /// settings name is not there.
    pub fn of(
        file: &'a DataFile,
        is_table: bool,
        first: &DataRow,
        origin: &Origin,
    ) -> Result<Self, DataError> {
        Self::found(file, is_table, first, origin, false)
    }

    /// As [`of`](Self::of), of a file in which answers may be absent, or empty.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_prompts(
        file: &'a DataFile,
        is_table: bool,
        first: &DataRow,
        origin: &Origin,
    ) -> Result<Self, DataError> {
        Self::found(file, is_table, first, origin, true)
    }

    fn found(
        file: &'a DataFile,
        is_table: bool,
        first: &DataRow,
        origin: &Origin,
        prompts: bool,
    ) -> Result<Self, DataError> {
        let unknown = |found: String| {
            Err(DataError::UnknownShape {
                origin: origin.clone(),
                found,
                columns: columns_of(first),
            })
        };
        for (key, column) in file.columns.named() {
            if first.get(column).is_none() {
                return unknown(format!("`columns.{key}` is `{column}`, which is not there"));
            }
        }
        let has = |column: &str| first.get(column).is_some_and(|value| !value.is_null());
        let mut shapes = match file.shape {
            Some(shape) => vec![shape],
            None => file.columns.shapes(),
        };
        if shapes.is_empty() {
            shapes = Shape::of_columns(has);
        }
        if shapes.is_empty() && prompts {
            shapes = Shape::of_columns(|column| Shape::ANSWERS.contains(&column) || has(column));
        }
        let conversations = !has("messages") && has("conversations");
        match shapes[..] {
            [shape] => Ok(Self { file, shape, is_table, conversations, prompts }),
            [] => unknown("no known shape".into()),
            [..] => {
                let names: Vec<_> =
                    shapes.iter().map(|shape| format!("\"{}\"", shape.as_str())).collect();
                unknown(format!("more than one shape ({})", names.join(", ")))
            }
        }
    }

    /// The column of what the shape calls `key`.
    fn column(&self, key: &'static str) -> &str {
        match self.file.columns.of(self.shape, key) {
            Some(column) => column,
            None if key == "messages" && self.conversations => "conversations",
            None => key,
        }
    }

    /// Reads one row; columns that the shape does not know are ignored, `null` counts as absent.
    ///
    /// # Errors
    /// [`DataError::Value`] naming the file, the row and the key.
    pub fn record(&self, row: &DataRow, origin: Origin) -> Result<Record, DataError> {
        let keys = Keys { layout: self, row, origin: &origin };
        let content = match self.shape {
            Shape::Instruction => RecordContent::Instruction(self.instruction(&keys)?),
            Shape::Question => RecordContent::Instruction(Instruction {
                instruction: keys.text("question")?,
                output: keys.answer("answer")?,
                ..Instruction::default()
            }),
            Shape::Messages => {
                let (messages, sharegpt) = keys.messages("messages")?;
                self.dialogue(&keys, "messages", messages, sharegpt)?
            }
            Shape::Completion if keys.is_list("prompt") || keys.is_list("completion") => {
                let (messages, sharegpt) = self.prompted(&keys, "completion")?;
                self.dialogue(&keys, "completion", messages, sharegpt)?
            }
            Shape::Completion => RecordContent::Completion {
                prompt: keys.text("prompt")?,
                completion: keys.answer("completion")?,
            },
            Shape::Preference if keys.is_list("chosen") => {
                let (messages, sharegpt) = self.chosen(&keys)?;
                self.dialogue(&keys, "chosen", messages, sharegpt)?
            }
            Shape::Preference => RecordContent::Completion {
                prompt: keys.text("prompt")?,
                completion: keys.answer("chosen")?,
            },
            Shape::Text if self.prompts => {
                RecordContent::Completion { prompt: keys.text("text")?, completion: String::new() }
            }
            Shape::Text => RecordContent::Text(keys.answer("text")?),
        };
        let task_type = keys.task_type()?.or(self.file.task_type);
        Ok(Record { content, task_type, origin })
    }

    fn instruction(&self, keys: &Keys<'_>) -> Result<Instruction, DataError> {
        Ok(Instruction {
            instruction: keys.text("instruction")?,
            input: keys.optional_text("input")?.unwrap_or_default(),
            output: keys.answer("output")?,
            system: keys.optional_text("system")?.filter(|text| !text.trim().is_empty()),
            history: match keys.get("history") {
                Some(_) => self.history(keys)?,
                None => Vec::new(),
            },
        })
    }

    fn history(&self, keys: &Keys<'_>) -> Result<Vec<(String, String)>, DataError> {
        const PAIRS: &str = "a list of pairs of texts, asked and answered";
        let items = keys.list("history", PAIRS)?;
        let pair = |(index, item): (usize, &OrderedValue)| match item.as_array() {
            Some([OrderedValue::String(asked), OrderedValue::String(answered)]) => {
                Ok((asked.clone(), answered.clone()))
            }
            _ => {
                let key = format!("{}[{index}]", self.column("history"));
                keys.wrong(key, found(Some(item)), PAIRS)
            }
        };
        items.iter().enumerate().map(pair).collect()
    }

    /// `prompt` and `key`, both messages; nothing of the prompt is learned.
    fn prompted(
        &self,
        keys: &Keys<'_>,
        key: &'static str,
    ) -> Result<(Vec<Message>, bool), DataError> {
        let (mut messages, sharegpt) = keys.messages("prompt")?;
        messages.iter_mut().for_each(|message| message.train = false);
        let (answers, _) = keys.messages(key)?;
        messages.extend(answers);
        Ok((messages, sharegpt))
    }

    /// `chosen` as messages, with the prompt before it unless it begins with that itself.
    fn chosen(&self, keys: &Keys<'_>) -> Result<(Vec<Message>, bool), DataError> {
        if keys.is_list("prompt") {
            return self.prompted(keys, "chosen");
        }
        let (mut messages, sharegpt) = keys.messages("chosen")?;
        let begins_with_answer =
            messages.first().is_some_and(|message| message.role == Role::Assistant);
        if begins_with_answer && let Some(prompt) = keys.optional_text("prompt")? {
            messages.insert(0, Message::new(Role::User, prompt));
        }
        Ok((messages, sharegpt))
    }

    /// A conversation with the other columns that belong to one.
    fn dialogue(
        &self,
        keys: &Keys<'_>,
        key: &'static str,
        mut messages: Vec<Message>,
        sharegpt: bool,
    ) -> Result<RecordContent, DataError> {
        let answered = messages.iter().any(|message| message.role == Role::Assistant);
        if !answered && !self.prompts {
            let found = "without an assistant turn".into();
            return keys.wrong(self.column(key), found, "a list with at least one assistant turn");
        }
        let system = keys.optional_text("system")?.filter(|text| !text.trim().is_empty());
        if let Some(system) = system {
            match messages.first() {
                Some(first) if first.role == Role::System && first.text() == system => {}
                Some(first) if first.role == Role::System => {
                    let found = "another text than that of the first turn".into();
                    return keys.wrong(self.column("system"), found, "one of both");
                }
                _ => messages.insert(0, Message::new(Role::System, system)),
            }
        }
        let tools = keys.tools(sharegpt)?;
        Ok(RecordContent::Dialogue(Dialogue { messages, tools }))
    }
}

/// The columns of a row, and which have nothing in them.
fn columns_of(row: &DataRow) -> String {
    if row.is_empty() {
        return "none".into();
    }
    let mark = |value: &OrderedValue| if value.is_null() { " (null)" } else { "" };
    let names =
        row.iter().map(|(key, value)| format!("`{}`{}", record_files::excerpt(key), mark(value)));
    names.collect::<Vec<_>>().join(", ")
}
