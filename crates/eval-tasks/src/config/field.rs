use serde_json::Value;

use crate::TaskError;
use crate::preprocess::DocFunction;
use crate::yaml::{Node, NodeKind, Place};

/// What turns a row into text, a target or choices.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The name of a column, or a Jinja template.
    Text(String),
    /// The same number for all rows.
    Integer(i64),
    /// The same list for all rows.
    List(Vec<Value>),
    /// A known function.
    Function(DocFunction),
}

/// A [`Field`] with its key and the place it stands at.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSource {
    /// The key, as `doc_to_text`.
    pub key: String,
    /// Where.
    pub place: Place,
    /// What.
    pub field: Field,
}

impl FieldSource {
    pub(super) fn read(node: &Node, key: &str, dataset: Option<&str>) -> Result<Self, TaskError> {
        let field = match &node.kind {
            NodeKind::Function(name) => Field::Function(
                DocFunction::named(name, dataset)
                    .ok_or_else(|| crate::preprocess::unknown(&node.place, key, name))?,
            ),
            NodeKind::Scalar(Value::String(text)) => Field::Text(text.clone()),
            NodeKind::Scalar(value) => Field::Integer(
                value.as_i64().ok_or_else(|| node.wrong(key, "text, a whole number or a list"))?,
            ),
            NodeKind::Sequence(items) => {
                Field::List(items.iter().map(|item| item.to_value(key)).collect::<Result<_, _>>()?)
            }
            // The harness takes the values of a mapping for the choices.
            NodeKind::Mapping(map) => {
                Field::List(map.values().map(|item| item.to_value(key)).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { key: key.to_owned(), place: node.place.clone(), field })
    }

    pub(super) fn text(node: &Node, key: &str) -> Result<Self, TaskError> {
        let field = Field::Text(node.text(key)?);
        Ok(Self { key: key.to_owned(), place: node.place.clone(), field })
    }
}
