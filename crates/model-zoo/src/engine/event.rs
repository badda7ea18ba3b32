use crate::FinishReason;

use super::EngineError;

/// What became of a request so far.
#[derive(Debug, Clone)]
pub enum Event {
    /// The scores of the prompt's tokens, but for the first, which nothing predicts.
    Prompt(Vec<TokenScore>),
    /// A new token, that which ends the sequence included.
    Token(NewToken),
    /// The end, after which nothing follows.
    Done {
        /// Why.
        reason: FinishReason,
        /// Text that was held back, as it could have become a stop text.
        text: String,
        /// The tokens of the prompt whose keys and values were known before.
        cached: usize,
    },
    /// The end of a request that failed.
    Failed(EngineError),
}

/// A token of an answer.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The token.
    pub token: u32,
    /// The text that is certain with it: whole characters, and no part of a stop text.
    pub text: String,
    /// Its score, where asked for.
    pub score: Option<TokenScore>,
    /// How the experts were weighted where it was computed, where asked for.
    pub routing: Option<Vec<LayerRouting>>,
}

/// The log-probability of a token under the model, before penalties and temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub token: u32,
    /// Its log-probability.
    pub logprob: f32,
    /// The most probable tokens, most probable first, as many as asked for.
    pub top: Vec<(u32, f32)>,
}

/// How the experts of a layer were weighted.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LayerRouting {
    /// The layer.
    pub layer: usize,
    /// The weight of each expert, the mean over the routed linears of the layer.
    pub weights: Vec<f32>,
}
