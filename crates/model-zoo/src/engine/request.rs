use std::time::Instant;

use crate::GenerationConfig;

/// What is asked of an engine.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The name of the adapter; `None` for the base model.
    pub adapter: Option<String>,
    /// The tokens to continue, at least one.
    pub prompt: Vec<u32>,
    /// How tokens are chosen, and when to stop. With `max_new_tokens` of 0 the prompt is scored
    /// only.
    pub generation: GenerationConfig,
    /// Whether the model's tokens that end a sequence are tokens like others.
    pub ignore_eos: bool,
    /// For each new token its log-probability, and so many of the most probable ones.
    pub logprobs: Option<usize>,
    /// The same for each token of the prompt.
    pub prompt_logprobs: Option<usize>,
    /// For each new token, how the experts were weighted where it was computed.
    pub routing: bool,
    /// When it has taken too long.
    pub deadline: Option<Instant>,
}
