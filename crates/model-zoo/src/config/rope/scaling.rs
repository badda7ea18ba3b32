use super::{LongRopeScaling, YarnScaling};
use crate::ConfigError;

/// The rotary scalings of transformers' `rope_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// No scaling.
    Default,
    /// All frequencies divided by `factor`.
    Linear {
        /// The factor, at least 1.
        factor: f64,
    },
    /// A base that grows with sequences beyond `max_position_embeddings` (dynamic NTK):
    /// `theta (factor n / max - (factor - 1))^(d / (d - 2))`.
    Dynamic {
        /// The factor, at least 1.
        factor: f64,
    },
    /// YaRN.
    Yarn(YarnScaling),
    /// LongRoPE (Phi 3 with 128k, Phi 4 mini).
    LongRope(LongRopeScaling),
    /// Low frequencies divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// The factor, at least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context length of pretraining, in tokens.
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    /// The context length of pretraining, where it has one of its own.
    pub(super) fn original_max_position_embeddings(&self) -> Option<usize> {
        match self {
            Self::Default | Self::Linear { .. } | Self::Dynamic { .. } => None,
            Self::Yarn(yarn) => Some(yarn.original_max_position_embeddings),
            Self::LongRope(longrope) => Some(longrope.original_max_position_embeddings),
            Self::Llama3 { original_max_position_embeddings, .. } => {
                Some(*original_max_position_embeddings)
            }
        }
    }

    /// Refuses what cannot work for heads of so many turned pairs.
    pub(super) fn check(
        &self,
        pairs: usize,
        invalid: &dyn Fn(&str, String, &str) -> ConfigError,
    ) -> Result<(), ConfigError> {
        let positive = |key: &str, value: Option<f64>| match value {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(invalid(key, value.to_string(), "a finite number above 0"))
            }
            _ => Ok(()),
        };
        let factor = match self {
            Self::Default => None,
            Self::Linear { factor } | Self::Dynamic { factor } | Self::Llama3 { factor, .. } => {
                Some(*factor)
            }
            Self::Yarn(yarn) => yarn.factor,
            Self::LongRope(longrope) => longrope.factor,
        };
        if let Some(factor) = factor
            && !(factor.is_finite() && factor >= 1.0)
        {
            let allowed = "a finite number of at least 1";
            return Err(invalid("factor", factor.to_string(), allowed));
        }
        if self.original_max_position_embeddings() == Some(0) {
            return Err(invalid("original_max_position_embeddings", "0".into(), "at least 1"));
        }
        match self {
            Self::Default | Self::Linear { .. } => Ok(()),
            Self::Dynamic { .. } => match pairs {
                1 => Err(invalid("head_dim", "2".into(), "above 2 where `rope_type` is dynamic")),
                _ => Ok(()),
            },
            Self::Yarn(yarn) => {
                positive("attention_factor", yarn.attention_factor)?;
                positive("beta_fast", Some(yarn.beta_fast))?;
                positive("beta_slow", Some(yarn.beta_slow))?;
                for (key, value) in
                    [("mscale", yarn.mscale), ("mscale_all_dim", yarn.mscale_all_dim)]
                {
                    positive(key, value.filter(|value| *value != 0.0))?;
                }
                if yarn.beta_fast < yarn.beta_slow {
                    let allowed = "at least `beta_slow`";
                    return Err(invalid("beta_fast", yarn.beta_fast.to_string(), allowed));
                }
                Ok(())
            }
            Self::LongRope(longrope) => {
                positive("attention_factor", longrope.attention_factor)?;
                for (key, factors) in [
                    ("short_factor", &longrope.short_factor),
                    ("long_factor", &longrope.long_factor),
                ] {
                    if factors.len() != pairs {
                        let allowed = format!("{pairs} numbers, one for each pair that is turned");
                        return Err(invalid(key, format!("{} numbers", factors.len()), &allowed));
                    }
                    factors.iter().try_for_each(|factor| positive(key, Some(*factor)))?;
                }
                Ok(())
            }
            Self::Llama3 { low_freq_factor, high_freq_factor, .. } => {
                positive("low_freq_factor", Some(*low_freq_factor))?;
                if !(high_freq_factor.is_finite() && high_freq_factor > low_freq_factor) {
                    let allowed = "above low_freq_factor";
                    return Err(invalid("high_freq_factor", high_freq_factor.to_string(), allowed));
                }
                Ok(())
            }
        }
    }
}
