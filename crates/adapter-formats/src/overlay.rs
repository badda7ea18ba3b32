use moe_adapter::StoredAdapter;
use serde_json::{Map, Value};

use crate::{AdapterFormat, Source};

/// A configuration in another layout, written over the one that the adapter came with: what says
/// the same stays as it was.
pub(crate) struct Overlay {
    object: Map<String, Value>,
    has_source: bool,
}

impl Overlay {
    pub(crate) fn new(adapter: &StoredAdapter, format: AdapterFormat) -> Self {
        let source = source_of(adapter, format);
        let has_source = source.is_some();
        Self { object: source.map(|source| source.config).unwrap_or_default(), has_source }
    }

    /// What the adapter came with under this key.
    pub(crate) fn found(&self, key: &str) -> Option<&Value> {
        self.object.get(key)
    }

    /// A key that is always there.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        if !self.object.get(key).is_some_and(|found| same(found, &value)) {
            self.object.insert(key.to_owned(), value);
        }
    }

    /// A key that may be absent, or `null`, where it has its default.
    pub(crate) fn set_or(&mut self, key: &str, value: Value, default: Value) {
        let is_default = same(&value, &default);
        let stays = match self.object.get(key) {
            None => is_default && self.has_source,
            Some(Value::Null) => is_default,
            Some(_) => false,
        };
        if !stays {
            self.set(key, value);
        }
    }

    pub(crate) fn finish(self) -> Map<String, Value> {
        self.object
    }
}

/// What the adapter's folder said, where it was in this layout.
pub(crate) fn source_of(adapter: &StoredAdapter, format: AdapterFormat) -> Option<Source> {
    Source::of(adapter).ok().flatten().filter(|source| source.format == format)
}

/// Whether two values are equal, whole numbers in either notation.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_the_same_stays() {
        let object = json!({"r": 8, "alpha": 16.0, "bias": null, "x": "kept"});
        let Value::Object(object) = object else { unreachable!() };
        let mut overlay = Overlay { object, has_source: true };
        overlay.set("r", json!(4));
        overlay.set("alpha", json!(16));
        overlay.set_or("bias", json!("none"), json!("none"));
        overlay.set_or("use_dora", json!(false), json!(false));
        overlay.set_or("use_rslora", json!(true), json!(false));
        let expected =
            json!({"r": 4, "alpha": 16.0, "bias": null, "x": "kept", "use_rslora": true});
        assert_eq!(Value::Object(overlay.finish()), expected);
    }
}
