//! The tables of a configuration: read, assigned to, merged and understood.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::train::TrainError;

/// The tables of a run.
const TABLES: [&str; 5] = ["model", "adapter", "data", "training", "evaluation"];

/// The tables of a text with its `overrides`.
pub(super) fn tables(text: &str, origin: &str, overrides: &[String]) -> Result<Table, TrainError> {
    let config = |message: String| TrainError::Config { origin: origin.into(), message };
    let mut table: Table =
        text.parse().map_err(|error: toml::de::Error| config(error.to_string()))?;
    for assignment in overrides {
        set(&mut table, assignment)?;
    }
    match table.keys().find(|key| !TABLES.contains(&key.as_str())) {
        None => Ok(table),
        Some(key) => Err(config(format!(
            "unknown table `[{key}]`; there are `[model]`, `[adapter]`, `[data]`, `[training]` and \
             `[[evaluation]]`"
        ))),
    }
}

/// Reads the section `name` of the configuration at `origin`.
///
/// # Errors
/// [`TrainError::Config`] naming the section and the key.
pub fn parse<T: DeserializeOwned>(
    table: Table,
    section: &str,
    origin: &str,
) -> Result<T, TrainError> {
    Value::Table(table).try_into().map_err(|error: toml::de::Error| TrainError::Config {
        origin: origin.into(),
        message: in_one_line(section, error.to_string().trim()),
    })
}

/// What is wrong in a section: the key, which the parser tells in a line of its own, comes first, and
/// types are called what users call them.
fn in_one_line(section: &str, error: &str) -> String {
    let (what, key) = match error.rsplit_once("\nin `") {
        Some((what, key)) => (what, format!(", `{}`", key.trim_end_matches('`'))),
        None => (error, String::new()),
    };
    let what = what
        .replace("expected usize", "expected a whole number of at least 0")
        .replace("expected u64", "expected a whole number of at least 0")
        .replace("expected f64", "expected a number");
    format!("in `[{section}]`{key}: {what}")
}

/// Puts the values of `changes` into `table`. Tables of the same `type` are merged, others
/// replaced: the keys of one strategy mean nothing to another. So are tables that name one variant
/// each, as in `init = { normal = { std = 0.02 } }`.
pub(super) fn merge(table: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new))
                if new.get("type").is_none_or(|kind| old.get("type") == Some(kind))
                    && !other_variant(old, &new) =>
            {
                merge(old, new);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Whether both are one key, and not the same.
fn other_variant(old: &Table, new: &Table) -> bool {
    old.len() == 1 && new.len() == 1 && old.keys().ne(new.keys())
}

/// Applies one `key.path=value`; the value is TOML, or text where it is not.
pub(super) fn set(table: &mut Table, assignment: &str) -> Result<(), TrainError> {
    let wrong = |message: &str| TrainError::Config {
        origin: format!("--set {assignment}"),
        message: message.into(),
    };
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| wrong("expected KEY=VALUE, as in training.learning_rate=1e-4"))?;
    let text = text.trim();
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut keys: Vec<_> = path.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| wrong("the key is empty"))?;
    let mut at = table;
    for key in keys {
        let next = at.entry(key.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(|| wrong("the path leads through a plain value"))?;
    }
    // The keys of one strategy mean nothing to another.
    if last == "type" && at.get(last).is_some_and(|kind| *kind != value) {
        at.clear();
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
