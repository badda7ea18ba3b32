use std::path::PathBuf;

use eval_tasks::{BoxError, HubSource};
use model_zoo::HubDataset;

/// Data sets from the Hugging Face hub, where this program was built with the feature `hub`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hub;

impl HubSource for Hub {
    fn files(
        &self,
        dataset: &str,
        configuration: Option<&str>,
        split: &str,
    ) -> Result<Vec<PathBuf>, BoxError> {
        Ok(HubDataset::new(dataset, configuration.map(str::to_owned)).files(split)?)
    }
}
