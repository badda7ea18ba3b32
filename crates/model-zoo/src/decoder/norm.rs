use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use fused_ops::rms_norm;

use crate::DecoderConfig;
use crate::parameters::ParameterSource;

/// Root-mean-square normalisation, `y = x / sqrt(mean(x^2) + eps) * w`, or with `1 + w` in
/// families with a unit offset.
///
/// Statistics are in f32. Source: Zhang and Sennrich, arXiv 1910.07467, equation 4.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `w`, `[H]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
    /// Whether the factor is `1 + w`.
    pub unit_offset: bool,
}

impl RmsNorm {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        path: &str,
        size: usize,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let unit_offset = config.family.traits().unit_offset_norms;
        let weight = match unit_offset {
            true => source.norm_offset(path, size)?,
            false => source.norm(path, size)?,
        };
        Ok(Self { weight, eps: config.rms_norm_eps, unit_offset })
    }

    /// Normalises the last dimension, `[.., H]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        if !self.unit_offset {
            return rms_norm(x, weight, self.eps);
        }
        // The sum is in f32: half types would lose most of a small `w`.
        let dtype = x.dtype();
        let factor = weight.cast(DType::F32) + 1.0;
        rms_norm(x.cast(DType::F32), factor, self.eps).cast(dtype)
    }
}
