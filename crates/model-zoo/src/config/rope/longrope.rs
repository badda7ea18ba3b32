/// LongRoPE: a factor for each pair, of which there are two sets: one for sequences within the
/// original length, one for longer ones.
///
/// Source: Ding et al., arXiv 2402.13753, as transformers computes it.
#[derive(Debug, Clone, PartialEq)]
pub struct LongRopeScaling {
    /// What the frequency of each pair is divided by in sequences within the original length.
    pub short_factor: Vec<f64>,
    /// The same in longer sequences.
    pub long_factor: Vec<f64>,
    /// The context length of pretraining, in tokens.
    pub original_max_position_embeddings: usize,
    /// What the attention factor follows from; `None` for `max_position_embeddings` over the
    /// original length.
    pub factor: Option<f64>,
    /// What cosines and sines are multiplied by; `None` for what follows from the factor.
    pub attention_factor: Option<f64>,
}

impl LongRopeScaling {
    /// What cosines and sines are multiplied by: `sqrt(1 + ln factor / ln original)`.
    pub(super) fn attention_factor(&self, max_position_embeddings: usize) -> f64 {
        let original = self.original_max_position_embeddings as f64;
        let factor = self.factor.unwrap_or(max_position_embeddings as f64 / original);
        self.attention_factor.unwrap_or(match factor {
            factor if factor <= 1.0 => 1.0,
            factor => (1.0 + factor.ln() / original.ln()).sqrt(),
        })
    }

    /// The factors for a sequence of so many tokens.
    pub(super) fn factors(&self, seq_len: usize) -> &[f64] {
        match seq_len > self.original_max_position_embeddings {
            true => &self.long_factor,
            false => &self.short_factor,
        }
    }
}
