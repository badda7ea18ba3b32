//! Comparing methods under equal conditions: many runs, one report.

mod results;

pub use results::{
    BaseResult, ExpertShares, MethodCost, MethodResults, RoutingMeasures, RunMeasures, RunRecord,
    SearchPoint, StudyResults,
};
