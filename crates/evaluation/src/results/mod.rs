//! What an evaluation leaves in its folder, and how it is read again.
//!
//! ```text
//! results.json          aggregates, standard errors, configurations, versions, hashes
//! results.md            the table
//! samples_<task>.jsonl  a line for each document and filter, in the order of the documents
//! ```
//!
//! Names of keys are those of the LM evaluation harness (`--log_samples`), so that what reads its
//! files reads these.

mod error;
mod folder;
mod sample;
mod summary;
mod table;

pub use error::ResultsError;
pub use folder::{RESULTS_FILE, TABLE_FILE, read_samples, samples_file, write_samples};
pub use sample::SampleRecord;
pub use summary::{EvaluationResults, SampleCount};
pub use table::{TableStyle, results_table};
