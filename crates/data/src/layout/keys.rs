use std::borrow::Cow;

use record_files::{OrderedValue, Row, excerpt};

use super::Layout;
use crate::{DataError, Origin};

/// A row of the data crate: what is in objects keeps the order of the file.
pub(crate) type DataRow = Row<OrderedValue>;

/// Typed access to the columns of one row, by the names that shapes have for them.
pub(super) struct Keys<'a> {
    pub layout: &'a Layout<'a>,
    pub row: &'a DataRow,
    pub origin: &'a Origin,
}

impl<'a> Keys<'a> {
    /// The column, if there is something in it: a null is nothing, and so is an empty cell of a
    /// table.
    pub fn get(&self, key: &'static str) -> Option<&'a OrderedValue> {
        let value = self.row.get(self.layout.column(key))?;
        let empty = self.layout.is_table && value.as_str() == Some("");
        (!value.is_null() && !empty).then_some(value)
    }

    pub fn wrong<T>(
        &self,
        key: impl Into<String>,
        found: String,
        allowed: &'static str,
    ) -> Result<T, DataError> {
        Err(DataError::Value { origin: self.origin.clone(), key: key.into(), found, allowed })
    }

    /// A text that has to be there, but may be empty.
    pub fn text(&self, key: &'static str) -> Result<String, DataError> {
        let column = self.layout.column(key);
        match self.row.get(column) {
            Some(OrderedValue::String(text)) => Ok(text.clone()),
            other => self.wrong(column, found(other), "a string"),
        }
    }

    /// A text that may be absent.
    pub fn optional_text(&self, key: &'static str) -> Result<Option<String>, DataError> {
        match self.get(key) {
            Some(_) => self.text(key).map(Some),
            None => Ok(None),
        }
    }

    /// A text that is learned; where only prompts are read it may be absent.
    pub fn answer(&self, key: &'static str) -> Result<String, DataError> {
        if self.layout.prompts {
            return Ok(self.optional_text(key)?.unwrap_or_default());
        }
        let text = self.text(key)?;
        if text.trim().is_empty() {
            let column = self.layout.column(key);
            return self.wrong(column, "empty".into(), "a string with something to learn");
        }
        Ok(text)
    }

    /// A list, or a text that is one as JSON (tables and some data sets hold it so).
    pub fn list(
        &self,
        key: &'static str,
        allowed: &'static str,
    ) -> Result<Cow<'a, [OrderedValue]>, DataError> {
        let column = self.layout.column(key);
        let value = self.get(key);
        match value {
            Some(OrderedValue::Array(items)) => Ok(Cow::Borrowed(items)),
            Some(OrderedValue::String(text)) => match serde_json::from_str(text) {
                Ok(OrderedValue::Array(items)) => Ok(Cow::Owned(items)),
                _ => self.wrong(column, found(value), allowed),
            },
            other => self.wrong(column, found(other), allowed),
        }
    }

    pub fn task_type(&self) -> Result<Option<u32>, DataError> {
        const ALLOWED: &str =
            "a non-negative integer below 2^32 (0 or 1 for LoRAMoE), or no such key";
        let number = match self.get("task_type") {
            None => return Ok(None),
            Some(OrderedValue::Number(number)) => {
                number.as_u64().and_then(|number| u32::try_from(number).ok())
            }
            Some(OrderedValue::String(text)) if self.layout.is_table => text.parse().ok(),
            Some(_) => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => {
                let column = self.layout.column("task_type");
                self.wrong(column, found(self.get("task_type")), ALLOWED)
            }
        }
    }
}

/// What stands at a key: type and, where short, value: enough to find it in the file.
pub(crate) fn found(value: Option<&OrderedValue>) -> String {
    match value {
        None => "absent".into(),
        Some(OrderedValue::Null) => "null".into(),
        Some(OrderedValue::Bool(flag)) => format!("the boolean {flag}"),
        Some(OrderedValue::Number(number)) => format!("the number {number}"),
        Some(OrderedValue::String(text)) => format!("the string \"{}\"", excerpt(text)),
        Some(OrderedValue::Array(items)) => format!("a list of {} values", items.len()),
        Some(OrderedValue::Object(_)) => "an object".into(),
    }
}
