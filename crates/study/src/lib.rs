//! Comparing methods under equal conditions: many runs, one report.
//!
//! ```text
//! study.toml -> StudyConfig -> run_study -> StudyResults -> StudySummary -> report
//! ```
//!
//! Every run is kept as a file of its own as soon as it is done, and one in progress by checkpoints,
//! so that a study that was interrupted loses at most the steps since the last of them.

mod checkpoints;
mod claims;
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
mod level;
mod metric;
mod page;
mod part;
mod plan;
mod results;
mod routing;
mod row;
mod run;
mod setting;
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
pub use page::{
    StudyReportError, read_study_results, study_headline, study_html, write_study_report,
};
pub use part::StudyPart;
pub use plan::{PlannedRun, RunState, plan_study};
pub use results::{
    BaseResult, ExpertShares, MethodCost, MethodResults, RoutingMeasures, RunMeasures, RunRecord,
    SearchPoint, StudyAbout, StudyResults,
};
pub use row::{BASE, ResultRow};
pub use run::{StudyOptions, run_study};
pub use setting::Setting;
pub use summary::{CellSummary, DivergedRun, MetricSummary, StudySummary};
