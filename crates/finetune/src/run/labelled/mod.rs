//! A run of an encoder on labelled data: texts, pairs of texts, images.

mod config;
mod dry_run;
mod head;
mod inputs;
mod labels;
mod model;
mod predict;
mod prepare;
mod report;
mod rows;

pub use config::{LabelledData, LabelledTask};
pub(super) use head::{load_with_head, new_head};
pub use inputs::{LabelledInputs, LabelledSamples};
pub use labels::{LABELS_FILE, read_labels};
pub use predict::{Prediction, Predictions, Predictor};
pub use prepare::PreparedLabelledRun;
pub use report::LabelledReport;
pub use rows::LabelledRows;
