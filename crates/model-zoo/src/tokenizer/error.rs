use std::path::PathBuf;

use thiserror::Error;

/// A tokenizer that cannot be read, or a text that it cannot handle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A special token is not in the vocabulary.
    #[error("tokenizer: `{role}` is \"{token}\", which is not in the vocabulary")]
    UnknownToken {
        /// What the token is for, as in `eos_token`.
        role: &'static str,
        /// The token.
        token: String,
    },
    /// A token to add is empty.
    #[error("tokenizer: a new token is empty or of white space only")]
    EmptyToken,
    /// A text cannot be encoded, or tokens not decoded.
    #[error("tokenizer: {message}")]
    Text {
        /// What the tokenizer says.
        message: String,
    },
    /// The model has no chat template.
    #[error(
        "tokenizer: the model has no chat template; it is probably not a chat model, so give it a \
         plain prompt"
    )]
    NoChatTemplate,
    /// The chat template is wrong, or refuses the messages.
    #[error("chat template: {message}")]
    ChatTemplate {
        /// What the template or its interpreter says.
        message: String,
    },
}
