mod charsmap;
mod chat;
mod error;
mod folder;
mod json;
mod marks;
mod text;
mod time;

pub use chat::ChatMessage;
pub use error::TokenizerError;
pub use marks::MarkedChat;
pub use text::TextTokenizer;
