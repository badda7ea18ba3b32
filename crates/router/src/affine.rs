use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use fused_ops::{down_experts, matmul, runs_device_kernels};
use rand::Rng;

use crate::random;

/// `x W^T + b` in f32, whatever the dtype of the parameters: what a strategy learns of a token
/// beside the logits.
#[derive(Module, Debug)]
pub struct Affine {
    /// `W`, `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `b`, `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Affine {
    /// As PyTorch's `Linear` starts: all from `U(-1/sqrt(inputs), 1/sqrt(inputs))`.
    pub(crate) fn kaiming_uniform<R: Rng + ?Sized>(
        [inputs, outputs]: [usize; 2],
        rng: &mut R,
        device: &Device,
    ) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let weight = random::uniform([outputs, inputs], -bound, bound, rng, device);
        let bias = random::uniform([outputs], -bound, bound, rng, device);
        Self { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
    }

    /// A weight of zeros, without a bias.
    pub fn zeros([inputs, outputs]: [usize; 2], device: &Device) -> Self {
        let weight = Tensor::zeros([outputs, inputs], device);
        Self { weight: Param::from_tensor(weight), bias: None }
    }

    /// Sets every element of the bias.
    pub fn with_bias(mut self, value: f64, device: &Device) -> Self {
        let [outputs, _] = self.weight.dims();
        self.bias = Some(Param::from_tensor(Tensor::full([outputs], value, device)));
        self
    }

    /// `[R, inputs]` in f32 to `[R, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        affine(x, &self.weight, self.bias.as_ref())
    }
}

/// `x W^T + b` in f32.
pub(crate) fn affine(
    x: Tensor<2>,
    weight: &Param<Tensor<2>>,
    bias: Option<&Param<Tensor<1>>>,
) -> Tensor<2> {
    let weight = weight.val().cast(DType::F32);
    let y = match runs_device_kernels(&x) {
        // As one expert, whose gradient lies as the weight does.
        true => down_experts(x, weight.unsqueeze(), None),
        false => matmul(x, weight.transpose()),
    };
    with_bias(y, bias)
}

/// `y + b` in f32.
pub(crate) fn with_bias(y: Tensor<2>, bias: Option<&Param<Tensor<1>>>) -> Tensor<2> {
    match bias {
        Some(bias) => y + bias.val().cast(DType::F32).unsqueeze_dim(0),
        None => y,
    }
}
