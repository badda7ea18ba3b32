use serde_json::{Map, Value, json};
use tensor_files::TensorTable;

use super::raw::RawAdapter;
use super::values::{to_data, to_stored};
use super::{Source, StoredAdapter};
use crate::{AdapterConfig, AdapterError, AdapterState};

/// The prefix that PEFT gives every name.
pub(super) const PREFIX: &str = "base_model.model.";
/// `peft_type` of a mixture, which PEFT has no name for.
pub(super) const MIXTURE: &str = "LORA_MOE";
/// `peft_type` of a single adapter, which PEFT reads.
const SINGLE: &str = "LORA";
/// Where the keys are that another layout had besides.
const SOURCE: &str = "source";

pub(super) fn encode(adapter: &StoredAdapter) -> Result<RawAdapter, AdapterError> {
    let mut config = Map::new();
    let peft_type = if adapter.config.is_mixture() { MIXTURE } else { SINGLE };
    config.insert("peft_type".into(), json!(peft_type));
    config.insert("task_type".into(), json!(adapter.task_type));
    config.insert("base_model_name_or_path".into(), json!(adapter.base_model_name_or_path));
    if let Some(source) = &adapter.source {
        config.insert(SOURCE.into(), json!(source));
    }
    if let Value::Object(fields) = json!(adapter.config) {
        config.extend(fields);
    }
    let tensors = adapter.state.iter();
    let tensors = tensors.map(|(name, data)| (format!("{PREFIX}{name}"), to_stored(data)));
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    Ok(RawAdapter::new(config, TensorTable { tensors: tensors.collect(), metadata }))
}

pub(super) fn decode(raw: &RawAdapter) -> Result<StoredAdapter, AdapterError> {
    let path = raw.config_path();
    let parse = |source| AdapterError::Config { path: path.clone(), source };
    let mut keys = raw.config.clone();
    keys.remove("peft_type");
    let mut take = |key| keys.remove(key).unwrap_or(Value::Null);
    let task_type = serde_json::from_value(take("task_type")).map_err(parse)?;
    let base = serde_json::from_value(take("base_model_name_or_path")).map_err(parse)?;
    let source: Option<Source> = serde_json::from_value(take(SOURCE)).map_err(parse)?;
    let config: AdapterConfig = serde_json::from_value(Value::Object(keys)).map_err(parse)?;
    config.check()?;
    let mut state = AdapterState::new();
    for (name, tensor) in &raw.table.tensors {
        let mismatch = |found: String, expected: &str| AdapterError::TensorMismatch {
            origin: raw.weights.display().to_string(),
            name: name.clone(),
            found,
            expected: expected.into(),
        };
        let Some(short) = name.strip_prefix(PREFIX) else {
            return Err(mismatch("named so".into(), "named base_model.model.…"));
        };
        let data = to_data(tensor).map_err(|found| mismatch(found, "F32, F16, BF16 or I32"))?;
        state.insert(short.to_owned(), data);
    }
    Ok(StoredAdapter { config, state, base_model_name_or_path: base, task_type, source })
}
