//! The text tower of CLIP, with which images are compared to labels.

mod config;
mod model;

pub use config::ClipTextConfig;
pub use model::ClipText;
