//! Prompts: examples, the question, and how they are joined as text or as a conversation.

mod context;
mod message;
mod sampler;

pub(crate) use context::{Contexts, Delimiters, Shot, turn};
pub use message::{ChatTemplate, ChatTurn};
pub(crate) use message::{Message, join_boundary};
pub(crate) use sampler::ExampleSampler;
