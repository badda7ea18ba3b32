//! Tasks in the format of the LM evaluation harness: from a YAML file to requests for a model, and
//! from its answers to metrics with standard errors.
//!
//! A [`TaskIndex`] knows the shipped tasks and those of the user's folders and gives a
//! [`Selection`]; a [`Task`] is one of them with its data. It makes [`Instance`]s, whose
//! [`Request`]s something that holds a model answers with [`Response`]s, and scores these:
//!
//! ```
//! use eval_tasks::{DataSources, Limit, PromptOptions, Request, Response, Task, TaskIndex};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("sums.test.jsonl"),
//! #     "{\"a\": 1, \"b\": 2, \"choices\": [\"3\", \"5\"], \"gold\": 0}\n")?;
//! # let yaml = "task: sums\ndataset_path: sums\ntest_split: test\noutput_type: multiple_choice\n\
//! # doc_to_text: '{{a}} + {{b}} ='\ndoc_to_choice: choices\ndoc_to_target: gold\n";
//! # std::fs::write(folder.path().join("sums.yaml"), yaml)?;
//! // `folder` holds sums.yaml and its data, sums.test.jsonl.
//! let index = TaskIndex::with_folders(&[folder.path().to_owned()])?;
//! let sources = DataSources { roots: vec![folder.path().to_owned()], hub: None };
//! for (_, config) in index.select(&["sums"])?.tasks {
//!     let task = Task::load(config, &sources, None)?;
//!     let instances = task.instances(&PromptOptions::default(), Limit::All)?;
//!     let Request::LogLikelihood { context, continuation } = &instances[0].request else { panic!() };
//!     assert_eq!((context.as_str(), continuation.as_str()), ("1 + 2 =", " 3"));
//!     // A model that finds the first choice more likely:
//!     let answer = |value| vec![Response::LogLikelihood { log_likelihood: value, is_greedy: false }];
//!     let score = task.score(0, &[answer(-1.0), answer(-2.5)])?;
//!     let summary = task.aggregate(&[score], 100_000)?;
//!     assert_eq!(summary.get("acc", "none").map(|acc| acc.value), Some(1.0));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Results of a group come from [`TaskSummary::of_group`] with the tasks and metrics of its
//! [`Group`]. Python is not run: of the functions that task files name by `!function`, those of
//! well-known tasks are known here, and others are refused with what to write instead.
//!
//! The format, the semantics and the names follow the harness's version 0.4.13.

pub mod config;
mod data;
mod error;
mod fewshot;
mod filter;
mod glob;
mod metric;
mod preprocess;
pub mod python;
mod registry;
pub mod request;
mod task;
mod template;
mod yaml;

pub use config::TaskConfig;
pub use data::{DataSources, Document, HubSource};
pub use error::{BoxError, TaskError};
pub use fewshot::{ChatTemplate, ChatTurn};
pub use metric::{Aggregation, ExactMatch, GroupScore, Metric, MetricValue, group_score};
pub use preprocess::{DocFunction, DocsFunction, ResultsFunction};
pub use registry::{Group, Selection, TaskIndex, TaskListing};
pub use request::{GenerationArguments, ImageSource, Instance, Request, Response};
pub use task::{
    FilterScore, Limit, MetricScore, MetricSummary, PromptOptions, SampleScore, Task, TaskSummary,
};
pub use yaml::{Node, NodeKind, Place};
