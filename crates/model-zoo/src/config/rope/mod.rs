mod frequencies;
mod longrope;
mod read;
mod scaling;
mod write;
mod yarn;

pub use longrope::LongRopeScaling;
pub use scaling::RopeScaling;
pub use yarn::YarnScaling;

pub(super) use read::read;
pub(super) use write::write;

use super::ConfigError;

/// How rotary position embeddings turn positions into angles.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the wavelengths; 10000 unless given.
    pub theta: f64,
    /// The part of each head that is turned, its first coordinates; 1 unless given.
    pub partial_rotary_factor: f64,
    /// How the frequencies are stretched to longer contexts.
    pub scaling: RopeScaling,
}

impl Default for RopeConfig {
    fn default() -> Self {
        Self { theta: 10_000.0, partial_rotary_factor: 1.0, scaling: RopeScaling::Default }
    }
}

impl RopeConfig {
    /// Unscaled, of another base.
    pub fn with_theta(theta: f64) -> Self {
        Self { theta, ..Self::default() }
    }

    /// The number of coordinates of a head that are turned: twice the number of pairs.
    pub fn rotary_dim(&self, head_dim: usize) -> usize {
        self.exponent_dim(head_dim).next_multiple_of(2)
    }

    /// What exponents are divided by, as transformers rounds it.
    fn exponent_dim(&self, head_dim: usize) -> usize {
        (head_dim as f64 * self.partial_rotary_factor) as usize
    }

    pub(super) fn check(&self, origin: &str, head_dim: usize) -> Result<(), ConfigError> {
        let invalid = |key: &str, value: String, allowed: &str| ConfigError::Invalid {
            origin: origin.to_owned(),
            key: key.to_owned(),
            value,
            allowed: allowed.to_owned(),
        };
        if !(self.theta.is_finite() && self.theta > 0.0) {
            return Err(invalid("rope_theta", self.theta.to_string(), "a finite number above 0"));
        }
        let fraction = self.partial_rotary_factor;
        let turned = self.rotary_dim(head_dim);
        if !(fraction > 0.0 && fraction <= 1.0 && turned > 0 && turned <= head_dim) {
            let allowed = "above 0 and at most 1, and leave at least one pair of a head";
            return Err(invalid("partial_rotary_factor", fraction.to_string(), allowed));
        }
        self.scaling.check(turned / 2, &invalid)
    }
}
