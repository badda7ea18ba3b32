use burn::module::{Module, Param};
use burn::tensor::module::layer_norm;
use burn::tensor::{DType, Tensor};

use crate::parameters::{ParameterSource, Start};

/// Layer normalisation, `y = (x - mean) / sqrt(var + eps) * weight + bias`.
///
/// Statistics are in f32. Source: Ba et al., arXiv 1607.06450, equation 4. Burn's own names its
/// parameters `gamma` and `beta`; here they have the names of checkpoints.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[H]`.
    pub weight: Param<Tensor<1>>,
    /// `[H]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// `<path>.weight` and `<path>.bias`.
    pub(crate) fn build<S: ParameterSource>(
        path: &str,
        size: usize,
        eps: f64,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        Ok(Self {
            weight: source.tensor(&format!("{path}.weight"), [size], Start::Ones)?,
            bias: source.tensor(&format!("{path}.bias"), [size], Start::Zeros)?,
            eps,
        })
    }

    /// Normalises the last dimension of `[.., H]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let (weight, bias) = (self.weight.val().cast(DType::F32), self.bias.val().cast(DType::F32));
        layer_norm(x.cast(DType::F32), weight, Some(bias), self.eps).cast(dtype)
    }
}
