/// YaRN: high frequencies kept, low ones divided by the factor, a ramp between, and all scores
/// times the square of the attention factor.
///
/// Source: Peng et al., arXiv 2309.00071, as transformers computes it.
#[derive(Debug, Clone, PartialEq)]
pub struct YarnScaling {
    /// The factor, at least 1; `None` for `max_position_embeddings` over the original length.
    pub factor: Option<f64>,
    /// The context length of pretraining, in tokens.
    pub original_max_position_embeddings: usize,
    /// What cosines and sines are multiplied by; `None` for what follows from the factor and the
    /// two `mscale`s.
    pub attention_factor: Option<f64>,
    /// Pairs that turn so often within the original length are kept.
    pub beta_fast: f64,
    /// Pairs that turn at most so often are divided by the factor.
    pub beta_slow: f64,
    /// Weight of the logarithm of the factor above the fraction of the attention factor.
    pub mscale: Option<f64>,
    /// The same below it. Only used where both are given and not 0.
    pub mscale_all_dim: Option<f64>,
    /// Whether the ramp begins and ends at whole pairs.
    pub truncate: bool,
}

impl YarnScaling {
    /// With the defaults of transformers.
    pub fn new(factor: f64, original_max_position_embeddings: usize) -> Self {
        Self {
            factor: Some(factor),
            original_max_position_embeddings,
            attention_factor: None,
            beta_fast: 32.0,
            beta_slow: 1.0,
            mscale: None,
            mscale_all_dim: None,
            truncate: true,
        }
    }

    pub(super) fn factor(&self, max_position_embeddings: usize) -> f64 {
        let ratio = max_position_embeddings as f64 / self.original_max_position_embeddings as f64;
        self.factor.unwrap_or(ratio)
    }

    /// What cosines and sines are multiplied by.
    pub(super) fn attention_factor(&self, max_position_embeddings: usize) -> f64 {
        let factor = self.factor(max_position_embeddings);
        let scale = |weight: f64| match factor {
            factor if factor <= 1.0 => 1.0,
            factor => 0.1 * weight * factor.ln() + 1.0,
        };
        let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
        match (self.attention_factor, given(self.mscale), given(self.mscale_all_dim)) {
            (Some(factor), ..) => factor,
            (None, Some(above), Some(below)) => scale(above) / scale(below),
            _ => scale(1.0),
        }
    }

    /// The part of each pair's frequency that is divided by the factor.
    pub(super) fn ramp(&self, theta: f64, dim: usize) -> impl Fn(usize) -> f32 {
        // The pair that turns so often within the original length.
        let pair = |turns: f64| {
            let original = self.original_max_position_embeddings as f64;
            dim as f64 * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let low = low.max(0.0);
        let mut high = high.min(dim as f64 - 1.0);
        if low == high {
            high += 0.001;
        }
        move |i| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0)
    }
}
