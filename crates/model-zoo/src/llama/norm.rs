use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

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
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let scale = (x.clone().square().mean_dim(2) + self.eps).sqrt().recip();
        (x * scale).cast(dtype) * self.weight.val().unsqueeze()
    }
}
