use std::path::Path;

use finetune::train::TrainError;
use thiserror::Error;

use crate::world::WorldError;

/// A study or a demo that cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A run, its configuration or its files.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A world that cannot be made.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Scores that cannot be measured.
    #[error(transparent)]
    Evaluation(#[from] evaluation::EvaluationError),
    /// Data that cannot be used.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// A model that cannot be read or written.
    #[error(transparent)]
    Model(#[from] model_zoo::ModelError),
    /// A tokenizer that cannot be read or used.
    #[error(transparent)]
    Tokenizer(#[from] model_zoo::TokenizerError),
    /// Generation that failed.
    #[error(transparent)]
    Generation(#[from] model_zoo::GenerationError),
    /// Another process uses the folder.
    #[error(transparent)]
    Lock(#[from] moe_adapter::LockError),
    /// An adapter that cannot be made, saved or loaded.
    #[error(transparent)]
    Adapter(#[from] moe_adapter::AdapterError),
}

impl StudyError {
    /// `key` is `value`, but must be `allowed`.
    pub(crate) fn value(
        key: impl Into<String>,
        value: impl ToString,
        allowed: impl Into<String>,
    ) -> Self {
        TrainError::value(key, value, allowed).into()
    }

    /// A configuration that does not parse.
    pub(crate) fn config(origin: &str, message: String) -> Self {
        TrainError::Config { origin: origin.to_owned(), message }.into()
    }

    /// A file of a study that does not hold what it should.
    pub(crate) fn state(path: &Path, message: String) -> Self {
        TrainError::State { path: path.to_owned(), message }.into()
    }

    /// A file that cannot be read or written.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| TrainError::io(path)(source).into()
    }
}
