use model_zoo::{Generation, GenerationConfig};

/// A question to a model, in tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenRequest {
    /// The log-likelihood of a continuation.
    LogLikelihood {
        /// What comes before, at least one token; its beginning is cut off where the model cannot
        /// read all.
        context: Vec<u32>,
        /// What is scored, at least one token.
        continuation: Vec<u32>,
    },
    /// The log-likelihood of all tokens, in windows as long as the model reads, each token in one.
    LogLikelihoodRolling {
        /// The token before the first.
        prefix: u32,
        /// What is scored; may be empty.
        tokens: Vec<u32>,
    },
    /// A text that continues a prompt.
    GenerateUntil {
        /// The prompt, at least one token; its beginning is cut off where the model cannot read it
        /// and generate as much as it may.
        prompt: Vec<u32>,
        /// How tokens are chosen, and when to stop.
        generation: GenerationConfig,
    },
}

/// The answer to a [`TokenRequest`] of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenResponse {
    /// Of [`TokenRequest::LogLikelihood`].
    LogLikelihood {
        /// The sum of `ln p(token | before)`, in nats.
        log_likelihood: f64,
        /// Whether every token was the most probable one.
        is_greedy: bool,
    },
    /// Of [`TokenRequest::LogLikelihoodRolling`].
    LogLikelihoodRolling {
        /// The sum of `ln p(token | before)`, in nats.
        log_likelihood: f64,
    },
    /// Of [`TokenRequest::GenerateUntil`].
    Generated(Generation),
}
