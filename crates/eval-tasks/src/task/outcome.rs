use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metric::MetricValue;

/// What one document scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleScore {
    /// The index of the document.
    pub document: usize,
    /// The right answer.
    pub target: Value,
    /// Whether the right answer is among the choices; where it is not, every score is 0.
    pub has_gold: bool,
    /// Answers and scores by filter.
    pub filters: Vec<FilterScore>,
}

/// The answers that a filter leaves, and what they score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterScore {
    /// The name of the filter; `none` if the task has none.
    pub filter: String,
    /// The filtered answer to each request: a text, or `[log-likelihood, is greedy]`.
    pub answers: Vec<Value>,
    /// The metrics, in the task's order.
    pub metrics: Vec<MetricScore>,
}

/// A metric of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricScore {
    /// The name.
    pub metric: String,
    /// The value.
    pub value: MetricValue,
}
