use std::{fmt, path::Path, sync::Arc};

use indexmap::IndexMap;
use serde_json::Value;

use crate::TaskError;
use crate::python::repr;

/// A file and a line in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, line {}", self.file.display(), self.line)
    }
}

/// A value of a YAML file and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// The value.
    pub kind: NodeKind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// Null, a truth value, a number or text.
    Scalar(Value),
    /// The name of a Python function, tagged `!function`.
    Function(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Values by key, in order.
    Mapping(IndexMap<String, Node>),
}

impl Node {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Scalar(Value::Null))
    }

    /// The value without places.
    ///
    /// # Errors
    /// A function is no value.
    pub fn to_value(&self, key: &str) -> Result<Value, TaskError> {
        Ok(match &self.kind {
            NodeKind::Scalar(value) => value.clone(),
            NodeKind::Function(_) => return Err(self.wrong(key, "a value")),
            NodeKind::Sequence(items) => {
                Value::Array(items.iter().map(|item| item.to_value(key)).collect::<Result<_, _>>()?)
            }
            NodeKind::Mapping(map) => Value::Object(
                map.iter()
                    .map(|(name, item)| Ok((name.clone(), item.to_value(key)?)))
                    .collect::<Result<_, TaskError>>()?,
            ),
        })
    }

    /// Text.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn text(&self, key: &str) -> Result<String, TaskError> {
        match &self.kind {
            NodeKind::Scalar(Value::String(text)) => Ok(text.clone()),
            _ => Err(self.wrong(key, "text")),
        }
    }

    /// Text or a number, as text.
    pub(crate) fn name(&self, key: &str) -> Result<String, TaskError> {
        match &self.kind {
            NodeKind::Scalar(Value::String(text)) => Ok(text.clone()),
            NodeKind::Scalar(Value::Number(number)) => Ok(number.to_string()),
            _ => Err(self.wrong(key, "text")),
        }
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<bool, TaskError> {
        match &self.kind {
            NodeKind::Scalar(Value::Bool(value)) => Ok(*value),
            _ => Err(self.wrong(key, "true or false")),
        }
    }

    pub(crate) fn whole(&self, key: &str) -> Result<usize, TaskError> {
        self.scalar()
            .and_then(Value::as_u64)
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| self.wrong(key, "a whole number"))
    }

    pub(crate) fn number(&self, key: &str) -> Result<f64, TaskError> {
        self.scalar().and_then(Value::as_f64).ok_or_else(|| self.wrong(key, "a number"))
    }

    /// A text or a list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, TaskError> {
        match &self.kind {
            NodeKind::Sequence(items) => items.iter().map(|item| item.name(key)).collect(),
            _ => Ok(vec![self.name(key)?]),
        }
    }

    pub(crate) fn items(&self, key: &str) -> Result<&[Node], TaskError> {
        match &self.kind {
            NodeKind::Sequence(items) => Ok(items),
            _ => Err(self.wrong(key, "a list")),
        }
    }

    pub(crate) fn mapping(&self, key: &str) -> Result<&IndexMap<String, Node>, TaskError> {
        match &self.kind {
            NodeKind::Mapping(map) => Ok(map),
            _ => Err(self.wrong(key, "a mapping of keys to values")),
        }
    }

    pub(crate) fn scalar(&self) -> Option<&Value> {
        match &self.kind {
            NodeKind::Scalar(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn wrong(&self, key: &str, allowed: &str) -> TaskError {
        let found = match &self.kind {
            NodeKind::Scalar(value) => record_files::excerpt(&repr(value)),
            NodeKind::Function(name) => format!("!function {name}"),
            NodeKind::Sequence(_) => "a list".into(),
            NodeKind::Mapping(_) => "a mapping".into(),
        };
        let (place, key) = (self.place.to_string(), key.to_owned());
        TaskError::WrongValue { place, key, found, allowed: allowed.into() }
    }
}
