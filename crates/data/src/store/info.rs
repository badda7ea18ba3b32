use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::EncodeReport;

/// What a store of samples was made of, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreInfo {
    /// What its name stands for: all that changes the samples.
    pub made_of: Value,
    /// The counts.
    pub report: EncodeReport,
    /// The number of records.
    pub rows: usize,
    /// Where the samples of each entry of the data end.
    pub ends: Vec<usize>,
}
