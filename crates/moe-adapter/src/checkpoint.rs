use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};

use crate::{
    Adaptable, AdaptedProjection, AdapterConfig, AdapterError, AdapterState, adapter_state,
    write_atomically,
};

/// The configuration in an adapter's folder.
pub const ADAPTER_CONFIG_FILE: &str = "adapter_config.json";
/// The parameters in an adapter's folder.
pub const ADAPTER_WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// The prefix that PEFT gives every name.
const PREFIX: &str = "base_model.model.";
/// `peft_type` of a mixture, which PEFT has no name for.
const MIXTURE: &str = "LORA_MOE";
/// `peft_type` of a single adapter, which PEFT reads.
const SINGLE: &str = "LORA";

/// Saves the adapters of a model into a folder: `adapter_config.json` and
/// `adapter_model.safetensors`, each written atomically. A single LoRA is written as PEFT does.
///
/// # Errors
///
/// [`AdapterError`] when the model carries no adapter or a file cannot be written.
pub fn save_adapter<M>(
    model: &M,
    config: &AdapterConfig,
    base_model: Option<&str>,
    folder: &Path,
) -> Result<(), AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    let state = adapter_state(model);
    if state.is_empty() {
        return Err(AdapterError::NoAdapter);
    }
    let weights = folder.join(ADAPTER_WEIGHTS_FILE);
    let views: Vec<_> = state
        .iter()
        .map(|(name, data)| {
            let shape = data.shape().as_slice().to_vec();
            let dtype = if data.dtype() == DType::I32 { Dtype::I32 } else { Dtype::F32 };
            TensorView::new(dtype, shape, data.as_bytes())
                .map(|view| (format!("{PREFIX}{name}"), view))
                .map_err(|source| AdapterError::Safetensors { path: weights.clone(), source })
        })
        .collect::<Result<_, _>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|source| AdapterError::Safetensors { path: weights.clone(), source })?;
    write_atomically(&weights, &bytes)
        .map_err(|source| AdapterError::Io { path: weights.clone(), source })?;

    let path = folder.join(ADAPTER_CONFIG_FILE);
    let text = config_json(config, base_model)
        .map_err(|source| AdapterError::Config { path: path.clone(), source })?;
    write_atomically(&path, text.as_bytes()).map_err(|source| AdapterError::Io { path, source })
}

/// Reads an adapter's folder: its configuration and its parameters, to be put on a model with
/// [`attach_saved`](crate::attach_saved).
///
/// # Errors
///
/// [`AdapterError`] naming the file and what is wrong with it.
pub fn load_adapter(folder: &Path) -> Result<(AdapterConfig, AdapterState), AdapterError> {
    let config = read_config(&folder.join(ADAPTER_CONFIG_FILE))?;
    let state = read_weights(&folder.join(ADAPTER_WEIGHTS_FILE))?;
    Ok((config, state))
}

fn config_json(
    config: &AdapterConfig,
    base_model: Option<&str>,
) -> Result<String, serde_json::Error> {
    let mut object = Map::new();
    let peft_type = if config.is_mixture() { MIXTURE } else { SINGLE };
    object.insert("peft_type".into(), json!(peft_type));
    object.insert("task_type".into(), json!("CAUSAL_LM"));
    object.insert("base_model_name_or_path".into(), json!(base_model));
    if let Value::Object(fields) = serde_json::to_value(config)? {
        object.extend(fields);
    }
    let mut text = serde_json::to_string_pretty(&object)?;
    text.push('\n');
    Ok(text)
}

fn read_config(path: &Path) -> Result<AdapterConfig, AdapterError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| AdapterError::Io { path: path.into(), source })?;
    let parse = |source| AdapterError::Config { path: path.into(), source };
    let mut object: Map<String, Value> = serde_json::from_str(&text).map_err(parse)?;
    let unsupported = |key, found: &Value, allowed: String| AdapterError::Unsupported {
        path: path.into(),
        key,
        found: found.to_string(),
        allowed,
    };
    let peft_type = object.remove("peft_type").unwrap_or(Value::Null);
    if peft_type != SINGLE && peft_type != MIXTURE {
        let allowed = format!("\"{SINGLE}\" and \"{MIXTURE}\"");
        return Err(unsupported("peft_type", &peft_type, allowed));
    }
    let task_type = object.remove("task_type").unwrap_or(Value::Null);
    if !task_type.is_null() && task_type != "CAUSAL_LM" {
        return Err(unsupported("task_type", &task_type, "\"CAUSAL_LM\"".into()));
    }
    object.remove("base_model_name_or_path");
    let config: AdapterConfig = serde_json::from_value(Value::Object(object)).map_err(parse)?;
    config.check()?;
    Ok(config)
}

fn read_weights(path: &Path) -> Result<AdapterState, AdapterError> {
    let bytes =
        std::fs::read(path).map_err(|source| AdapterError::Io { path: path.into(), source })?;
    let parse = |source| AdapterError::Safetensors { path: path.into(), source };
    let tensors = SafeTensors::deserialize(&bytes).map_err(parse)?;
    let mut state = AdapterState::new();
    for (name, view) in tensors.tensors() {
        let mismatch = |found: String, expected: &str| AdapterError::TensorMismatch {
            origin: path.display().to_string(),
            name: name.clone(),
            found,
            expected: expected.into(),
        };
        let Some(short) = name.strip_prefix(PREFIX) else {
            return Err(mismatch("named so".into(), "named base_model.model.…"));
        };
        let shape = view.shape().to_vec();
        let chunks = view.data().as_chunks::<4>().0.iter();
        let data = match view.dtype() {
            Dtype::F32 => {
                let values: Vec<f32> = chunks.map(|chunk| f32::from_le_bytes(*chunk)).collect();
                TensorData::new(values, shape)
            }
            Dtype::I32 => {
                let values: Vec<i32> = chunks.map(|chunk| i32::from_le_bytes(*chunk)).collect();
                TensorData::new(values, shape)
            }
            other => return Err(mismatch(format!("{other:?}"), "F32")),
        };
        state.insert(short.to_owned(), data);
    }
    Ok(state)
}
