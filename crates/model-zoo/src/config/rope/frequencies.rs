use std::f64::consts::TAU;

use super::{RopeConfig, RopeScaling};

impl RopeConfig {
    /// The angle per position of each turned pair of a head, in radians: `theta^(-2 i / d)`,
    /// scaled as for a sequence of `seq_len` tokens.
    ///
    /// In f32 like transformers, whose rounding long contexts amplify.
    pub fn inverse_frequencies(
        &self,
        head_dim: usize,
        max_position_embeddings: usize,
        seq_len: usize,
    ) -> Vec<f32> {
        let dim = self.exponent_dim(head_dim);
        let base = self.base(dim, max_position_embeddings, seq_len);
        let wave = |i: usize| base.powf((2 * i) as f32 / dim as f32);
        let pairs = 0..self.rotary_dim(head_dim) / 2;
        match &self.scaling {
            RopeScaling::Default | RopeScaling::Dynamic { .. } => {
                pairs.map(|i| 1.0 / wave(i)).collect()
            }
            RopeScaling::Linear { factor } => {
                pairs.map(|i| 1.0 / wave(i) / *factor as f32).collect()
            }
            RopeScaling::Yarn(yarn) => {
                let factor = yarn.factor(max_position_embeddings) as f32;
                let ramp = yarn.ramp(self.theta, dim);
                let blend = |i| {
                    let kept = 1.0 - ramp(i);
                    1.0 / (factor * wave(i)) * (1.0 - kept) + 1.0 / wave(i) * kept
                };
                pairs.map(blend).collect()
            }
            RopeScaling::LongRope(longrope) => {
                let factors = longrope.factors(seq_len);
                pairs.zip(factors).map(|(i, factor)| 1.0 / (*factor as f32 * wave(i))).collect()
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let original = *original_max_position_embeddings as f64;
                let llama3 = |i| {
                    let bounds = [*low_freq_factor, *high_freq_factor];
                    by_wavelength(1.0 / wave(i), *factor, bounds, original)
                };
                pairs.map(llama3).collect()
            }
        }
    }

    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self, max_position_embeddings: usize) -> f64 {
        match &self.scaling {
            RopeScaling::Yarn(yarn) => yarn.attention_factor(max_position_embeddings),
            RopeScaling::LongRope(longrope) => longrope.attention_factor(max_position_embeddings),
            _ => 1.0,
        }
    }

    fn base(&self, dim: usize, max_position_embeddings: usize, seq_len: usize) -> f32 {
        let theta = self.theta as f32;
        match self.scaling {
            RopeScaling::Dynamic { factor } if seq_len > max_position_embeddings => {
                let factor = factor as f32;
                let stretch = factor * seq_len as f32 / max_position_embeddings as f32;
                let exponent = dim as f64 / (dim as f64 - 2.0);
                theta * (stretch - (factor - 1.0)).powf(exponent as f32)
            }
            _ => theta,
        }
    }
}

/// Divided by the factor where the wavelength is long, kept where it is short, blended between.
fn by_wavelength(frequency: f32, factor: f64, [low, high]: [f64; 2], original: f64) -> f32 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LongRopeScaling, YarnScaling};

    fn frequencies(theta: f64, scaling: RopeScaling, head_dim: usize, seq_len: usize) -> Vec<f32> {
        let rope = RopeConfig { theta, partial_rotary_factor: 1.0, scaling };
        rope.inverse_frequencies(head_dim, 64, seq_len)
    }

    #[test]
    fn linear_scaling_divides_every_frequency() {
        let plain = frequencies(1e4, RopeScaling::Default, 8, 1);
        let scaled = frequencies(1e4, RopeScaling::Linear { factor: 4.0 }, 8, 1);
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
        let plain = frequencies(5e5, RopeScaling::Default, 128, 1);
        let scaled = frequencies(5e5, scaling, 128, 1);
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[63] / 8.0, scaled[63]);
        assert!(scaled.iter().zip(&plain).all(|(s, p)| s <= p && *s >= p / 8.0));
    }

    #[test]
    fn yarn_keeps_high_and_divides_low_frequencies() {
        let scaling = RopeScaling::Yarn(YarnScaling::new(4.0, 4096));
        let plain = frequencies(1e4, RopeScaling::Default, 128, 1);
        let scaled = frequencies(1e4, scaling, 128, 1);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / 4.0 / scaled[63] - 1.0).abs() < 1e-6);
        assert!(scaled.iter().zip(&plain).all(|(s, p)| s <= p && *s * 4.000_01 >= *p));
    }

    #[test]
    fn yarn_scales_scores_by_the_factor_or_as_the_file_says() {
        let yarn = YarnScaling::new(4.0, 16);
        assert!((yarn.attention_factor(64) - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
        let ratio = YarnScaling { factor: None, ..yarn.clone() };
        assert_eq!(ratio.attention_factor(64), yarn.attention_factor(64));
        let equal = YarnScaling { mscale: Some(0.7), mscale_all_dim: Some(0.7), ..yarn.clone() };
        assert_eq!(equal.attention_factor(64), 1.0);
        let given = YarnScaling { attention_factor: Some(1.5), ..equal };
        assert_eq!(given.attention_factor(64), 1.5);
    }

    #[test]
    fn dynamic_scaling_begins_beyond_the_trained_length() {
        let scaling = || RopeScaling::Dynamic { factor: 2.0 };
        let plain = frequencies(1e4, RopeScaling::Default, 8, 1);
        assert_eq!(frequencies(1e4, scaling(), 8, 64), plain);
        let longer = frequencies(1e4, scaling(), 8, 128);
        assert_eq!(longer[0], plain[0]);
        // `2 * 128 / 64 - 1 = 3`, to the power of `8 / 6`, of which `6 / 8` remain.
        assert!((plain[3] / longer[3] / 3.0 - 1.0).abs() < 1e-5);
    }

    #[test]
    fn longrope_changes_its_factors_beyond_the_original_length() {
        let scaling = RopeScaling::LongRope(LongRopeScaling {
            short_factor: vec![1.0, 2.0],
            long_factor: vec![3.0, 4.0],
            original_max_position_embeddings: 16,
            factor: None,
            attention_factor: None,
        });
        let rope = RopeConfig { scaling, ..RopeConfig::default() };
        let of = |seq_len| rope.inverse_frequencies(4, 64, seq_len);
        assert_eq!(of(16), [1.0, 1.0 / 200.0]);
        assert_eq!(of(17), [1.0 / 3.0, 1.0 / 400.0]);
        let factor = rope.attention_factor(64);
        assert!((factor - 1.5f64.sqrt()).abs() < 1e-12, "1 + ln 4 / ln 16, its root: {factor}");
    }

    #[test]
    fn partial_embeddings_turn_the_first_coordinates_of_a_head() {
        let rope = RopeConfig { partial_rotary_factor: 0.75, ..RopeConfig::default() };
        assert_eq!((rope.rotary_dim(128), rope.rotary_dim(12)), (96, 10));
        let frequencies = rope.inverse_frequencies(128, 64, 1);
        assert_eq!(frequencies.len(), 48);
        assert_eq!(frequencies[24], 1.0 / 1e4f32.powf(0.5));
    }
}
