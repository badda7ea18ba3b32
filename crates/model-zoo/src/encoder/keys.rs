use std::fmt::Display;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::ConfigError;

/// Reads `path` as JSON.
pub(crate) fn read_config(path: &Path) -> Result<Value, ConfigError> {
    let bytes =
        fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|source| ConfigError::Json { path: path.to_owned(), source })
}

/// The keys of a configuration, and errors that name them; `null` counts as absent.
pub(crate) struct Keys<'a> {
    origin: &'a str,
    prefix: &'a str,
    object: Option<&'a Map<String, Value>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(value: &'a Value, origin: &'a str) -> Result<Self, ConfigError> {
        match value.as_object() {
            Some(object) => Ok(Self { origin, prefix: "", object: Some(object) }),
            None => Err(ConfigError::Type {
                origin: origin.to_owned(),
                key: "(the whole file)".to_owned(),
                value: shorten(value),
                expected: "an object",
            }),
        }
    }

    /// Keys of a configuration made in memory: for the errors only.
    pub(crate) fn of(origin: &'a str) -> Self {
        Self { origin, prefix: "", object: None }
    }

    /// The object under `key`; `prefix` (as in `vision_config.`) names it in messages.
    pub(crate) fn object(
        &self,
        key: &str,
        prefix: &'a str,
    ) -> Result<Option<Keys<'a>>, ConfigError> {
        let object = self.typed(key, "an object", Value::as_object)?;
        Ok(object.map(|object| Self { origin: self.origin, prefix, object: Some(object) }))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object?.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.typed(key, "an integer of at least 0", |value| {
            value.as_u64().and_then(|n| usize::try_from(n).ok())
        })
    }

    pub(crate) fn required_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn token(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        self.typed(key, "a token id", |value| value.as_u64().and_then(|id| u32::try_from(id).ok()))
    }

    pub(crate) fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| ConfigError::Type {
            origin: self.origin.to_owned(),
            key: self.path(key),
            value: shorten(value),
            expected,
        })
    }

    /// Refuses a model of another type; gives the type.
    pub(crate) fn model_type(&self, allowed: &[&str]) -> Result<&'a str, ConfigError> {
        let found = self.text("model_type")?.ok_or_else(|| self.missing("model_type"))?;
        if !allowed.contains(&found) {
            return Err(self.unsupported("model_type", found, &allowed.join(", ")));
        }
        Ok(found)
    }

    /// Refuses quantised weights, and each of `flags` that is true.
    pub(crate) fn refuse(&self, flags: &[&str]) -> Result<(), ConfigError> {
        if self.get("quantization_config").is_some() {
            let allowed = "weights stored as f32, f16 or bf16";
            return Err(self.unsupported("quantization_config", "present", allowed));
        }
        for key in flags {
            if self.boolean(key)? == Some(true) {
                return Err(self.unsupported(key, "true", "false"));
            }
        }
        Ok(())
    }

    pub(crate) fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing { origin: self.origin.to_owned(), key: self.path(key) }
    }

    pub(crate) fn unsupported(&self, key: &str, value: &str, allowed: &str) -> ConfigError {
        ConfigError::Unsupported {
            origin: self.origin.to_owned(),
            key: self.path(key),
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    pub(crate) fn invalid(
        &self,
        key: &str,
        value: impl Display,
        allowed: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Invalid {
            origin: self.origin.to_owned(),
            key: self.path(key),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// Checks that sizes are not 0.
    pub(crate) fn check_sizes<const N: usize>(
        &self,
        sizes: [(&str, usize); N],
    ) -> Result<(), ConfigError> {
        match sizes.into_iter().find(|(_, size)| *size == 0) {
            Some((key, _)) => Err(self.invalid(key, 0, "at least 1")),
            None => Ok(()),
        }
    }

    /// Checks that heads divide the hidden size.
    pub(crate) fn check_heads(&self, heads: usize, hidden: usize) -> Result<(), ConfigError> {
        if hidden.is_multiple_of(heads) {
            return Ok(());
        }
        let allowed = format!("a divisor of `hidden_size`, {hidden}");
        Err(self.invalid("num_attention_heads", heads, allowed))
    }

    /// Checks that an image holds at least one patch.
    pub(crate) fn check_image(&self, image: usize, patch: usize) -> Result<(), ConfigError> {
        if image >= patch {
            return Ok(());
        }
        Err(self.invalid("image_size", image, format!("at least `patch_size`, {patch}")))
    }

    /// Checks numbers that are above 0.
    pub(crate) fn check_positive<const N: usize>(
        &self,
        numbers: [(&str, f64); N],
    ) -> Result<(), ConfigError> {
        match numbers.into_iter().find(|(_, x)| !(x.is_finite() && *x > 0.0)) {
            Some((key, x)) => Err(self.invalid(key, x, "a finite number above 0")),
            None => Ok(()),
        }
    }

    /// Checks probabilities of dropout.
    pub(crate) fn check_dropout<const N: usize>(
        &self,
        rates: [(&str, f64); N],
    ) -> Result<(), ConfigError> {
        match rates.into_iter().find(|(_, rate)| !(0.0..1.0).contains(rate)) {
            Some((key, rate)) => Err(self.invalid(key, rate, "at least 0 and below 1")),
            None => Ok(()),
        }
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// A value as it appears in a message.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
