use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::error::ApiError;

/// The keys of a request. Those that nothing asks for are ignored, as by other servers; a value of
/// a wrong type is an error that names its key.
pub(super) struct Fields(Map<String, Value>);

type Result<T> = std::result::Result<T, ApiError>;

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(body)
            .map_err(|error| ApiError::invalid(format!("the body is not UTF-8: {error}")))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::invalid("the body must be a JSON object")),
            Err(error) => Err(ApiError::invalid(format!("the body is not JSON: {error}"))),
        }
    }

    /// A value that is there, and is not null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let allowed = format!("a number from {} to {}", range.start(), range.end());
                Err(ApiError::value(key, value, &allowed))
            }
        }
    }

    pub(super) fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let allowed = format!("an integer from {} to {}", range.start(), range.end());
                Err(ApiError::value(key, value, &allowed))
            }
        }
    }

    /// A count, which may be 0.
    pub(super) fn count(&self, key: &str, most: usize) -> Result<Option<usize>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Ok(self.integer(key, 0..=most)?.and_then(|count| usize::try_from(count).ok()))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(ApiError::value(key, value, "true or false")),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(ApiError::value(key, value, "a text")),
        }
    }

    pub(super) fn required(&self, key: &str) -> Result<&str> {
        self.text(key)?.ok_or_else(|| ApiError::invalid(format!("`{key}` is missing")).at(key))
    }

    /// A text or a list of texts.
    pub(super) fn texts(&self, key: &str, most: usize) -> Result<Vec<String>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let wrong = || ApiError::value(key, value, &format!("a text, or a list of at most {most}"));
        match value {
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Array(list) if list.len() <= most => {
                let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(wrong);
                list.iter().map(text).collect()
            }
            _ => Err(wrong()),
        }
    }

    /// A list of objects, or of whatever else.
    pub(super) fn list(&self, key: &str) -> Result<Option<&[Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(value) => Err(ApiError::value(key, value, "a list")),
        }
    }

    pub(super) fn tokens(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().and_then(|list| list.iter().map(token).collect());
        list.map(Some).ok_or_else(|| ApiError::value(key, value, "a list of tokens"))
    }
}

/// A token.
pub(super) fn token(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|token| u32::try_from(token).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        let fields =
            Fields::parse(br#"{"a": "x", "b": 3, "c": null, "d": [1, "y"]}"#).ok().unwrap();
        assert_eq!(fields.number("b", 0.0..=5.0).ok().unwrap(), Some(3.0));
        assert_eq!(fields.number("c", 0.0..=5.0).ok().unwrap(), None);
        for error in [
            fields.number("a", 0.0..=1.0).err(),
            fields.number("b", 0.0..=1.0).err(),
            fields.integer("a", 0..=1).err(),
            fields.boolean("b").err(),
            fields.text("b").err(),
            fields.texts("d", 4).err(),
            fields.tokens("d").err(),
            fields.list("a").err(),
            fields.required("c").err(),
        ] {
            let body = error.unwrap().body();
            let (message, key) = (&body["error"]["message"], &body["error"]["param"]);
            assert!(message.as_str().unwrap().contains(key.as_str().unwrap()), "{body}");
        }
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        let bodies: [&[u8]; 5] = [b"", b"{", b"[1]", b"\xff{}", b"{\"a\": \"\xed\xa0\x80\"}"];
        for body in bodies {
            assert!(Fields::parse(body).is_err());
        }
        assert!(Fields::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
