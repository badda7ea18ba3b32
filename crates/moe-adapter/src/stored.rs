use std::path::Path;

use fused_ops::Precision;
use serde_json::{Map, Value, json};
use tensor_files::TensorTable;

use crate::values::{to_data, to_stored};
use crate::{
    Adaptable, AdaptedProjection, AdapterConfig, AdapterError, AdapterFiles, AdapterState,
    WeightsFile, adapter_state, stack_parameters, unstack_parameters,
};

/// The prefix that PEFT gives every name.
const PREFIX: &str = "base_model.model.";
/// `peft_type` of a mixture, which PEFT has no name for.
const MIXTURE: &str = "LORA_MOE";
/// `peft_type` of a single adapter, which PEFT reads.
const SINGLE: &str = "LORA";
/// The key of the precision of the training run.
const PRECISION: &str = "precision";
/// Where the keys are that another layout had besides.
const SOURCE: &str = "source";

/// An adapter as a folder holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAdapter {
    /// What it is.
    pub config: AdapterConfig,
    /// Its parameters.
    pub state: AdapterState,
    /// The base model that it was trained on, as whoever trained it called it.
    pub base_model_name_or_path: Option<String>,
    /// PEFT's name of the task, as in `CAUSAL_LM`.
    pub task_type: Option<String>,
    /// How activations were multiplied with frozen weights while it was trained, where the run said so.
    pub precision: Option<Precision>,
    /// What its folder said in another layout, kept as it is by whoever converted it.
    pub source: Option<Value>,
}

impl StoredAdapter {
    /// The adapters that a model carries, attached by `config`.
    pub fn of<M>(model: &M, config: &AdapterConfig, base_model: Option<&str>) -> Self
    where
        M: Adaptable,
        M::Projection: AdaptedProjection,
    {
        Self {
            config: config.clone(),
            state: adapter_state(model),
            base_model_name_or_path: base_model.map(str::to_owned),
            task_type: model.task_type().map(str::to_owned),
            precision: None,
            source: None,
        }
    }

    /// Reads a folder in this project's layout.
    ///
    /// # Errors
    ///
    /// [`AdapterError::OtherLayout`] for that of another project; otherwise [`AdapterError`] naming
    /// the file, the key or the tensor, and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, AdapterError> {
        let files = AdapterFiles::read(folder)?;
        if !Self::is_native(&files) {
            return Err(AdapterError::OtherLayout { path: files.config_path() });
        }
        Self::decode(&files)
    }

    /// Writes a folder in this project's layout, each file atomically.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when there is nothing to write or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), AdapterError> {
        if self.state.is_empty() {
            return Err(AdapterError::NoAdapter);
        }
        self.encode().write(folder, WeightsFile::default(), "\n")
    }

    /// Whether a folder says that it is in this project's layout.
    pub fn is_native(files: &AdapterFiles) -> bool {
        match files.config.get("peft_type").and_then(Value::as_str) {
            Some(MIXTURE) => true,
            Some(SINGLE) => files.config.contains_key("split_rank"),
            _ => false,
        }
    }

    /// The keys and tensors of this project's layout. A single LoRA has the names and shapes that
    /// PEFT gives it, those of `target_parameters` too.
    pub fn encode(&self) -> AdapterFiles {
        let mut config = Map::new();
        let peft_type = if self.config.is_mixture() { MIXTURE } else { SINGLE };
        config.insert("peft_type".into(), json!(peft_type));
        config.insert("task_type".into(), json!(self.task_type));
        config.insert("base_model_name_or_path".into(), json!(self.base_model_name_or_path));
        if let Some(precision) = self.precision {
            config.insert(PRECISION.into(), json!(precision));
        }
        if let Some(source) = &self.source {
            config.insert(SOURCE.into(), source.clone());
        }
        if let Value::Object(fields) = json!(self.config) {
            config.extend(fields);
        }
        let stacked = self.config.target_parameters.as_ref().map(|_| stack_parameters(&self.state));
        let tensors = stacked.as_ref().unwrap_or(&self.state).iter();
        let tensors = tensors.map(|(name, data)| (format!("{PREFIX}{name}"), to_stored(data)));
        let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
        AdapterFiles::new(config, TensorTable { tensors: tensors.collect(), metadata })
    }

    /// Understands keys and tensors of this project's layout.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn decode(files: &AdapterFiles) -> Result<Self, AdapterError> {
        let path = files.config_path();
        let parse = |source| AdapterError::Config { path: path.clone(), source };
        let mut keys = files.config.clone();
        keys.remove("peft_type");
        let precision =
            serde_json::from_value(keys.remove(PRECISION).unwrap_or(Value::Null)).map_err(parse)?;
        let mut text =
            |key| serde_json::from_value(keys.remove(key).unwrap_or(Value::Null)).map_err(parse);
        let task_type = text("task_type")?;
        let base_model_name_or_path = text("base_model_name_or_path")?;
        let source = keys.remove(SOURCE).filter(|source| !source.is_null());
        let config: AdapterConfig = serde_json::from_value(Value::Object(keys)).map_err(parse)?;
        config.check()?;
        let mut state = AdapterState::new();
        for (name, tensor) in &files.table.tensors {
            let mismatch = |found: String, expected: &str| AdapterError::TensorMismatch {
                origin: files.weights.display().to_string(),
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
        if let Some(targets) = &config.target_parameters {
            let origin = files.weights.display().to_string();
            state = unstack_parameters(state, targets, config.r, &origin)?;
        }
        Ok(Self { config, state, base_model_name_or_path, task_type, precision, source })
    }
}
