use thiserror::Error;

/// A request that cannot be answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScoringError {
    /// A part of a request has no tokens.
    #[error("request {index}: the {part} has no tokens")]
    Empty {
        /// The index of the request.
        index: usize,
        /// Which part.
        part: &'static str,
    },
    /// The model cannot read the continuation.
    #[error(
        "request {index}: the continuation has {tokens} tokens, but the model reads at most \
         {max_length}"
    )]
    ContinuationTooLong {
        /// The index of the request.
        index: usize,
        /// The number of its tokens.
        tokens: usize,
        /// The most tokens that the model reads.
        max_length: usize,
    },
    /// Nothing of the prompt would be left.
    #[error(
        "request {index}: {max_new_tokens} tokens are to be generated, but the model reads at most \
         {max_length} with the prompt"
    )]
    GenerationTooLong {
        /// The index of the request.
        index: usize,
        /// The most tokens to generate.
        max_new_tokens: usize,
        /// The most tokens that the model reads.
        max_length: usize,
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
    /// The model computed scores that are not numbers.
    #[error("request {index}: the model's logits are not finite")]
    NotFinite {
        /// The index of the request.
        index: usize,
    },
    /// The tokenizer has no token that starts or ends a text.
    #[error(
        "the tokenizer has neither a `bos_token` nor an `eos_token`, so nothing stands for an empty context"
    )]
    NoPrefixToken,
    /// Generation failed.
    #[error(transparent)]
    Generation(#[from] model_zoo::GenerationError),
    /// Text that cannot be encoded or decoded.
    #[error(transparent)]
    Tokenizer(#[from] model_zoo::TokenizerError),
}

impl ScoringError {
    /// The index of the request at fault, where it is one.
    pub fn request(&self) -> Option<usize> {
        match self {
            Self::Empty { index, .. }
            | Self::ContinuationTooLong { index, .. }
            | Self::GenerationTooLong { index, .. }
            | Self::TokenOutOfRange { index, .. }
            | Self::NotFinite { index } => Some(*index),
            Self::NoPrefixToken | Self::Generation(_) | Self::Tokenizer(_) => None,
        }
    }
}
