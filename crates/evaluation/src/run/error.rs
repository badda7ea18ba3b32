use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::results::ResultsError;

/// An evaluation of tasks that cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A task that cannot be used.
    #[error(transparent)]
    Task(Box<eval_tasks::TaskError>),
    /// Results that cannot be written.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process uses the folder.
    #[error(transparent)]
    Lock(#[from] moe_adapter::LockError),
    /// The folder holds another evaluation.
    #[error(
        "{}: holds an evaluation with `{key}` {found}, not {wanted}; use the same model, tasks \
         and options to resume it, or another --output", path.display()
    )]
    Other {
        /// The file that says so.
        path: PathBuf,
        /// What differs.
        key: String,
        /// Its value there.
        found: String,
        /// Its value now.
        wanted: String,
    },
    /// The folder holds results already.
    #[error("{}: already holds an evaluation; choose another --output, or continue it with \
             --resume", path.display())]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// A request that the model cannot answer.
    #[error("task `{task}`, document {document}: {message}")]
    Request {
        /// The task.
        task: String,
        /// The document.
        document: usize,
        /// Why.
        message: String,
    },
    /// The observer ended it.
    #[error("interrupted{}", kept(path.as_deref()))]
    Interrupted {
        /// The folder that keeps the answers so far, if there is one.
        path: Option<PathBuf>,
    },
    /// A model that failed.
    #[error("{0}")]
    Model(String),
}

impl From<eval_tasks::TaskError> for RunError {
    fn from(error: eval_tasks::TaskError) -> Self {
        Self::Task(Box::new(error))
    }
}

impl RunError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}

fn kept(folder: Option<&Path>) -> String {
    folder.map_or(String::new(), |folder| {
        format!("; the answers so far are in {}, go on with --resume", folder.display())
    })
}
