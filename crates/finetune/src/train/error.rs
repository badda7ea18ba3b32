use std::path::{Path, PathBuf};

use thiserror::Error;

use super::NonFinite;

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
    /// New tokens whose rows nothing trains.
    #[error(
        "`model.new_tokens` adds rows that nothing trains; put {needed} into \
         `adapter.modules_to_save`, or train these rows alone: set \
         `adapter.trainable_token_indices` of {needed} to {ids:?}"
    )]
    NewTokens {
        /// What has such rows.
        needed: String,
        /// The tokens.
        ids: Vec<usize>,
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
    /// An image that cannot be read or used.
    #[error(transparent)]
    Image(#[from] model_zoo::ImageError),
    /// An image of the data that cannot be read or used.
    #[error("{origin}: {source}")]
    ImageOf {
        /// Where it comes from.
        origin: String,
        /// What is wrong with it.
        source: model_zoo::ImageError,
    },
    /// A file of tensors that cannot be read or written.
    #[error(transparent)]
    Tensors(#[from] tensor_files::TensorFileError),
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
    /// Ranks that cannot go on together.
    #[error(transparent)]
    Ranks(#[from] ranks::RanksError),
    /// Another process uses the folder.
    #[error(transparent)]
    Lock(#[from] moe_adapter::LockError),
    /// The folder holds another run.
    #[error(
        "{}: already holds a run; continue it with --resume, choose another `training.output_dir`, or \
         have it removed by --overwrite", path.display()
    )]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error("{}: holds no checkpoint to resume from; start the run without --resume", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The loss or a gradient left the range of numbers.
    #[error("step {step}: {what}; {remedy}")]
    Diverged {
        /// The step.
        step: usize,
        /// Where.
        what: NonFinite,
        /// How to go on.
        remedy: String,
    },
    /// A checkpoint that cannot be read.
    #[error("the checkpoint {} cannot be read: {source}; {remedy}", path.display())]
    BrokenCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        source: Box<TrainError>,
        /// How to go on.
        remedy: String,
    },
    /// A checkpoint of a run that was trained otherwise.
    #[error("{}: the run to resume was trained with {message}", path.display())]
    OtherTraining {
        /// Its state.
        path: PathBuf,
        /// The key, its value then and now, and what to do.
        message: String,
    },
    /// A checkpoint of another adapter.
    #[error(
        "{}: the checkpoint has another `[adapter]` configuration than the run: {difference}; \
         restore it, or train into another `training.output_dir`", path.display()
    )]
    OtherAdapter {
        /// Its configuration.
        path: PathBuf,
        /// The first key that differs, with its value then and now.
        difference: String,
    },
    /// A checkpoint that the run does not have.
    #[error("{} is no checkpoint of {}; it has: {there}", path.display(), output_dir.display())]
    UnknownCheckpoint {
        /// The checkpoint asked for.
        path: PathBuf,
        /// The run's folder.
        output_dir: PathBuf,
        /// Those that it has.
        there: String,
    },
    /// The losses of all checkpoints are those of a run that has diverged.
    #[error(
        "{}: no checkpoint is healthy (the loss of each is far above the start's); start again \
         in another `training.output_dir` with a lower `training.learning_rate`, or go on all the \
         same with `--resume {}`", path.display(), newest.display()
    )]
    NoHealthyCheckpoint {
        /// The run's folder.
        path: PathBuf,
        /// The newest of them.
        newest: PathBuf,
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
    /// What helps most runs that diverge.
    pub(super) const LOWER_RATE: &str = "lower `training.learning_rate` or raise the warm-up";

    /// `key` is `value`, but must be `allowed`.
    pub fn value(key: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// The file at `path` cannot be read or written.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}
