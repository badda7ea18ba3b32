use std::path::PathBuf;

use thiserror::Error;

use crate::results::ResultsError;

/// Evaluations that cannot be compared.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// A folder that cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The folders share no task.
    #[error(
        "{} and {} have no task in common: {before_tasks} against {after_tasks}",
        before.display(), after.display()
    )]
    NoCommonTask {
        /// The first folder.
        before: PathBuf,
        /// The second folder.
        after: PathBuf,
        /// The tasks of the first.
        before_tasks: String,
        /// The tasks of the second.
        after_tasks: String,
    },
    /// A task that was evaluated on other documents or other prompts.
    #[error(
        "{}: `{task}`, document {doc_id}: {difference} than in {}; evaluate both with the same \
         task, --limit, --num-fewshot and chat options", after.display(), before.display()
    )]
    Unpaired {
        /// The first folder.
        before: PathBuf,
        /// The second folder.
        after: PathBuf,
        /// The task.
        task: String,
        /// The document.
        doc_id: usize,
        /// What differs.
        difference: &'static str,
    },
}
