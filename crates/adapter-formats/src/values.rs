use serde_json::{Value, json};

/// A number as other projects write it: whole ones as integers.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}
