use std::f64::consts::TAU;

use serde_json::{Value, json};

use super::{ConfigError, reader::Reader};

const ALLOWED: &str = "default, linear, llama3";

/// How rotary position embeddings turn positions into angles.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the wavelengths; 10000 unless given.
    pub theta: f64,
    /// How the frequencies are stretched to longer contexts.
    pub scaling: RopeScaling,
}

impl Default for RopeConfig {
    fn default() -> Self {
        Self { theta: 10_000.0, scaling: RopeScaling::Default }
    }
}

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

impl RopeConfig {
    /// Reads `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` (before).
    pub(super) fn read(config: &Reader) -> Result<Self, ConfigError> {
        let section = match config.object("rope_parameters", "rope_parameters.")? {
            Some(section) => Some(section),
            None => config.object("rope_scaling", "rope_scaling.")?,
        };
        let default = Self::default();
        let theta = match &section {
            Some(section) => section.number("rope_theta")?,
            None => None,
        };
        let theta = match theta {
            Some(theta) => theta,
            None => config.number("rope_theta")?.unwrap_or(default.theta),
        };
        let scaling = match &section {
            Some(section) => RopeScaling::read(section)?,
            None => RopeScaling::Default,
        };
        Ok(Self { theta, scaling })
    }

    /// The keys `rope_theta` and `rope_scaling`, which every version of transformers reads.
    pub(super) fn to_json(&self) -> (Value, Value) {
        let scaling = match &self.scaling {
            RopeScaling::Default => Value::Null,
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            }),
        };
        (json!(self.theta), scaling)
    }

    pub(super) fn check(&self, origin: &str) -> Result<(), ConfigError> {
        let invalid = |key: &str, value: f64, allowed: &str| ConfigError::Invalid {
            origin: origin.to_owned(),
            key: key.to_owned(),
            value: value.to_string(),
            allowed: allowed.to_owned(),
        };
        if !(self.theta.is_finite() && self.theta > 0.0) {
            return Err(invalid("rope_theta", self.theta, "a finite number above 0"));
        }
        match self.scaling {
            RopeScaling::Default => {}
            RopeScaling::Linear { factor } | RopeScaling::Llama3 { factor, .. }
                if !(factor.is_finite() && factor >= 1.0) =>
            {
                return Err(invalid("factor", factor, "a finite number of at least 1"));
            }
            RopeScaling::Linear { .. } => {}
            RopeScaling::Llama3 {
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
                ..
            } => {
                if !(low.is_finite() && low > 0.0) {
                    return Err(invalid("low_freq_factor", low, "a finite number above 0"));
                }
                if !(high.is_finite() && high > low) {
                    return Err(invalid("high_freq_factor", high, "above low_freq_factor"));
                }
                if original == 0 {
                    return Err(invalid("original_max_position_embeddings", 0.0, "at least 1"));
                }
            }
        }
        Ok(())
    }

    /// The angle per position of each of the `head_dim / 2` rotated pairs, in radians:
    /// `theta^(-2 i / head_dim)`, scaled.
    ///
    /// In f32 like transformers, whose rounding long contexts amplify.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / head_dim as f32;
                let frequency = 1.0 / (self.theta as f32).powf(exponent);
                self.scaling.apply(frequency)
            })
            .collect()
    }
}

impl RopeScaling {
    fn read(section: &Reader) -> Result<Self, ConfigError> {
        let kind = match section.text("rope_type")? {
            Some(kind) => kind,
            None => section.text("type")?.unwrap_or("default"),
        };
        if let Some(fraction) = section.number("partial_rotary_factor")?
            && fraction != 1.0
        {
            return Err(section.unsupported("partial_rotary_factor", &fraction.to_string(), "1"));
        }
        // Models with several kinds of layers have one section for each.
        if let Some(key) = section.object_keys().next() {
            return Err(section.unsupported(key, "an object", "one section for all layers"));
        }
        let required = |key: &str| section.required(key, section.number(key)?);
        match kind {
            "default" => Ok(Self::Default),
            "linear" => Ok(Self::Linear { factor: required("factor")? }),
            "llama3" => {
                let original = "original_max_position_embeddings";
                Ok(Self::Llama3 {
                    factor: required("factor")?,
                    low_freq_factor: required("low_freq_factor")?,
                    high_freq_factor: required("high_freq_factor")?,
                    original_max_position_embeddings: section
                        .required(original, section.size(original)?)?,
                })
            }
            other => Err(section.unsupported("rope_type", other, ALLOWED)),
        }
    }

    fn apply(&self, frequency: f32) -> f32 {
        match *self {
            Self::Default => frequency,
            Self::Linear { factor } => frequency / factor as f32,
            Self::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings,
            } => {
                let original = original_max_position_embeddings as f64;
                let wavelength = TAU / f64::from(frequency);
                if wavelength > original / low {
                    frequency / factor as f32
                } else if wavelength < original / high {
                    frequency
                } else {
                    let kept = ((original / wavelength - low) / (high - low)) as f32;
                    (1.0 - kept) * frequency / factor as f32 + kept * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_scaling_divides_every_frequency() {
        let plain = RopeConfig::default().inverse_frequencies(8);
        let scaled = RopeConfig { theta: 10_000.0, scaling: RopeScaling::Linear { factor: 4.0 } }
            .inverse_frequencies(8);
        assert_eq!(plain[0], 1.0);
        for (a, b) in plain.iter().zip(scaled) {
            assert!((a / 4.0 - b).abs() < 1e-9);
        }
    }

    #[test]
    fn llama3_scaling_keeps_high_and_divides_low_frequencies() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let plain = RopeConfig { theta: 5e5, scaling: RopeScaling::Default };
        let scaled = RopeConfig { theta: 5e5, scaling };
        let (plain, scaled) = (plain.inverse_frequencies(128), scaled.inverse_frequencies(128));
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[63] / 8.0, scaled[63]);
        assert!(scaled.iter().zip(&plain).all(|(s, p)| s <= p && *s >= p / 8.0));
    }
}
