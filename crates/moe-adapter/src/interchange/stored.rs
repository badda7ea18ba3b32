use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::raw::RawAdapter;
use super::{AdapterFormat, detect, expressible};
use crate::{
    Adaptable, AdaptedProjection, AdapterConfig, AdapterError, AdapterState, adapter_state,
};

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
    /// What the folder said, where it was in another layout.
    pub source: Option<Source>,
}

/// What an adapter's folder said in another layout, kept so that it can be written again as it
/// was.
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
}

/// The file of an adapter's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightsFile {
    /// `adapter_model.safetensors`.
    #[default]
    Safetensors,
    /// `adapter_model.bin`, as `torch.save` writes it.
    PyTorch,
}

impl WeightsFile {
    /// Both, in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Safetensors, Self::PyTorch];

    /// Its name in the folder.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Safetensors => crate::ADAPTER_WEIGHTS_FILE,
            Self::PyTorch => "adapter_model.bin",
        }
    }
}

/// How an adapter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// The layout.
    pub format: AdapterFormat,
    /// The file of the tensors.
    pub weights: WeightsFile,
    /// Whether settings that matter in training only, as the balance loss, may be lost where the
    /// layout has no keys for them.
    pub drop_training: bool,
}

impl WriteOptions {
    /// A layout in safetensors, without loss.
    pub fn new(format: AdapterFormat) -> Self {
        Self { format, weights: WeightsFile::default(), drop_training: false }
    }
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
            source: None,
        }
    }

    /// Reads a folder in any layout.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] naming the file, the key or the tensor, and what is wrong with it. A key
    /// or a tensor that is not understood is an error.
    pub fn read(folder: &Path) -> Result<Self, AdapterError> {
        let raw = RawAdapter::read(folder)?;
        let format = detect::format(&raw)?;
        format.decode(&raw)
    }

    /// Reads a folder in a given layout.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_as(folder: &Path, format: AdapterFormat) -> Result<Self, AdapterError> {
        format.decode(&RawAdapter::read(folder)?)
    }

    /// The layout of a folder.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn detect(folder: &Path) -> Result<AdapterFormat, AdapterError> {
        detect::format(&RawAdapter::read(folder)?)
    }

    /// Writes a folder in this project's layout, each file atomically.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when there is nothing to write or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), AdapterError> {
        self.write_as(folder, &WriteOptions::new(AdapterFormat::Native))
    }

    /// Writes a folder in any layout, each file atomically.
    ///
    /// # Errors
    ///
    /// [`AdapterError::CannotExpress`] naming everything that the layout has no place for; nothing
    /// is written then.
    pub fn write_as(&self, folder: &Path, options: &WriteOptions) -> Result<(), AdapterError> {
        if self.state.is_empty() {
            return Err(AdapterError::NoAdapter);
        }
        let refused = |what: String| {
            let format = options.format.name();
            AdapterError::CannotExpress { format, what, only_training: false }
        };
        if options.format.only_mixtures() && !self.config.is_mixture() {
            return Err(refused("it has no router, because `num_experts` is 1".into()));
        }
        let raw = options.format.encode(self)?;
        if options.format != AdapterFormat::Native {
            let unread = |error| refused(format!("what would be written cannot be read: {error}"));
            let again = options.format.decode(&raw).map_err(unread)?;
            expressible::check(self, &again, options)?;
        }
        let end = if options.format == AdapterFormat::Native { "\n" } else { "" };
        raw.write(folder, options.weights, end)
    }
}
