use std::path::PathBuf;

use record_files::RecordFileError;
use thiserror::Error;

/// An error of code outside of this crate.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A task that cannot be read, asked or scored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The file system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not YAML.
    #[error("{place}: {message}")]
    Yaml {
        /// File and line.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A key that means nothing.
    #[error("{place}: unknown key `{key}`{hint}")]
    UnknownKey {
        /// File and line.
        place: String,
        /// The key, with the keys that it is under.
        key: String,
        /// The nearest known ones, or all.
        hint: String,
    },
    /// A key that must be there.
    #[error("{place}: the key `{key}` is missing: {why}")]
    MissingKey {
        /// The file.
        place: String,
        /// The key.
        key: String,
        /// What needs it.
        why: String,
    },
    /// A value that its key does not allow.
    #[error("{place}: `{key}` is {found}; allowed: {allowed}")]
    WrongValue {
        /// File and line.
        place: String,
        /// The key.
        key: String,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A Python function that has no counterpart here.
    #[error("{place}: `{key}: !function {name}` is Python code, which is not run here. {instead}")]
    Function {
        /// File and line.
        place: String,
        /// The key.
        key: String,
        /// Module and function.
        name: String,
        /// What to write instead.
        instead: String,
    },
    /// A name that is no task, group or tag.
    #[error("no task, group or tag is named `{name}`{hint}")]
    UnknownTask {
        /// The name.
        name: String,
        /// The nearest names.
        hint: String,
    },
    /// One name in two files of a folder.
    #[error("`{name}` is defined twice: {first} and {second}; rename one of them")]
    Duplicate {
        /// The name.
        name: String,
        /// The file that is read first.
        first: String,
        /// The other.
        second: String,
    },
    /// A template that is not Jinja.
    #[error("{place}: `{key}`: {message}")]
    Template {
        /// File and line.
        place: String,
        /// The key.
        key: String,
        /// What is wrong, with the line in the template.
        message: String,
    },
    /// A template that fails on a row, or gives what its key does not allow.
    #[error("{place}: `{key}` on {row}: {message}")]
    Render {
        /// File and line of the key.
        place: String,
        /// The key.
        key: String,
        /// File and line of the row.
        row: String,
        /// What is wrong.
        message: String,
    },
    /// A column that a row lacks.
    #[error("{place}: `{key}` asks for `{column}`, which {row} lacks; its columns are {columns}")]
    MissingColumn {
        /// File and line of the key.
        place: String,
        /// The key.
        key: String,
        /// What is missing.
        column: String,
        /// File and line of the row.
        row: String,
        /// What there is.
        columns: String,
    },
    /// Data that is not there.
    #[error("task `{task}`: no data for split `{split}` of {dataset}: {looked}. {get}")]
    NoData {
        /// The task.
        task: String,
        /// The split.
        split: String,
        /// The data set.
        dataset: String,
        /// Where it was looked for.
        looked: String,
        /// How to get it.
        get: String,
    },
    /// A split without a row.
    #[error("task `{task}`: split `{split}` has no rows ({files})")]
    EmptySplit {
        /// The task.
        task: String,
        /// The split.
        split: String,
        /// The files that were read.
        files: String,
    },
    /// More examples than there are.
    #[error("task `{task}`: {wanted} examples asked for, but {source_split} has {available}{note}")]
    TooFewExamples {
        /// The task.
        task: String,
        /// How many.
        wanted: usize,
        /// Where they come from.
        source_split: String,
        /// How many there are.
        available: usize,
        /// Why one more may be needed.
        note: &'static str,
    },
    /// A conversation that the template of the model refuses.
    #[error("task `{task}`, document {document}: the chat template: {source}")]
    Chat {
        /// The task.
        task: String,
        /// The index of the document.
        document: usize,
        /// Why.
        source: BoxError,
    },
    /// Answers that do not fit the requests.
    #[error("task `{task}`, document {document}: {message}")]
    Response {
        /// The task.
        task: String,
        /// The index of the document.
        document: usize,
        /// What does not fit.
        message: String,
    },
    /// Scores that their metric cannot aggregate.
    #[error("task `{task}`, metric `{metric}`: {message}")]
    Metric {
        /// The task.
        task: String,
        /// The metric.
        metric: String,
        /// Why.
        message: String,
    },
    /// A file of rows that cannot be read.
    #[error("task `{task}`: {source}")]
    Records {
        /// The task.
        task: String,
        /// Why.
        source: RecordFileError,
    },
}
