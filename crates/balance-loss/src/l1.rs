use burn::tensor::{DType, Tensor};
use fused_ops::{abs_sum, abs_sums};
use router::{RoutingRecord, RoutingTape};
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::reduction::of_each;
use crate::{Aggregation, BalanceLoss, BalanceLossError};

/// Configuration of [`L1`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L1Config {
    /// The coefficient of the loss. Default 0.01.
    pub coefficient: f64,
    /// How layers are aggregated, `sum` or `mean`. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for L1Config {
    fn default() -> Self {
        Self { coefficient: 1e-2, aggregation: Aggregation::default() }
    }
}

impl L1Config {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<L1, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        self.aggregation.check_without_tokens("l1")?;
        Ok(L1 { config: self.clone() })
    }
}

/// SLIM's penalty on the experts' parameters (arXiv 2410.07739).
///
/// ```text
/// loss = coefficient * sum over experts e of (mean |A_e| + mean |B_e|)
/// ```
///
/// aggregated over layers. Identity experts have no parameters and do not count; nor do adapters
/// without a router, which do not report to the tape. The layers do, however few tokens chose an
/// expert.
#[derive(Debug, Clone)]
pub struct L1 {
    config: L1Config,
}

impl L1 {
    /// What the absolute values of a parameter count: the experts of a layer are of one size, so that the sum
    /// of their means is that of all values over the size of one.
    fn factor(parameter: &Tensor<3>) -> f64 {
        let [_, rows, columns] = parameter.dims();
        1.0 / (rows * columns).max(1) as f64
    }

    /// The loss of all layers at once, where a GPU would wait for the operations of each.
    fn at_once(&self, tape: &RoutingTape) -> Option<Tensor<1>> {
        let parameters = tape.records().iter().flat_map(|record| &record.parameters);
        let parameters: Vec<Tensor<3>> = parameters.cloned().collect();
        let factors: Vec<f64> = parameters.iter().map(Self::factor).collect();
        let layers = match self.config.aggregation {
            Aggregation::Mean => tape.records().len() as f64,
            _ => 1.0,
        };
        Some(abs_sums(&parameters, &factors)? * (self.config.coefficient / layers))
    }

    /// `sum_e mean |X_e|` over all parameters X, `[1, 1]`; zero without any.
    fn statistic(record: &RoutingRecord) -> Tensor<2> {
        let sums = record.parameters.iter().map(|parameter| {
            let sum = abs_sum(parameter.clone().cast(DType::F32));
            sum.reshape([1, 1]) * Self::factor(parameter)
        });
        let none = || Tensor::zeros([1, 1], &record.routing.weights.device());
        sums.reduce(|sum, next| sum + next).unwrap_or_else(none)
    }
}

impl BalanceLoss for L1 {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
        }
        if let Some(loss) = self.at_once(tape) {
            return Ok(Some(loss));
        }
        config.aggregation.over(
            tape.records(),
            |record| Ok([Self::statistic(record)]),
            |statistics| statistics,
            |pooled| of_each(pooled.sums) * config.coefficient,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, refused_coefficients, tape, value};
    use burn::tensor::Device;

    fn with(coefficient: f64, aggregation: Aggregation) -> L1 {
        L1Config { coefficient, aggregation }.init().unwrap()
    }

    /// Two experts: A of one row of 2, B of 3 rows of one.
    fn layer() -> Layer<3> {
        let mut layer = Layer::new(&[[0.5, 0.3, 0.2]]);
        let device = Device::flex();
        layer.parameters = vec![
            Tensor::from_data([[[1.0, -2.0]], [[3.0, 0.0]]], &device),
            Tensor::from_data([[[1.0], [-1.0], [4.0]], [[0.0], [0.0], [-3.0]]], &device),
        ];
        layer
    }

    #[test]
    fn the_loss_is_the_sum_of_the_experts_mean_magnitudes() {
        let want = (1.5 + 1.5) + (2.0 + 1.0);
        assert_close(value(&with(1.0, Aggregation::Sum), &tape(&[layer()], None)), want);
        let both = tape(&[layer(), layer()], None);
        assert_close(value(&with(0.1, Aggregation::Sum), &both), 0.2 * want);
        assert_close(value(&with(0.1, Aggregation::Mean), &both), 0.1 * want);
    }

    #[test]
    fn padding_does_not_touch_parameters() {
        let masked = tape(&[layer()], Some(&[false]));
        assert_close(value(&with(1.0, Aggregation::Sum), &masked), 6.0);
    }

    #[test]
    fn experts_without_parameters_cost_nothing() {
        let bare = tape(&[Layer::new(&[[0.5, 0.5]])], None);
        assert_eq!(value(&with(1.0, Aggregation::Sum), &bare), 0.0);
    }

    #[test]
    fn the_gradient_shrinks_parameters() {
        let device = Device::flex().autodiff();
        let a = Tensor::<3>::from_data([[[1.0, -2.0]], [[3.0, 0.5]]], &device).require_grad();
        let mut layer = Layer::new(&[[0.5, 0.5]]);
        layer.parameters = vec![a.clone()];
        let loss = with(1.0, Aggregation::Sum).loss(&tape(&[layer], None)).unwrap().unwrap();
        let gradient = a.grad(&loss.backward()).unwrap().into_data();
        assert_eq!(gradient.try_to_vec::<f32>().unwrap(), [0.5, -0.5, 0.5, 0.5]);
    }

    #[test]
    fn bad_values_are_refused_and_zero_is_no_loss() {
        refused_coefficients(|coefficient| {
            L1Config { coefficient, ..Default::default() }.init().map(drop)
        });
        let config = L1Config { aggregation: Aggregation::Concatenate, ..Default::default() };
        assert_eq!(config.init().unwrap_err(), BalanceLossError::NoTokens { loss: "l1" });
        let tape = tape(&[layer()], None);
        assert!(with(0.0, Aggregation::Sum).loss(&tape).unwrap().is_none());
    }
}
