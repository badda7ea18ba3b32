use record_files::Origin;

use super::{encoder::BoxError, report::EncodeReport};

/// What can be wrong with a data set or with the settings that turn it into batches.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file that cannot be read.
    #[error(transparent)]
    File(#[from] record_files::RecordFileError),
    /// A data set that cannot be had from the hub.
    #[error(transparent)]
    Hub(Box<model_zoo::HubError>),
    /// No records, or no files.
    #[error("no records in {0}; give at least one file with at least one record")]
    NoRecords(String),
    /// A first record that has no known shape, or several.
    #[error(
        "{origin}: {found}; its columns are {columns}. Known shapes: {}; name one by `shape`, or the \
         columns by `columns`",
        super::Shape::list()
    )]
    UnknownShape {
        /// Where.
        origin: Origin,
        /// What was found: no shape, or which.
        found: String,
        /// The columns.
        columns: String,
    },
    /// A path with `*` that is no pattern, or files that cannot be listed.
    #[error("`{path}`: {message}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A key with a value that is not allowed.
    #[error("{origin}: `{key}` is {found}; allowed: {allowed}")]
    Value {
        /// Where.
        origin: Origin,
        /// Key, with the index inside a list (`messages[2].role`).
        key: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Labelled data without a column that is needed.
    #[error("{origin}: there is no column {what}; the columns are {}", columns.join(", "))]
    NoColumn {
        /// Where.
        origin: Origin,
        /// Which.
        what: String,
        /// Those that there are.
        columns: Vec<String>,
    },
    /// A row without a label.
    #[error("{origin}: there is no label; name the column of labels by `columns.label`")]
    NoLabel {
        /// Where.
        origin: Origin,
    },
    /// A label that no class has.
    #[error("{origin}: the label `{label}` is none of those known: {known}")]
    UnknownLabel {
        /// Where.
        origin: Origin,
        /// The label.
        label: String,
        /// The labels that there are.
        known: String,
    },
    /// Records with and without a task type in one set.
    #[error(
        "{without} has no `task_type` but {with} has one; allowed: all records or none. \
         Add the key, or give its file a default `task_type`"
    )]
    MixedTaskTypes {
        /// The first with a task type.
        with: String,
        /// The first without.
        without: String,
    },
    /// A template of the user's own with a mistake.
    #[error("prompt template: {found}; allowed: {allowed}")]
    Template {
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A template met a record with something that it has no place for.
    #[error("{origin}: has `{key}`, which the prompt template drops; {remedy}")]
    TemplateDrops {
        /// Where.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A chat template that renders a conversation's beginning differently on its own.
    #[error(
        "{origin}: the chat template renders `messages[..{turn}]` differently alone and as the \
         beginning of a longer conversation, so the targets cannot be told apart exactly; set \
         `data.chat.train_on` to \"each_turn\" or \"last_turn\", or use a template that marks them \
         by {{% generation %}}"
    )]
    ChatPrefix {
        /// Where.
        origin: Origin,
        /// Number of messages in the beginning that differs.
        turn: usize,
    },
    /// The tokenizer or its chat template failed.
    #[error("{origin}: {action} failed: {source}")]
    Encoder {
        /// Where.
        origin: Origin,
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: BoxError,
    },
    /// The tokenizer names no end token where one is needed.
    #[error(
        "the tokenizer has no end token, which {needed_by} needs; set `eos_token` in \
         tokenizer_config.json, or set `append_eos` to false with a template other than `plain`"
    )]
    NoEndToken {
        /// Who needs it.
        needed_by: &'static str,
    },
    /// No sample kept a target.
    #[error("no sample has a target left within `max_length` ({report}); raise `max_length`")]
    NoTargets {
        /// The counts.
        report: EncodeReport,
    },
    /// Samples on disk that cannot be written or read.
    #[error("the samples in {}: {message}; where they are damaged, remove the folder", folder.display())]
    Store {
        /// The folder.
        folder: std::path::PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A sample that cannot go into a batch.
    #[error("sample {index} of the batch {found}; allowed: {allowed}")]
    Sample {
        /// Index in the batch.
        index: usize,
        /// What is wrong.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A setting out of its range.
    #[error("`{key}` is {found}; allowed: {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// The value.
        found: String,
        /// What is allowed.
        allowed: String,
    },
}

impl From<model_zoo::HubError> for DataError {
    fn from(error: model_zoo::HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}
