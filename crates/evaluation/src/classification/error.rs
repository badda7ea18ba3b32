use thiserror::Error;

/// A sample that cannot be classified, or a model that does not answer such requests.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClassificationError {
    /// A text without tokens.
    #[error("request {index}: the text has no tokens")]
    Empty {
        /// The index of the request.
        index: usize,
    },
    /// A token that the model does not know.
    #[error(
        "request {index} has the token {token}, but the model knows only {vocab_size}; is the \
         tokenizer another model's?"
    )]
    TokenOutOfRange {
        /// The index of the request.
        index: usize,
        /// The token.
        token: u32,
        /// The number of tokens that the model knows.
        vocab_size: usize,
    },
    /// An image that cannot be read or made what the model reads.
    #[error("request {index}: {source}")]
    Image {
        /// The index of the request.
        index: usize,
        /// Why.
        source: model_zoo::ImageError,
    },
    /// The task has other classes than the model.
    #[error("request {index}: the task has {found} classes, but the model {expected}")]
    Labels {
        /// The index of the request.
        index: usize,
        /// Those of the task.
        found: usize,
        /// Those of the model.
        expected: usize,
    },
    /// Images are to be compared with no texts.
    #[error(
        "request {index}: the model compares images with the texts of classes, but the task gives \
         none; name them by `doc_to_choice`"
    )]
    NoLabels {
        /// The index of the request.
        index: usize,
    },
    /// The tokenizer does not end texts as the model needs it.
    #[error(
        "request {index}: the tokens of the class `{label}` have no end of text, which the \
         tokenizer should add; is it another model's?"
    )]
    NoEnd {
        /// The index of the request.
        index: usize,
        /// The text of the class.
        label: String,
    },
    /// The model computed scores that are not numbers.
    #[error("request {index}: the model's logits are not finite")]
    NotFinite {
        /// The index of the request.
        index: usize,
    },
    /// Texts cannot be as long as asked.
    #[error("`max_length` is {found}, but the model reads 1 to {allowed} tokens")]
    MaxLength {
        /// What was asked.
        found: usize,
        /// What the model reads.
        allowed: usize,
    },
    /// A model that classifies nothing.
    #[error("the model is a language model and has no classes; it answers requests by likelihood")]
    LanguageModel,
    /// Results that cannot be brought from the device.
    #[error("the results cannot be read from the device: {0}")]
    Device(String),
    /// A model whose folder lacks what is needed beside it.
    #[error(transparent)]
    Model(#[from] model_zoo::ModelError),
    /// An image processor that cannot be read.
    #[error(transparent)]
    Config(#[from] model_zoo::ConfigError),
    /// Text that cannot be encoded.
    #[error(transparent)]
    Tokenizer(#[from] model_zoo::TokenizerError),
}

impl ClassificationError {
    /// The index of the request at fault, where it is one.
    pub fn request(&self) -> Option<usize> {
        match self {
            Self::Empty { index }
            | Self::TokenOutOfRange { index, .. }
            | Self::Image { index, .. }
            | Self::Labels { index, .. }
            | Self::NoLabels { index }
            | Self::NoEnd { index, .. }
            | Self::NotFinite { index } => Some(*index),
            _ => None,
        }
    }
}
