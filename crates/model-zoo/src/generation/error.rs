use thiserror::Error;

use crate::TokenizerError;
use crate::engine::EngineError;

/// A generation that cannot start, or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// A field of the configuration cannot work.
    #[error("generation: `{field}` is {value}, but must be {allowed}")]
    Field {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// There is nothing to continue.
    #[error("generation: prompt {index} has no tokens; start it with the token `bos`")]
    EmptyPrompt {
        /// The index of the prompt.
        index: usize,
    },
    /// A token of a prompt is not in the model's vocabulary.
    #[error(
        "generation: prompt {index} has the token {token}, but the model knows only {vocab_size}; \
         is the tokenizer another model's?"
    )]
    TokenOutOfRange {
        /// The index of the prompt.
        index: usize,
        /// The token.
        token: u32,
        /// The number of tokens that the model knows.
        vocab_size: usize,
    },
    /// The model computed scores that are not numbers.
    #[error("generation: the model's logits are not finite at position {position}")]
    NotFinite {
        /// The position that was to be predicted.
        position: usize,
    },
    /// Tokens cannot be turned into text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl From<EngineError> for GenerationError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFinite { position } => Self::NotFinite { position },
            // Nothing else comes of requests that were checked.
            error => Self::Tokenizer(TokenizerError::Text { message: error.to_string() }),
        }
    }
}
