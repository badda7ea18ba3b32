use burn::module::{Module, Param};
use burn::tensor::Tensor;
use fused_ops::rms_norm;

/// Root-mean-square normalisation, `y = x / sqrt(mean(x^2) + eps) * weight`.
///
/// Statistics are in f32. Source: Zhang and Sennrich, arXiv 1910.07467, equation 4.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[H]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// Normalises the last dimension of `[B, S, H]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        rms_norm(x, self.weight.val(), self.eps)
    }
}
