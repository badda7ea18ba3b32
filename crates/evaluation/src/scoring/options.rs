/// How requests are computed. Answers do not depend on it but for `max_length`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoringOptions {
    /// The most tokens of one pass, padding included; a longer request is a pass of its own.
    pub batch_tokens: usize,
    /// The most tokens whose keys and values are kept while texts are generated.
    pub cache_tokens: usize,
    /// The longest sequence, in tokens; `None` for what the model was trained for.
    pub max_length: Option<usize>,
}

impl Default for ScoringOptions {
    fn default() -> Self {
        Self { batch_tokens: 2048, cache_tokens: 1 << 16, max_length: None }
    }
}
