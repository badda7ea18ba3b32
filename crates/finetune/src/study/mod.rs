//! Comparing methods under equal conditions: many runs, one report.
//!
//! ```text
//! study.toml -> StudyConfig -> run_study -> StudyResults -> report
//! ```
//!
//! Every run is kept as a file of its own as soon as it is done, so that a study that was
//! interrupted loses at most the runs in progress.

mod config;
mod cost;
mod results;
mod routing;
mod run;
mod solve;
mod store;

pub use config::{StudyConfig, StudyMethod};
pub use results::{
    BaseResult, ExpertShares, MethodCost, MethodResults, RoutingMeasures, RunMeasures, RunRecord,
    SearchPoint, StudyResults,
};
pub use run::{StudyOptions, run_study};
