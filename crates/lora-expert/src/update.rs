use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{DType, Tensor};
use fused_ops::matmul;

use crate::BaseLinear;

/// What experts at fixed weights make of a frozen linear: `W' = W o g + A^T B^T + c I` and
/// `b' = b o h`.
///
/// It is small, says everything, and can be taken back: [`undo`](Self::undo) gives `W` and `b`.
#[derive(Debug, Clone)]
pub struct LinearUpdate {
    /// `g`, `[O]`; all 1 where absent.
    pub scale: Option<Tensor<1>>,
    /// `h`, `[O]`; all 1 where absent.
    pub bias_scale: Option<Tensor<1>>,
    /// `A`, `[R, I]`, and `B`, `[O, R]`, with scalings and weights in it; a product of 0 where
    /// absent.
    pub factors: Option<(Tensor<2>, Tensor<2>)>,
    /// `c`, of layers with as many outputs as inputs.
    pub identity: f64,
}

impl LinearUpdate {
    /// The linear with `W'` and `b'`, in f32 before it takes the dtype of `W`.
    ///
    /// That of a quantised linear is one of f32.
    pub fn apply(&self, base: &BaseLinear) -> Linear {
        let base = &base.to_dense();
        let weight = base.weight.val().cast(DType::F32);
        let scaled = match &self.scale {
            None => weight,
            Some(scale) => weight * scale.clone().unsqueeze(),
        };
        let bias = self.bias_scale.as_ref().zip(base.bias.as_ref());
        let bias = bias.map(|(scale, bias)| bias.val() * scale.clone().cast(bias.val().dtype()));
        replaced(base, self.added(scaled, 1.0), bias)
    }

    /// The linear that [`apply`](Self::apply) was given, up to rounding. Where an element of `g` or
    /// `h` is 0, what it scaled is lost, and comes back as no number.
    pub fn undo(&self, merged: &BaseLinear) -> Linear {
        let merged = &merged.to_dense();
        let scaled = self.added(merged.weight.val().cast(DType::F32), -1.0);
        let weight = match &self.scale {
            None => scaled,
            Some(scale) => scaled / scale.clone().unsqueeze(),
        };
        let bias = self.bias_scale.as_ref().zip(merged.bias.as_ref());
        let bias = bias.map(|(scale, bias)| bias.val() / scale.clone().cast(bias.val().dtype()));
        replaced(merged, weight, bias)
    }

    /// `W + sign (A^T B^T + c I)`.
    fn added(&self, weight: Tensor<2>, sign: f64) -> Tensor<2> {
        let mut sum = weight;
        if let Some((a, b)) = &self.factors {
            let [a, b] = [a, b].map(|factor| factor.clone().cast(DType::F32).transpose());
            sum = sum + matmul(a, b * sign);
        }
        if self.identity != 0.0 {
            let eye = Tensor::<2>::eye(sum.dims()[0], &sum.device()).cast(DType::F32);
            sum = sum + eye * (sign * self.identity);
        }
        sum
    }
}

/// A linear with another weight, and another bias where one is given.
fn replaced(linear: &Linear, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Linear {
    let dtype = linear.weight.val().dtype();
    let mut changed = linear.clone();
    changed.weight = Param::from_tensor(weight.cast(dtype).detach()).no_grad();
    if let Some(bias) = bias {
        changed.bias = Some(Param::from_tensor(bias.detach()).no_grad());
    }
    changed
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};

    use super::*;

    #[test]
    fn what_is_applied_follows_the_formula_and_is_undone() {
        let device = Device::flex();
        let base = Linear {
            weight: Param::from_data([[1.0f32, 2.0], [3.0, 4.0]], &device),
            ..LinearConfig::new(2, 2).init(&device)
        };
        let row = |values: [f32; 2]| Tensor::<1>::from_data(values, &device);
        let update = LinearUpdate {
            scale: Some(row([2.0, 0.5])),
            bias_scale: Some(row([4.0, 2.0])),
            factors: Some((
                Tensor::from_data([[1.0f32, 2.0]], &device),
                Tensor::from_data([[10.0f32], [100.0]], &device),
            )),
            identity: 0.5,
        };
        let merged = update.apply(&base.clone().into());
        let expected = TensorData::from([[12.5f32, 101.0], [26.0, 202.5]]);
        merged.weight.val().into_data().assert_eq(&expected, true);
        let back = update.undo(&merged.into());
        let close = Tolerance::<f32>::relative(1e-6);
        back.weight.val().into_data().assert_approx_eq(&base.weight.val().into_data(), close);
        let [bias, first] = [&back, &base].map(|linear| linear.bias.as_ref().unwrap().val());
        bias.into_data().assert_approx_eq(&first.into_data(), close);
    }

    #[test]
    fn nothing_changes_nothing() {
        let device = Device::flex();
        let base = LinearConfig::new(3, 5).init(&device);
        let x = Tensor::<2>::random([4, 3], Distribution::Default, &device);
        let update = LinearUpdate { scale: None, bias_scale: None, factors: None, identity: 0.0 };
        let expected = base.forward(x.clone()).into_data();
        update.apply(&base.into()).forward(x).into_data().assert_eq(&expected, true);
    }
}
