use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use burn::tensor::Tensor;
use fused_ops::silu_mul;

/// The activation of a gated feed-forward block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// `z * sigmoid(z)`: SwiGLU. Source: Shazeer, arXiv 2002.05202, equation 6.
    #[default]
    Silu,
    /// `z / 2 * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 z^3)))`: GEGLU with the approximation of
    /// GeLU. Sources: Shazeer, arXiv 2002.05202, equation 6; Hendrycks and Gimpel,
    /// arXiv 1606.08415, section 2.
    GeluTanh,
}

impl Activation {
    /// `activation(gate) * up`, element by element.
    pub fn gate<const D: usize>(self, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => silu_mul(gate, up),
            Self::GeluTanh => {
                let scale = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
                let inner = gate.clone() * (gate.clone().square() * (0.044715 * scale) + scale);
                gate * (inner.tanh() + 1.0) * 0.5 * up
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Reference values of PyTorch's `gelu(z, approximate="tanh")`.
    #[test]
    fn gelu_is_that_of_pytorch() {
        let device = Device::flex();
        let z = Tensor::<1>::from_floats([-3.0, -1.0, 0.0, 0.5, 2.0], &device);
        let up = Tensor::<1>::from_floats([1.0, 2.0, 1.0, 1.0, -1.0], &device);
        let found = Activation::GeluTanh.gate(z, up).into_data().try_to_vec::<f32>().unwrap();
        let expected = [-0.003637, -0.158808 * 2.0, 0.0, 0.345714, -1.954598];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6, "{found} but {expected} expected");
        }
    }
}
