use std::collections::BTreeMap;

use moe_adapter::StoredAdapter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::AdapterFormat;

/// What an adapter's folder said in another layout, kept in [`StoredAdapter::source`] so that it
/// can be written again as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The layout.
    pub format: AdapterFormat,
    /// Its configuration.
    pub config: Map<String, Value>,
    /// What its safetensors file said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// The same of the adapters that it was made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Source>,
}

impl Source {
    /// What the folder of an adapter said; `None` for one that comes from no other layout.
    ///
    /// # Errors
    ///
    /// Says why what the adapter carries is none.
    pub fn of(adapter: &StoredAdapter) -> Result<Option<Self>, serde_json::Error> {
        adapter.source.clone().map(serde_json::from_value).transpose()
    }

    /// As an adapter carries it.
    pub(crate) fn into_value(self) -> Value {
        json!(self)
    }
}
