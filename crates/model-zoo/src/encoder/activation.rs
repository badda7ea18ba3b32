use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, relu, sigmoid};

use super::keys::Keys;
use crate::ConfigError;

/// The activation between the two linears of a feed-forward block; `hidden_act` in `config.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x * Phi(x)` with the normal distribution function: `gelu`.
    #[default]
    Gelu,
    /// The approximation of it by `tanh`: `gelu_new`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`: `quick_gelu`.
    QuickGelu,
    /// `max(x, 0)`: `relu`.
    Relu,
}

impl Activation {
    /// Its name in `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_new",
            Self::QuickGelu => "quick_gelu",
            Self::Relu => "relu",
        }
    }

    /// Applies it to each element.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Self::Relu => relu(x),
        }
    }

    pub(crate) fn read(keys: &Keys, default: Self) -> Result<Self, ConfigError> {
        Ok(match keys.text("hidden_act")? {
            None => default,
            Some("gelu") => Self::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => Self::GeluTanh,
            Some("quick_gelu") => Self::QuickGelu,
            Some("relu") => Self::Relu,
            Some(other) => {
                let allowed = "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu";
                return Err(keys.unsupported("hidden_act", other, allowed));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    /// References: `x / 2 (1 + erf(x / sqrt 2))`, its approximation, `x / (1 + exp(-1.702 x))`.
    #[test]
    fn values_are_those_of_the_formulas() {
        let values = |activation: Activation| {
            let x = Tensor::<1>::from_data([-1.0, 0.5, 2.0], &Device::flex());
            activation.forward(x).into_data()
        };
        let equal = |activation, expected: [f32; 3]| {
            let tolerance = Tolerance::absolute(2e-6);
            values(activation).assert_approx_eq::<f32>(&expected.into(), tolerance);
        };
        equal(Activation::Gelu, [-0.158_655_25, 0.345_731_23, 1.954_499_7]);
        equal(Activation::GeluTanh, [-0.158_808, 0.345_714, 1.954_597_7]);
        equal(Activation::QuickGelu, [-0.154_204_23, 0.350_388_44, 1.935_658_6]);
        equal(Activation::Relu, [0.0, 0.5, 2.0]);
    }
}
