use std::path::{Path, PathBuf};

use adapter_formats::read_adapter;
use moe_adapter::AdapterConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::preset::with_preset;
use super::tables::{merge, parse};
use crate::train::TrainError;

/// Keys of an adapter that may differ from those of the saved one: they matter in training only.
const MAY_DIFFER: [&str; 4] = ["lora_dropout", "dropout_mask", "loraplus_lr_ratio", "balance_loss"];

/// Which part of an adapter is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainedPart {
    /// Experts and routers.
    #[default]
    All,
    /// Routers only: the experts stay as they are.
    Router,
}

/// Where the adapter of a run starts, and what of it is trained: the keys `from` and `train` of
/// `[adapter]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterStart {
    /// The folder of a saved adapter, in any layout. Default: a fresh adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// What is trained. Default: all of it.
    pub train: TrainedPart,
}

impl AdapterStart {
    /// Takes its keys out of the table of an adapter, and reads the configuration that the other
    /// keys, and the saved adapter, give.
    pub(super) fn read(
        mut table: Table,
        origin: &str,
    ) -> Result<(Self, AdapterConfig), TrainError> {
        let mut own = Table::new();
        for key in ["from", "train"] {
            own.extend(table.remove(key).map(|value| (key.to_owned(), value)));
        }
        let start: Self = parse(own, "adapter", origin)?;
        let adapter = match &start.from {
            None => super::adapter_from_table(table, origin)?,
            Some(folder) => saved(table, folder, origin)?,
        };
        if start.train == TrainedPart::Router && start.from.is_none() {
            return Err(TrainError::Config {
                origin: origin.into(),
                message: "`adapter.train` is \"router\", which needs `adapter.from`: the experts \
                          of a fresh adapter do nothing yet"
                    .into(),
            });
        }
        Ok((start, adapter))
    }
}

/// The configuration of a saved adapter, with the keys of `table` that may differ from it.
fn saved(table: Table, folder: &Path, origin: &str) -> Result<AdapterConfig, TrainError> {
    let config = |message: String| TrainError::Config { origin: origin.into(), message };
    let saved = read_adapter(folder)?.config;
    let keys = Table::try_from(&saved).map_err(|error| config(error.to_string()))?;
    let mut changed = keys.clone();
    for (key, value) in with_preset(table, origin)? {
        let one = Table::from_iter([(key.clone(), value.clone())]);
        if MAY_DIFFER.contains(&key.as_str()) {
            merge(&mut changed, one);
            continue;
        }
        let mut with_key = keys.clone();
        merge(&mut with_key, one);
        if parse::<AdapterConfig>(with_key, "adapter", origin)? != saved {
            let has = keys.get(&key).map_or("no such key".to_owned(), Value::to_string);
            return Err(config(format!(
                "`adapter.{key}` is {value}, but the adapter in {} has {has}; remove the key (only \
                 {} may differ)",
                folder.display(),
                MAY_DIFFER.join(", ")
            )));
        }
    }
    let adapter: AdapterConfig = parse(changed, "adapter", origin)?;
    adapter.check()?;
    Ok(adapter)
}
