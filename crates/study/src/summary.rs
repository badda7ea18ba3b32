use serde::{Deserialize, Serialize};

use super::{
    Divergence, EqualLearning, Estimate, Metric, RunMeasures, RunRecord, StudyResults, pareto_front,
};

/// What a study's runs say together: means over seeds, with their uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudySummary {
    /// The base models over the seeds: knowledge, tasks, score and text loss.
    pub base: Vec<MetricSummary>,
    /// One entry for each method and amount of data, by amount and then in the order of methods.
    pub cells: Vec<CellSummary>,
    /// The methods at equal tasks learned; absent where they share no level.
    pub equal_learning: Option<EqualLearning>,
}

/// The runs of a method on an amount of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellSummary {
    /// The method.
    pub method: String,
    /// The amount of data.
    pub samples: usize,
    /// How many runs there are, diverged ones included.
    pub runs: usize,
    /// The runs that diverged; they are in no mean.
    pub diverged: Vec<DivergedRun>,
    /// Whether no other method and amount of data is better in mean tasks and mean knowledge both.
    pub front: bool,
    /// The metrics that were measured.
    pub metrics: Vec<MetricSummary>,
}

/// A run that diverged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DivergedRun {
    /// Its seed.
    pub seed: u64,
    /// Why.
    #[serde(flatten)]
    pub divergence: Divergence,
}

/// A metric over the seeds that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// The metric.
    pub metric: Metric,
    /// Its mean.
    pub estimate: Estimate,
    /// The mean difference from the baseline at the same amount of data, paired by seed, over the
    /// seeds in which both were measured. Absent for the baseline itself.
    pub difference: Option<Estimate>,
}

impl StudySummary {
    /// Summarises a study.
    pub fn of(results: &StudyResults) -> Self {
        let mut samples = results.samples.clone();
        samples.sort_unstable();
        samples.dedup();
        let mut cells: Vec<_> = samples
            .into_iter()
            .flat_map(|n| results.methods.iter().map(move |method| (method.name.as_str(), n)))
            .filter_map(|(method, n)| cell(results, method, n))
            .collect();
        let mean =
            |cell: &CellSummary, metric| cell.get(metric).map_or(f64::NAN, |m| m.estimate.mean);
        let points: Vec<_> = cells
            .iter()
            .map(|cell| (mean(cell, Metric::Tasks), mean(cell, Metric::Knowledge)))
            .collect();
        for (cell, front) in cells.iter_mut().zip(pareto_front(&points)) {
            cell.front = front;
        }
        Self { base: base(results), cells, equal_learning: EqualLearning::of(results) }
    }

    /// The runs of a method on an amount of data.
    pub fn cell(&self, method: &str, samples: usize) -> Option<&CellSummary> {
        self.cells.iter().find(|cell| cell.method == method && cell.samples == samples)
    }

    /// A metric of the base models.
    pub fn base(&self, metric: Metric) -> Option<&Estimate> {
        self.base.iter().find(|own| own.metric == metric).map(|own| &own.estimate)
    }
}

impl CellSummary {
    /// A metric; `None` where it was measured in no run.
    pub fn get(&self, metric: Metric) -> Option<&MetricSummary> {
        self.metrics.iter().find(|own| own.metric == metric)
    }
}

fn base(results: &StudyResults) -> Vec<MetricSummary> {
    let summary = |metric: Metric| {
        let values = results.base.iter().filter_map(|base| {
            let measured = RunMeasures {
                knowledge: base.knowledge,
                tasks: base.tasks,
                text_loss: base.text_loss,
                knowledge_loss: base.knowledge_loss,
                task_loss: base.task_loss,
                ..RunMeasures::default()
            };
            metric.of(&measured, None)
        });
        Some(MetricSummary { metric, estimate: Estimate::of(values)?, difference: None })
    };
    Metric::ALL.into_iter().filter_map(summary).collect()
}

fn cell(results: &StudyResults, method: &str, samples: usize) -> Option<CellSummary> {
    let of = |name: &str| -> Vec<&RunRecord> {
        let own = |run: &&RunRecord| run.method == name && run.samples == samples;
        results.runs.iter().filter(own).collect()
    };
    let (own, baseline) = (of(method), of(&results.baseline));
    if own.is_empty() {
        return None;
    }
    let value = |run: &RunRecord, metric: Metric| {
        let base = results.base.iter().find(|base| base.seed == run.seed);
        metric.of(run.counted()?, base)
    };
    let summary = |metric: Metric| {
        let estimate = Estimate::of(own.iter().filter_map(|run| value(run, metric)))?;
        let pairs = own.iter().filter_map(|run| {
            let other = baseline.iter().find(|other| other.seed == run.seed)?;
            Some(value(run, metric)? - value(other, metric)?)
        });
        let compared = method != results.baseline;
        let difference = if compared { Estimate::of(pairs) } else { None };
        Some(MetricSummary { metric, estimate, difference })
    };
    let diverged = own.iter().filter_map(|run| {
        run.diverged.map(|divergence| DivergedRun { seed: run.seed, divergence })
    });
    Some(CellSummary {
        method: method.to_owned(),
        samples,
        runs: own.len(),
        diverged: diverged.collect(),
        front: false,
        metrics: Metric::ALL.into_iter().filter_map(summary).collect(),
    })
}

#[cfg(test)]
mod tests;
