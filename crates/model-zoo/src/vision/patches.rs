use burn::module::{Module, Param};
use burn::tensor::Tensor;
use fused_ops::linear;

use crate::parameters::{ParameterSource, Start};

/// Cuts images into square patches and maps each to a vector: a convolution whose stride is the
/// size of its kernel.
///
/// Source: Dosovitskiy et al., arXiv 2010.11929, equation 1.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// `[H, channels, patch_size, patch_size]`.
    pub weight: Param<Tensor<4>>,
    /// `[H]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl PatchEmbedding {
    pub(super) fn build<S: ParameterSource>(
        path: &str,
        shape: [usize; 4],
        bias: bool,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let weight = source.tensor(&format!("{path}.weight"), shape, Start::Normal)?;
        let bias = match bias {
            true => Some(source.tensor(&format!("{path}.bias"), [shape[0]], Start::Zeros)?),
            false => None,
        };
        Ok(Self { weight, bias })
    }

    /// `[B, C, H, W]` to one vector for each patch, row by row: `[B, patches, H]`. What is left at
    /// the lower and right edges is cut off.
    pub fn forward(&self, pixel_values: Tensor<4>) -> Tensor<3> {
        let weight = self.weight.val();
        let [hidden, channels, p, _] = weight.dims();
        let [b, _, height, width] = pixel_values.dims();
        let (rows, columns) = (height / p, width / p);
        let pixels = pixel_values.narrow(2, 0, rows * p).narrow(3, 0, columns * p);
        // Pixels of a patch next to each other, in the order of the kernel.
        let patches = pixels
            .reshape([b, channels, rows, p, columns, p])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([b, rows * columns, channels * p * p])
            .cast(weight.dtype());
        let weight = weight.reshape([hidden, channels * p * p]).transpose();
        linear(patches, weight, self.bias.as_ref().map(|bias| bias.val()))
    }
}

/// The class token before the patches, plus positions: `[B, N, H]`, `[1, 1, H]` and
/// `[1, 1 + N, H]` to `[B, 1 + N, H]`.
pub(super) fn with_class_token(
    patches: Tensor<3>,
    class: Tensor<3>,
    positions: Tensor<3>,
) -> Tensor<3> {
    let [b, _, hidden] = patches.dims();
    Tensor::cat(vec![class.expand([b, 1, hidden]), patches], 1) + positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution, Tolerance};

    #[test]
    fn it_is_a_convolution() {
        let device = Device::flex();
        let random = Distribution::Normal(0.0, 1.0);
        let weight = Tensor::<4>::random([5, 3, 2, 2], random, &device);
        let bias = Tensor::<1>::random([5], random, &device);
        let images = Tensor::<4>::random([2, 3, 7, 9], random, &device);
        let embedding = PatchEmbedding {
            weight: Param::from_tensor(weight.clone()),
            bias: Some(Param::from_tensor(bias.clone())),
        };
        let options = ConvOptions::new([2, 2], [0, 0], [1, 1], 1);
        let expected = conv2d(images.clone(), weight, Some(bias), options);
        let expected: Tensor<3> = expected.reshape([2, 5, 3 * 4]).swap_dims(1, 2);
        let tolerance = Tolerance::absolute(1e-5);
        let found = embedding.forward(images).into_data();
        found.assert_approx_eq::<f32>(&expected.into_data(), tolerance);
    }
}
