use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::ConfigError;

/// Reads a JSON file.
pub(super) fn read_json(path: &Path) -> Result<Value, ConfigError> {
    let bytes =
        fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|source| ConfigError::Json { path: path.to_owned(), source })
}

/// Typed access to the keys of one JSON object; `null` counts as absent.
pub(super) struct Reader<'a> {
    origin: &'a str,
    prefix: &'a str,
    object: &'a Map<String, Value>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a Value, origin: &'a str) -> Result<Self, ConfigError> {
        match value {
            Value::Object(object) => Ok(Self { origin, prefix: "", object }),
            other => Err(ConfigError::Type {
                origin: origin.to_owned(),
                key: "(the whole file)".to_owned(),
                value: shorten(other),
                expected: "an object",
            }),
        }
    }

    /// The object under `key`; `prefix` (as in `rope_scaling.`) names it in messages.
    pub(super) fn object(
        &self,
        key: &str,
        prefix: &'a str,
    ) -> Result<Option<Reader<'a>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Reader { origin: self.origin, prefix, object })),
            Some(other) => Err(self.wrong_type(key, other, "an object")),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, be it with `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// Whether there is no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    /// The keys that hold objects.
    pub(super) fn object_keys(&self) -> impl Iterator<Item = &str> {
        self.object.iter().filter(|(_, value)| value.is_object()).map(|(key, _)| key.as_str())
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.typed(key, "an integer of at least 0", |value| {
            value.as_u64().and_then(|n| usize::try_from(n).ok())
        })
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, ConfigError> {
        self.typed(key, "a list of numbers", |value| {
            value.as_array()?.iter().map(Value::as_f64).collect()
        })
    }

    pub(super) fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>, ConfigError> {
        self.typed(key, "a list of integers of at least 0", |value| {
            let sizes = value.as_array()?.iter();
            sizes.map(|size| size.as_u64().and_then(|n| usize::try_from(n).ok())).collect()
        })
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ConfigError> {
        self.typed(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    pub(super) fn token(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        // Some configurations use -1 for "none".
        if self.get(key).and_then(Value::as_i64) == Some(-1) {
            return Ok(None);
        }
        self.typed(key, "a token id", token)
    }

    pub(super) fn tokens(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        if self.get(key).is_some_and(Value::is_array) {
            let list = self.typed(key, "a token id or a list of token ids", |value| {
                value.as_array()?.iter().map(token).collect::<Option<Vec<_>>>()
            })?;
            Ok(list.unwrap_or_default())
        } else {
            Ok(self.token(key)?.into_iter().collect())
        }
    }

    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing {
            origin: self.origin.to_owned(),
            key: format!("{}{key}", self.prefix),
        })
    }

    pub(super) fn unsupported(&self, key: &str, value: &str, allowed: &str) -> ConfigError {
        ConfigError::Unsupported {
            origin: self.origin.to_owned(),
            key: format!("{}{key}", self.prefix),
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    pub(super) fn invalid(&self, key: &str, value: &str, allowed: &str) -> ConfigError {
        ConfigError::Invalid {
            origin: self.origin.to_owned(),
            key: format!("{}{key}", self.prefix),
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => {
                convert(value).map(Some).ok_or_else(|| self.wrong_type(key, value, expected))
            }
        }
    }

    fn wrong_type(&self, key: &str, value: &Value, expected: &'static str) -> ConfigError {
        ConfigError::Type {
            origin: self.origin.to_owned(),
            key: format!("{}{key}", self.prefix),
            value: shorten(value),
            expected,
        }
    }
}

fn token(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// A value as it appears in a message.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
