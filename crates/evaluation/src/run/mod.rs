//! Evaluations of tasks, from names of tasks to a folder of results.
//!
//! ```text
//! names -> TaskRun::prepare -> requests -> Answer -> journal -> scores -> samples, results
//! ```
//!
//! [`TaskRun::evaluate`] keeps each answer as it comes in, and goes on where it was interrupted.

mod answer;
mod chat;
mod encoder_model;
mod error;
mod fingerprint;
mod hub;
mod journal;
mod options;
mod record;
mod task_run;

pub use answer::{Answer, AnswerError, LanguageModel};
pub use encoder_model::EncoderModel;
pub use error::RunError;
pub use fingerprint::{file_hash, folder_hash};
pub use hub::Hub;
pub use journal::{JOURNAL_FILE, answer_from_line, answer_to_line};
pub use options::RunOptions;
pub use task_run::{Output, TaskRun};
