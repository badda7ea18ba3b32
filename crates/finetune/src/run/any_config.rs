use std::path::Path;

use toml::{Table, Value};

use super::tables::tables;
use super::{LabelledData, RunConfig};
use crate::train::TrainError;

/// The task of language models, which is the default.
const CAUSAL: &str = "causal_lm";

/// A run of a model of any kind: `data.task` decides.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyRunConfig {
    /// A language model: `causal_lm`, the default.
    Causal(Box<RunConfig>),
    /// An encoder: `sequence_classification`, `regression` or `image_classification`.
    Labelled(Box<RunConfig<LabelledData>>),
}

impl AnyRunConfig {
    /// Reads a run from TOML text, as [`RunConfig::from_toml`] does.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] naming the key, what was found and what is allowed.
    pub fn from_toml(text: &str, origin: &str, overrides: &[String]) -> Result<Self, TrainError> {
        let mut table = tables(text, origin, overrides)?;
        match is_causal(&mut table) {
            true => {
                let run: RunConfig = RunConfig::of_tables(table, origin)?;
                Ok(Self::Causal(Box::new(run.checked()?)))
            }
            false => {
                let run: RunConfig<LabelledData> = RunConfig::of_tables(table, origin)?;
                Ok(Self::Labelled(Box::new(run.checked()?)))
            }
        }
    }

    /// Reads a run from a file.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, the key and what is allowed.
    pub fn from_file(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|error| TrainError::Config {
            origin: path.display().to_string(),
            message: format!("{error}; `lora-moe config > run.toml` writes one to start from"),
        })?;
        Self::from_toml(&text, &path.display().to_string(), overrides)
    }

    /// The folder that receives what the run makes.
    pub fn output_dir(&self) -> &Path {
        match self {
            Self::Causal(run) => &run.output_dir,
            Self::Labelled(run) => &run.output_dir,
        }
    }
}

/// Whether a run is that of a language model, whose data has no other key for it.
fn is_causal(table: &mut Table) -> bool {
    let Some(Value::Table(data)) = table.get_mut("data") else {
        return true;
    };
    match data.get("task") {
        None => true,
        Some(task) if task.as_str() == Some(CAUSAL) => data.remove("task").is_some(),
        Some(_) => false,
    }
}
