use serde::{Deserialize, Serialize};

use super::{SampleScore, Task};
use crate::TaskError;
use crate::config::AggregateMetric;
use crate::metric::{MetricValue, group_score};

/// The results of a task or a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// How many documents.
    pub documents: usize,
    /// How many of them have a right answer that is not among their choices; they score 0.
    pub without_gold: usize,
    /// Metric after metric, filter after filter.
    pub metrics: Vec<MetricSummary>,
}

/// One metric under one filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The metric.
    pub metric: String,
    /// The filter.
    pub filter: String,
    /// The value.
    pub value: f64,
    /// Its standard error, where there is one.
    pub stderr: Option<f64>,
    /// Whether a larger value is a better one.
    pub higher_is_better: bool,
}

impl MetricSummary {
    /// The harness's key, as `acc,none`.
    pub fn key(&self) -> String {
        format!("{},{}", self.metric, self.filter)
    }

    /// The harness's key of the standard error, as `acc_stderr,none`.
    pub fn stderr_key(&self) -> String {
        format!("{}_stderr,{}", self.metric, self.filter)
    }
}

impl TaskSummary {
    /// The result of a metric under a filter.
    pub fn get(&self, metric: &str, filter: &str) -> Option<&MetricSummary> {
        self.metrics.iter().find(|result| result.metric == metric && result.filter == filter)
    }

    /// The results of a group from those of the tasks below it.
    ///
    /// Metrics come in the order of `metrics`, the filters of each in alphabetical order.
    pub fn of_group(tasks: &[&Self], metrics: &[AggregateMetric]) -> Self {
        let mut results = Vec::new();
        for AggregateMetric { metric, filter_list, weight_by_size } in metrics {
            let filters = filter_list.clone().unwrap_or_else(|| {
                let all = tasks.iter().flat_map(|task| &task.metrics);
                let mut filters: Vec<String> = all
                    .filter(|result| result.metric == *metric)
                    .map(|result| result.filter.clone())
                    .collect();
                filters.sort();
                filters.dedup();
                filters
            });
            for filter in filters {
                let found: Vec<_> = tasks
                    .iter()
                    .filter_map(|task| Some((task.get(metric, &filter)?, task.documents)))
                    .collect();
                let Some((first, _)) = found.first() else { continue };
                let scores: Vec<_> = found
                    .iter()
                    .map(|(result, documents)| (result.value, result.stderr, *documents))
                    .collect();
                let score = group_score(&scores, *weight_by_size);
                results.push(MetricSummary {
                    metric: metric.clone(),
                    filter,
                    value: score.value,
                    stderr: score.stderr,
                    higher_is_better: first.higher_is_better,
                });
            }
        }
        Self {
            documents: tasks.iter().map(|task| task.documents).sum(),
            without_gold: tasks.iter().map(|task| task.without_gold).sum(),
            metrics: results,
        }
    }
}

impl Task {
    /// The metrics over all documents, with standard errors; where they are bootstrapped, from
    /// `bootstrap_iterations` samples (the harness takes 100,000).
    ///
    /// # Errors
    /// A metric whose values its aggregation cannot take.
    pub fn aggregate(
        &self,
        samples: &[SampleScore],
        bootstrap_iterations: usize,
    ) -> Result<TaskSummary, TaskError> {
        let mut metrics = Vec::new();
        for config in &self.config.metrics {
            for pipeline in &self.config.filters {
                let name = config.metric.name();
                let values: Vec<&MetricValue> = samples
                    .iter()
                    .flat_map(|sample| &sample.filters)
                    .filter(|score| score.filter == pipeline.name)
                    .flat_map(|score| &score.metrics)
                    .filter(|score| score.metric == name)
                    .map(|score| &score.value)
                    .collect();
                if values.is_empty() {
                    continue;
                }
                let aggregated = config.aggregation.aggregate(&values, bootstrap_iterations);
                let (value, stderr) = aggregated.map_err(|message| TaskError::Metric {
                    task: self.config.task.clone(),
                    metric: name.into(),
                    message,
                })?;
                metrics.push(MetricSummary {
                    metric: name.into(),
                    filter: pipeline.name.clone(),
                    value,
                    stderr,
                    higher_is_better: config.higher_is_better,
                });
            }
        }
        let without_gold = samples.iter().filter(|sample| !sample.has_gold).count();
        Ok(TaskSummary { documents: samples.len(), without_gold, metrics })
    }
}
