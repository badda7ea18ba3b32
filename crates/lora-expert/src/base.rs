use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use fused_ops::{Weight, dequantize, linear};
use quantization::QuantizedMatrix;

/// A frozen linear of the base model, `y = x W + b`, with `W` `[in_features, out_features]` in floats
/// or quantised.
// A model has some hundred of them, and modules cannot be behind pointers.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum BaseLinear {
    /// Burn's linear.
    Dense(Linear),
    /// One of 8 or 4 bits an element.
    Quantized(QuantizedLinear),
}

/// A linear whose weight is quantised; its bias is not.
#[derive(Module, Debug)]
pub struct QuantizedLinear {
    /// `W`.
    pub matrix: QuantizedMatrix,
    /// `b`, `[out_features]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl From<Linear> for BaseLinear {
    fn from(linear: Linear) -> Self {
        Self::Dense(linear)
    }
}

impl BaseLinear {
    /// `[in_features, out_features]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(linear) => linear.weight.lazy_shape().dims(),
            Self::Quantized(linear) => linear.matrix.dims(),
        }
    }

    /// The device that it is on.
    pub fn device(&self) -> Device {
        match self {
            Self::Dense(linear) => linear.weight.lazy_device(),
            Self::Quantized(linear) => linear.matrix.device(),
        }
    }

    /// `W` as floats; a quantised one in f32, made anew by each call.
    pub fn weight(&self) -> Tensor<2> {
        match self {
            Self::Dense(linear) => linear.weight.val(),
            Self::Quantized(linear) => dequantize(&linear.matrix),
        }
    }

    /// `W` as a factor of products, however it is held.
    pub fn factor(&self) -> Weight {
        match self {
            Self::Dense(linear) => {
                let weight = linear.weight.val();
                match weight.is_require_grad() {
                    true => Weight::Dense(weight),
                    false => Weight::Frozen(weight),
                }
            }
            Self::Quantized(linear) => (&linear.matrix).into(),
        }
    }

    /// `b`, `[out_features]`.
    pub fn bias(&self) -> Option<Tensor<1>> {
        let bias = match self {
            Self::Dense(linear) => &linear.bias,
            Self::Quantized(linear) => &linear.bias,
        };
        bias.as_ref().map(|bias| bias.val())
    }

    /// As Burn's linear; a quantised weight in f32.
    pub fn to_dense(&self) -> Linear {
        match self {
            Self::Dense(linear) => linear.clone(),
            Self::Quantized(linear) => Linear {
                weight: Param::from_tensor(dequantize(&linear.matrix)).no_grad(),
                bias: linear.bias.clone(),
            },
        }
    }

    /// With another weight, frozen and held as this one is. What cannot be quantised here, as the
    /// groups of GPTQ, becomes floats.
    pub fn with_weight(&self, weight: Tensor<2>) -> Self {
        let dense = |bias: &Option<Param<Tensor<1>>>, weight| {
            let weight = Param::from_tensor(weight).no_grad();
            Self::Dense(Linear { weight, bias: bias.clone() })
        };
        match self {
            Self::Dense(linear) => dense(&linear.bias, weight),
            Self::Quantized(linear) => match linear.matrix.quantization() {
                None => dense(&linear.bias, weight),
                Some(quantization) => Self::Quantized(QuantizedLinear {
                    matrix: QuantizedMatrix::quantize(weight, quantization),
                    bias: linear.bias.clone(),
                }),
            },
        }
    }

    /// `x W + b`.
    ///
    /// # Shapes
    ///
    /// - `x`: `[.., in_features]`
    /// - result: `[.., out_features]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        linear(x, self.factor(), self.bias())
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Distribution;
    use quantization::Quantization;

    use super::*;
    use crate::testing::assert_close;

    fn quantized(quantization: Quantization) -> (BaseLinear, Tensor<2>) {
        let device = Device::flex();
        let dense = LinearConfig::new(64, 6).init(&device);
        let matrix = QuantizedMatrix::quantize(dense.weight.val(), quantization);
        let x = Tensor::random([7, 64], Distribution::Default, &device);
        (BaseLinear::Quantized(QuantizedLinear { matrix, bias: dense.bias }), x)
    }

    #[test]
    fn quantized_linears_are_the_dense_ones_of_their_weights() {
        for quantization in Quantization::ALL {
            let (base, x) = quantized(quantization);
            assert_eq!((base.dims(), base.weight().dims()), ([64, 6], [64, 6]));
            let dense = base.to_dense().forward(x.clone());
            assert_close(&base.forward(x).into_data(), &dense.into_data());
        }
    }

    #[test]
    fn another_weight_is_held_as_the_first() {
        let (base, _) = quantized(Quantization::Nf4);
        let other = base.with_weight(base.weight() * 2.0);
        assert!(matches!(&other, BaseLinear::Quantized(linear)
            if linear.matrix.quantization() == Some(Quantization::Nf4)));
        assert_close(&other.weight().into_data(), &(base.weight() * 2.0).into_data());
        assert!(matches!(
            BaseLinear::from(base.to_dense()).with_weight(base.weight()),
            BaseLinear::Dense(_)
        ));
    }
}
