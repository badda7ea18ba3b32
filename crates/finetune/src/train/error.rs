use std::path::{Path, PathBuf};

use thiserror::Error;

/// A run that cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A value out of range.
    #[error("`{key}` is {value}, but must be {allowed}")]
    Value {
        /// The key at fault.
        key: String,
        /// The value given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A configuration file that does not parse.
    #[error("{origin}: {message}")]
    Config {
        /// The file.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
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
    /// An adapter that cannot be made, saved or loaded.
    #[error(transparent)]
    Adapter(#[from] moe_adapter::AdapterError),
    /// An adapter's folder that cannot be understood.
    #[error(transparent)]
    Format(#[from] adapter_formats::FormatError),
    /// Adapters that cannot be changed as asked.
    #[error(transparent)]
    Arithmetic(#[from] adapter_arithmetic::ArithmeticError),
    /// A balance loss that lacks what it needs.
    #[error(transparent)]
    Balance(#[from] balance_loss::BalanceLossError),
    /// Scores that cannot be measured.
    #[error(transparent)]
    Evaluation(#[from] evaluation::EvaluationError),
    /// Tasks that cannot be evaluated.
    #[error(transparent)]
    Tasks(#[from] evaluation::run::RunError),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state of a run that does not parse.
    #[error("{}: {message}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Another process uses the folder.
    #[error(transparent)]
    Lock(#[from] moe_adapter::LockError),
    /// The folder holds another run.
    #[error(
        "{}: already holds a run; continue it with --resume, or choose another \
         `training.output_dir`", path.display()
    )]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error("{}: holds no checkpoint to resume from", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The loss left the range of numbers.
    #[error("step {step}: the loss is {loss}; lower `training.learning_rate` or raise the warm-up")]
    Diverged {
        /// The step.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// The observer ended the run.
    #[error(
        "interrupted at step {step}; the checkpoint is in {}, go on with --resume", path.display()
    )]
    Interrupted {
        /// The last step that was made.
        step: usize,
        /// The checkpoint.
        path: PathBuf,
    },
    /// There is nothing to train on.
    #[error("there are no training samples left after encoding; see the report above")]
    NoSamples,
}

impl TrainError {
    /// `key` is `value`, but must be `allowed`.
    pub fn value(key: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// The file at `path` cannot be read or written.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}
