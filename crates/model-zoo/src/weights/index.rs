use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::WeightError;

/// The index of a sharded model, `….index.json`: which shard holds which tensor.
#[derive(Debug, Deserialize)]
pub(super) struct ShardIndex {
    pub(super) weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    pub(super) fn read(path: &Path) -> Result<Self, WeightError> {
        let wrong = |message: String| WeightError::Index { path: path.to_owned(), message };
        let bytes =
            fs::read(path).map_err(|source| WeightError::Io { path: path.to_owned(), source })?;
        let index: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        for (tensor, shard) in &index.weight_map {
            // Shards lie beside their index: anything else is a mistake, or malice.
            if Path::new(shard).file_name().is_none_or(|name| name != shard.as_str()) {
                return Err(wrong(format!(
                    "`{shard}`, the file of `{tensor}`, is not a file name"
                )));
            }
        }
        Ok(index)
    }
}
