//! A task with its data: documents, requests, scores.

mod instances;
mod load;
mod options;
mod outcome;
mod score;
mod summary;

pub use load::Task;
pub use options::{Limit, PromptOptions};
pub use outcome::{FilterScore, MetricScore, SampleScore};
pub use summary::{MetricSummary, TaskSummary};
