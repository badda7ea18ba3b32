use std::collections::HashSet;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value;

use super::environment::environment;
use crate::TaskError;
use crate::config::{Field, FieldSource};
use crate::data::Document;
use crate::python::{is_digits, literal};

/// The compiled templates of a task, and the columns of its data.
pub(crate) struct Prompts {
    environment: Environment<'static>,
    columns: HashSet<String>,
    has_choices: bool,
}

impl Prompts {
    /// Compiles the templates of all fields; those whose text is a column's name are that column.
    pub(crate) fn new<'a>(
        fields: impl Iterator<Item = &'a FieldSource>,
        columns: HashSet<String>,
        has_choices: bool,
    ) -> Result<Self, TaskError> {
        let mut environment = environment();
        for field in fields {
            let Field::Text(text) = &field.field else { continue };
            if columns.contains(text) {
                continue;
            }
            environment.add_template_owned(text.clone(), text.clone()).map_err(|error| {
                TaskError::Template {
                    place: field.place.to_string(),
                    key: field.key.clone(),
                    message: explain(&error),
                }
            })?;
        }
        Ok(Self { environment, columns, has_choices })
    }

    /// The text of a question: a text, or the index of a choice.
    pub(crate) fn text(
        &self,
        field: &FieldSource,
        document: &Document,
    ) -> Result<Value, TaskError> {
        let (value, rendered) = self.value(field, document)?;
        Ok(if rendered { self.index_or_text(value) } else { value })
    }

    /// A target: a text, an index, or a list of either.
    pub(crate) fn target(
        &self,
        field: &FieldSource,
        document: &Document,
    ) -> Result<Value, TaskError> {
        let (value, rendered) = self.value(field, document)?;
        if !rendered {
            return Ok(value);
        }
        let value = self.index_or_text(value);
        let list = value
            .as_str()
            .filter(|text| text.len() >= 2 && text.starts_with('[') && text.ends_with(']'));
        Ok(list.and_then(literal).unwrap_or(value))
    }

    /// The choices.
    pub(crate) fn choices(
        &self,
        field: &FieldSource,
        document: &Document,
    ) -> Result<Vec<String>, TaskError> {
        let (value, rendered) = self.value(field, document)?;
        let list = match &value {
            Value::String(text) if rendered => literal(text),
            other => Some(other.clone()),
        };
        match list {
            Some(Value::Array(items)) if !items.is_empty() => {
                Ok(items.iter().map(crate::python::display).collect())
            }
            _ => {
                let found = record_files::excerpt(&crate::python::display(&value));
                Err(wrong(field, document, format!("`{found}` is no list of choices")))
            }
        }
    }

    /// Plain text, as of `description` and `gen_prefix`.
    pub(crate) fn plain(
        &self,
        field: &FieldSource,
        document: &Document,
    ) -> Result<String, TaskError> {
        Ok(crate::python::display(&self.value(field, document)?.0))
    }

    fn index_or_text(&self, value: Value) -> Value {
        match value.as_str() {
            Some(text) if self.has_choices && is_digits(text) => match text.parse::<i64>() {
                Ok(index) => index.into(),
                Err(_) => value,
            },
            _ => value,
        }
    }

    /// The value, and whether a template gave it.
    fn value(&self, field: &FieldSource, document: &Document) -> Result<(Value, bool), TaskError> {
        let text = match &field.field {
            Field::Integer(number) => return Ok(((*number).into(), false)),
            Field::List(items) => return Ok((items.clone().into(), false)),
            Field::Function(function) => {
                let value = function.apply(&document.row);
                return match value {
                    Ok(value) => Ok((value, false)),
                    Err(message) => Err(wrong(field, document, message)),
                };
            }
            Field::Text(text) => text,
        };
        if self.columns.contains(text) {
            let value = document.row.get(text).ok_or_else(|| missing(field, document, text))?;
            return Ok((value.clone(), false));
        }
        let context = minijinja::Value::from(Serde(&document.row));
        let rendered = self.environment.get_template(text).and_then(|template| {
            template.render(context).map_err(|error| {
                let lacking = template
                    .undeclared_variables(false)
                    .into_iter()
                    .filter(|name| document.row.get(name).is_none() && !is_global(name))
                    .min();
                match lacking {
                    Some(column) if error.kind() == ErrorKind::UndefinedError => {
                        Error::new(ErrorKind::UndefinedError, column)
                    }
                    _ => error,
                }
            })
        });
        match rendered {
            Ok(text) => Ok((text.into(), true)),
            Err(error) => Err(match (error.kind(), error.detail()) {
                (ErrorKind::UndefinedError, Some(column)) if is_name(column) => {
                    missing(field, document, column)
                }
                _ => wrong(field, document, explain(&error)),
            }),
        }
    }
}

fn is_global(name: &str) -> bool {
    matches!(name, "range" | "dict" | "namespace" | "debug" | "loop")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The message with the line of the template, without the template's text as its name.
fn explain(error: &Error) -> String {
    let message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) => format!("{message} (line {line} of the template)"),
        None => message,
    }
}

pub(super) fn wrong(field: &FieldSource, document: &Document, message: String) -> TaskError {
    TaskError::Render {
        place: field.place.to_string(),
        key: field.key.clone(),
        row: document.origin.to_string(),
        message,
    }
}

fn missing(field: &FieldSource, document: &Document, column: &str) -> TaskError {
    let columns: Vec<&str> = document.row.columns().collect();
    TaskError::MissingColumn {
        place: field.place.to_string(),
        key: field.key.clone(),
        column: column.to_owned(),
        row: document.origin.to_string(),
        columns: columns.join(", "),
    }
}
