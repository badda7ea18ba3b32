//! Comparing methods under equal conditions: many runs, one report.

mod equal;
mod estimate;
#[cfg(test)]
pub(crate) mod fixture;
mod front;
mod metric;
mod results;
mod summary;

pub use equal::{EqualLearning, KeptKnowledge};
pub use estimate::Estimate;
pub use front::pareto_front;
pub use metric::Metric;
pub use results::{
    BaseResult, ExpertShares, MethodCost, MethodResults, RoutingMeasures, RunMeasures, RunRecord,
    SearchPoint, StudyResults,
};
pub use summary::{CellSummary, DivergedRun, MetricSummary, StudySummary};
