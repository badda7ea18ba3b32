mod batch;
mod config;
mod error;
mod prompt;
mod sampler;
mod stop;
mod stream;

pub use batch::{BatchGenerator, BatchPrompt, generate_batch};
pub use config::GenerationConfig;
pub use error::GenerationError;
pub use prompt::{FinishReason, Generation, generate};
pub use sampler::Sampler;
pub use stop::StopMatcher;
pub use stream::TextStream;
