use std::path::PathBuf;

use moe_adapter::AdapterFiles;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tensor_files::nearest;

use crate::FormatError;

/// Takes the keys of a configuration one by one, so that none is passed over in silence.
pub(crate) struct Keys {
    path: PathBuf,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Keys {
    pub(crate) fn of(raw: &AdapterFiles) -> Self {
        let (path, left) = (raw.config_path(), raw.config.clone());
        Self { path, left, known: Vec::new() }
    }

    /// A key that may be absent; `null` counts as absent.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, FormatError> {
        self.known.push(key);
        match self.left.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|error| {
                FormatError::KeyValue {
                    path: self.path.clone(),
                    key: key.into(),
                    found: value.to_string(),
                    allowed: error.to_string(),
                }
            }),
        }
    }

    /// A key with a default.
    pub(crate) fn or<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        default: T,
    ) -> Result<T, FormatError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// A key that must be there.
    pub(crate) fn required<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<T, FormatError> {
        let hint = self.left.keys().map(String::as_str);
        let nearest = nearest(key, hint);
        self.optional(key)?.ok_or_else(|| FormatError::MissingKey {
            path: self.path.clone(),
            key,
            nearest,
        })
    }

    /// Keys that change nothing here, whatever they hold.
    pub(crate) fn passive(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.known.push(key);
            self.left.remove(*key);
        }
    }

    /// A value that a key cannot have here.
    pub(crate) fn refuse(&self, key: &str, found: &str, allowed: &str) -> FormatError {
        FormatError::KeyValue {
            path: self.path.clone(),
            key: key.into(),
            found: found.into(),
            allowed: allowed.into(),
        }
    }

    /// Checks the keys that nothing asked for: they may only hold what switches nothing on.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        match self.left.iter().find(|(_, value)| !is_neutral(value)) {
            None => Ok(()),
            Some((key, value)) => Err(FormatError::UnknownKey {
                nearest: nearest(key, self.known.iter().copied()),
                path: self.path,
                key: key.clone(),
                found: value.to_string(),
            }),
        }
    }
}

fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
