mod chat;
mod error;
mod folder;
mod json;
mod text;
mod time;

pub use chat::ChatMessage;
pub use error::TokenizerError;
pub use text::TextTokenizer;
