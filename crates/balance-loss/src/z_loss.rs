use burn::tensor::Tensor;
use fused_ops::log_sum_exp;
use router::RoutingTape;
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::reduction::of_each;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy};

/// Configuration of [`ZLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZLossConfig {
    /// The coefficient of the loss; transformers' `router_z_loss_coef`. Default 0.001.
    pub coefficient: f64,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated; `concatenate` is the same as `mean` here. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for ZLossConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-3,
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::default(),
        }
    }
}

impl ZLossConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<ZLoss, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        Ok(ZLoss { config: self.clone() })
    }
}

/// The router z-loss of ST-MoE (arXiv 2202.08906, equation 5), which keeps logits small.
///
/// ```text
/// loss = coefficient * mean_t (log sum_e exp(z[t, e]))^2
/// ```
///
/// It makes training stable and does not balance: add it to a loss that does, with
/// [`Sum`](crate::Sum).
#[derive(Debug, Clone)]
pub struct ZLoss {
    config: ZLossConfig,
}

impl BalanceLoss for ZLoss {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
        }
        let mean = config.padding.token_mean(tape.context());
        config.aggregation.over(
            tape.records(),
            |record| Ok([square_of_logsumexp(record.routing.logits.clone())]),
            |values| mean.of(values),
            |pooled| of_each(pooled.mean()) * config.coefficient,
        )
    }
}

/// `(log sum_e exp(z[t, e]))^2`, `[T, 1]`.
fn square_of_logsumexp(logits: Tensor<2>) -> Tensor<2> {
    let log_sums = log_sum_exp(logits);
    (log_sums.clone() * log_sums).unsqueeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, refused_coefficients, tape, value};
    use burn::tensor::Device;

    fn with(change: impl FnOnce(&mut ZLossConfig)) -> ZLoss {
        let mut config = ZLossConfig { coefficient: 1.0, ..Default::default() };
        change(&mut config);
        config.init().unwrap()
    }

    fn layer(logits: &[[f32; 2]]) -> Layer<2> {
        let mut layer = Layer::new(&vec![[0.5, 0.5]; logits.len()]);
        layer.logits = logits.to_vec();
        layer
    }

    fn square(logits: [f64; 2]) -> f64 {
        (logits[0].exp() + logits[1].exp()).ln().powi(2)
    }

    #[test]
    fn the_loss_is_the_mean_square_of_the_log_sum() {
        let tape = tape(&[layer(&[[1.0, 2.0], [-3.0, 0.5]])], None);
        let want = (square([1.0, 2.0]) + square([-3.0, 0.5])) / 2.0;
        assert_close(value(&with(|_| ()), &tape), want);
        assert_close(value(&with(|c| c.coefficient = 0.1), &tape), 0.1 * want);
    }

    #[test]
    fn extreme_logits_do_not_overflow() {
        let tape = tape(&[layer(&[[200.0, 0.0], [-200.0, -300.0]])], None);
        assert_close(value(&with(|_| ()), &tape), 40_000.0);
    }

    #[test]
    fn padding_changes_nothing_unless_it_is_included() {
        let masked = tape(&[layer(&[[1.0, 2.0], [-3.0, 0.5]])], Some(&[true, false]));
        assert_close(value(&with(|_| ()), &masked), square([1.0, 2.0]));
        let included = value(&with(|c| c.padding = PaddingPolicy::Include), &masked);
        assert_close(included, (square([1.0, 2.0]) + square([-3.0, 0.5])) / 2.0);
    }

    #[test]
    fn layers_are_summed_or_averaged() {
        let both = tape(&[layer(&[[1.0, 2.0]]), layer(&[[-3.0, 0.5]])], None);
        let sum = square([1.0, 2.0]) + square([-3.0, 0.5]);
        assert_close(value(&with(|_| ()), &both), sum);
        for aggregation in [Aggregation::Mean, Aggregation::Concatenate] {
            assert_close(value(&with(|c| c.aggregation = aggregation), &both), sum / 2.0);
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_plain_formula() {
        let device = Device::flex().autodiff();
        let values = [[1.0, 2.0, -0.5], [0.3, -1.0, 0.0]];
        let gradient = |f: fn(Tensor<2>) -> Tensor<2>| {
            let z = Tensor::<2>::from_data(values, &device).require_grad();
            let grads = f(z.clone()).mean().backward();
            z.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap()
        };
        let plain = gradient(|z| z.exp().sum_dim(1).log().powi_scalar(2));
        for (got, want) in gradient(square_of_logsumexp).into_iter().zip(plain) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }

    #[test]
    fn bad_coefficients_are_refused_and_zero_is_no_loss() {
        refused_coefficients(|coefficient| {
            ZLossConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        let tape = tape(&[layer(&[[1.0, 2.0]])], None);
        assert!(with(|c| c.coefficient = 0.0).loss(&tape).unwrap().is_none());
    }
}
