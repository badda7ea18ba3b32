use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The content of `results.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationResults {
    /// By task or group: `alias`, and `metric,filter` with `metric_stderr,filter`, which is `N/A`
    /// where no standard error is defined.
    pub results: BTreeMap<String, Map<String, Value>>,
    /// The groups among [`results`](Self::results).
    #[serde(default)]
    pub groups: BTreeMap<String, Map<String, Value>>,
    /// By group: the tasks and groups directly in it.
    #[serde(default)]
    pub group_subtasks: BTreeMap<String, Vec<String>>,
    /// By task: its configuration, as it was used.
    #[serde(default)]
    pub configs: BTreeMap<String, Value>,
    /// By task: the version of its file, where it has one.
    #[serde(default)]
    pub versions: BTreeMap<String, Value>,
    /// By task: the number of few-shot examples.
    #[serde(default, rename = "n-shot")]
    pub num_fewshot: BTreeMap<String, usize>,
    /// By task, then metric: whether more is better.
    #[serde(default)]
    pub higher_is_better: BTreeMap<String, BTreeMap<String, bool>>,
    /// By task: how many documents there are, and how many were used.
    #[serde(default, rename = "n-samples")]
    pub num_samples: BTreeMap<String, SampleCount>,
    /// The model, its adapters, options, seeds and hashes of data and weights.
    #[serde(default)]
    pub config: Value,
}

/// The documents of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleCount {
    /// In the split.
    pub original: usize,
    /// Used.
    pub effective: usize,
}

impl EvaluationResults {
    /// A value and its standard error, of a task or group.
    pub fn value(&self, task: &str, metric: &str, filter: &str) -> Option<(f64, Option<f64>)> {
        let row = self.results.get(task)?;
        let value = row.get(&format!("{metric},{filter}"))?.as_f64()?;
        let error = row.get(&format!("{metric}_stderr,{filter}")).and_then(Value::as_f64);
        Some((value, error))
    }

    /// The metrics of a task or group with their filters, in alphabetical order.
    pub fn metrics(&self, task: &str) -> Vec<(&str, &str)> {
        let keys = self.results.get(task).into_iter().flat_map(Map::keys);
        let pairs = keys.filter_map(|key| key.split_once(','));
        pairs.filter(|(metric, _)| !metric.ends_with("_stderr")).collect()
    }
}
