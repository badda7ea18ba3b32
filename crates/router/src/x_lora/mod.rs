//! X-LoRA: one decision for a whole model, from the hidden states of a first pass.

mod classifier;
mod config;
#[cfg(test)]
mod tests;

pub use classifier::XLoraClassifier;
pub use config::XLoraConfig;
