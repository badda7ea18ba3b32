use thiserror::Error;

/// A request that is refused, or that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no adapter of this name.
    #[error("there is no model or adapter `{name}`; adapters: {known}")]
    UnknownAdapter {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// An adapter of this name is there already.
    #[error("the adapter `{name}` is loaded already; unload it first")]
    KnownAdapter {
        /// The name.
        name: String,
    },
    /// An adapter that cannot be served.
    #[error("adapter `{name}`: {reason}")]
    Adapter {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A value that cannot work.
    #[error("{0}")]
    Invalid(String),
    /// The sequence would be too long.
    #[error(
        "the prompt has {prompt} tokens and at most {new} are to follow, but prompt and answer can \
         have at most {most} tokens together"
    )]
    TooLong {
        /// The tokens of the prompt.
        prompt: usize,
        /// The most new tokens.
        new: usize,
        /// The most of both.
        most: usize,
    },
    /// Too many requests wait.
    #[error("{waiting} requests are waiting, which is the most allowed; try again later")]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
    /// The engine is ending.
    #[error("the server is shutting down")]
    Closing,
    /// The request took too long.
    #[error("the request took longer than allowed")]
    TimedOut,
    /// The model computed scores that are not numbers.
    #[error("the model failed: its logits are not finite at position {position}")]
    NotFinite {
        /// The position that was to be predicted.
        position: usize,
    },
    /// Tokens cannot be turned into text.
    #[error("{message}")]
    Text {
        /// What the tokenizer says.
        message: String,
    },
    /// A pass failed.
    #[error("the model failed: {0}")]
    Model(String),
}
