//! Comparing methods under equal conditions: many runs, one report.
//!
//! ```text
//! study.toml -> StudyConfig -> run_study -> StudyResults -> StudySummary -> report
//! ```
//!
//! Every run is kept as a file of its own as soon as it is done, so that a study that was
//! interrupted loses at most the runs in progress.

mod config;
mod cost;
pub mod demo;
mod divergence;
mod equal;
mod error;
mod estimate;
#[cfg(test)]
pub(crate) mod fixture;
mod front;
mod ground;
mod metric;
pub mod report;
mod results;
mod routing;
mod run;
mod solve;
mod store;
mod summary;
mod tune;
pub mod world;

pub use config::{StudyConfig, StudyMethod};
pub use divergence::Divergence;
pub use equal::{EqualLearning, KeptKnowledge};
pub use error::StudyError;
pub use estimate::Estimate;
pub use front::pareto_front;
pub use ground::{DataGroundConfig, DataMeasures, GroundConfig};
pub use metric::Metric;
pub use results::{
    BaseResult, ExpertShares, MethodCost, MethodResults, RoutingMeasures, RunMeasures, RunRecord,
    SearchPoint, StudyAbout, StudyResults,
};
pub use run::{StudyOptions, run_study};
pub use summary::{CellSummary, DivergedRun, MetricSummary, StudySummary};
