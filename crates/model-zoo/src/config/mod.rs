mod error;
mod llama;
mod reader;
mod rope;

pub use error::ConfigError;
pub use llama::LlamaConfig;
pub use rope::{RopeConfig, RopeScaling};
