//! A run as a file describes it: model, adapter, data, training.
//!
//! [`RunConfig`] is read from TOML, with a preset of the adapter and single keys overridden;
//! [`PreparedRun`] reads the model and the data; the [`Trainer`](crate::train::Trainer) does the
//! rest.

mod any_config;
mod base;
mod cache;
mod config;
mod dry_run;
mod evaluation;
mod labelled;
mod precision;
mod preparation;
mod prepare;
mod preset;
mod samples;
mod shared_answers;
mod start;
mod step_memory;
mod tables;
mod task_evaluation;
mod template;

pub use any_config::AnyRunConfig;
pub use base::Base;
pub use config::{DataConfig, ModelConfig, RunConfig};
pub use dry_run::{DryData, DryRun, DryRunOptions};
pub use evaluation::TaskEvaluationConfig;
pub use labelled::{
    LABELS_FILE, LabelledData, LabelledInputs, LabelledReport, LabelledRows, LabelledSamples,
    LabelledTask, Prediction, Predictions, Predictor, PreparedLabelledRun, read_labels,
};
pub use precision::{check_precision, choose_precision};
pub use preparation::Preparation;
pub use prepare::{PreparedRun, load_any_model, load_base, load_model, load_tokenizer};
pub use preset::{adapter_from_assignments, adapter_from_table};
pub use samples::{load_rows, load_samples};
pub use start::{AdapterStart, TrainedPart};
pub use step_memory::{DryMeasurement, PeakMemory};
pub use tables::parse;
pub use task_evaluation::TaskEvaluation;
pub use template::run_template;
