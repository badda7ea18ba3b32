use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One document, what the model was asked about it, what it answered, and the scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// The document's index in its split.
    pub doc_id: usize,
    /// The document.
    pub doc: Map<String, Value>,
    /// The reference answer.
    pub target: Value,
    /// What was asked: `[context, continuation]`, `[context, generation arguments]` or `[text]`, a
    /// list for each request.
    pub arguments: Vec<Value>,
    /// What was answered, for each request: `[log-likelihood, is greedy]`, a log-likelihood, or a
    /// text.
    pub resps: Vec<Value>,
    /// The answers after the filter.
    pub filtered_resps: Vec<Value>,
    /// The filter's name, `none` without one.
    pub filter: String,
    /// The names of the scores.
    pub metrics: Vec<String>,
    /// The scores, by name. What an aggregation needs more of than a number is a list, as a
    /// log-likelihood and a number of words.
    #[serde(flatten)]
    pub scores: Map<String, Value>,
}

impl SampleRecord {
    /// A score that is a number.
    pub fn score(&self, metric: &str) -> Option<f64> {
        match self.scores.get(metric)? {
            Value::Bool(right) => Some(f64::from(u8::from(*right))),
            value => value.as_f64(),
        }
    }

    /// A score that is a log-likelihood and the units (words, bytes) that it is spread over.
    pub fn weighted(&self, metric: &str) -> Option<(f64, f64)> {
        match self.scores.get(metric)?.as_array()?.as_slice() {
            [log_likelihood, units] => Some((log_likelihood.as_f64()?, units.as_f64()?)),
            _ => None,
        }
    }
}
