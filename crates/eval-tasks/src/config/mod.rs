//! What a task file says, checked: keys, their values, and which of them go together.

mod dataset;
mod fewshot;
mod field;
mod filter;
mod generation;
mod group;
mod metric;
mod output_type;
mod task;

pub use dataset::{DataFiles, DatasetConfig};
pub use fewshot::{FewshotConfig, Sampler};
pub use field::{Field, FieldSource};
#[cfg(test)]
pub(crate) use filter::pipelines as filter_pipelines;
pub use filter::{FilterPipelineConfig, FilterStep, RegexStep};
pub use group::{AggregateMetric, GroupConfig, GroupMember};
pub use metric::MetricConfig;
pub use output_type::OutputType;
pub use task::TaskConfig;
