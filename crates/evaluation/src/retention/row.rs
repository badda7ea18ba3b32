use serde::{Deserialize, Serialize};

use super::PairedTest;

/// Everything that is compared of one evaluation with an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    /// The earlier evaluation.
    pub before: String,
    /// The later one.
    pub after: String,
    /// A row for each task or group, filter and metric.
    pub rows: Vec<RetentionRow>,
}

/// One metric of one task or group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetentionRow {
    /// The task or group.
    pub task: String,
    /// Whether it is a group: its documents are then those of all its tasks.
    pub group: bool,
    /// The filter.
    pub filter: String,
    /// The metric. A perplexity is compared as the loss it is made of, in nats a unit, and named
    /// `loss per word`, `loss per byte`.
    pub metric: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// The documents.
    pub samples: usize,
    /// The mean before.
    pub before: f64,
    /// The mean after.
    pub after: f64,
    /// `after - before`.
    pub difference: f64,
    /// The standard error of the difference, from the documents' own differences; absent with
    /// fewer than two documents.
    pub stderr: Option<f64>,
    /// `after / before`; absent where nothing was there before, and for losses.
    pub share_kept: Option<f64>,
    /// Of the documents right before, the share still right; for scores of 0 and 1 only.
    pub still_right: Option<f64>,
    /// The test that the difference is none.
    pub test: Option<PairedTest>,
}
