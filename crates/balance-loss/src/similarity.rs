use burn::tensor::{DType, Tensor};
use fused_ops::{gram, mean_squared_cosine};
use router::{RoutingRecord, RoutingTape};
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::reduction::of_each;
use crate::{Aggregation, BalanceLoss, BalanceLossError};

/// Configuration of [`ExpertSimilarity`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpertSimilarityConfig {
    /// The coefficient of the loss. Default 0.01.
    pub coefficient: f64,
    /// How layers are aggregated, `sum` or `mean`. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for ExpertSimilarityConfig {
    fn default() -> Self {
        Self { coefficient: 1e-2, aggregation: Aggregation::default() }
    }
}

impl ExpertSimilarityConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<ExpertSimilarity, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        self.aggregation.check_without_tokens("expert_similarity")?;
        Ok(ExpertSimilarity { config: self.clone() })
    }
}

/// A penalty on experts that are alike: the mean squared cosine between the parameters of two
/// experts.
///
/// ```text
/// v_e  = all parameters of expert e, one after the other
/// loss = coefficient * mean over i < j of (v_i . v_j)^2 / (|v_i|^2 |v_j|^2)
/// ```
///
/// The cosine is between parameters, not between the products `B A`: it holds for any kind of
/// expert, and has a gradient where B starts at zero. So two experts that compute the same from
/// other factors are not alike to it. Parameters that the experts of a layer share are left out,
/// and adapters without a router do not report to the tape.
#[derive(Debug, Clone)]
pub struct ExpertSimilarity {
    config: ExpertSimilarityConfig,
}

impl ExpertSimilarity {
    /// The mean squared cosine of one layer, `[1, 1]`; zero with fewer than two experts.
    fn statistic(record: &RoutingRecord) -> Tensor<2> {
        let device = record.routing.weights.device();
        let experts = record.parameters.iter().map(|p| p.dims()[0]).max().unwrap_or(0);
        if experts < 2 {
            return Tensor::zeros([1, 1], &device);
        }
        let own = record.parameters.iter().filter(|parameter| parameter.dims()[0] == experts);
        let flat = |parameter: &Tensor<3>| {
            let [_, rows, columns] = parameter.dims();
            parameter.clone().cast(DType::F32).reshape([experts, rows * columns])
        };
        // The products of the whole vectors are the sums of those of their parts.
        let products = own.map(|parameter| gram(flat(parameter)));
        match products.reduce(|sum, next| sum + next) {
            Some(products) => mean_squared_cosine(products).reshape([1, 1]),
            None => Tensor::zeros([1, 1], &device),
        }
    }
}

impl BalanceLoss for ExpertSimilarity {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
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

    fn with(coefficient: f64, aggregation: Aggregation) -> ExpertSimilarity {
        ExpertSimilarityConfig { coefficient, aggregation }.init().unwrap()
    }

    fn layer(parameters: Vec<Tensor<3>>) -> Layer<2> {
        let mut layer = Layer::new(&[[0.5, 0.5]]);
        layer.parameters = parameters;
        layer
    }

    /// Experts (1, 2, 3), (-2, 0, 1) and (0, 1, 1), over two parameters.
    fn three() -> Layer<2> {
        let device = Device::flex();
        layer(vec![
            Tensor::from_data([[[1.0, 2.0]], [[-2.0, 0.0]], [[0.0, 1.0]]], &device),
            Tensor::from_data([[[3.0]], [[1.0]], [[1.0]]], &device),
        ])
    }

    const THREE: f64 = (1.0 / 70.0 + 25.0 / 28.0 + 1.0 / 10.0) / 3.0;

    #[test]
    fn the_loss_is_the_mean_squared_cosine_of_pairs() {
        assert_close(value(&with(1.0, Aggregation::Sum), &tape(&[three()], None)), THREE);
        let both = tape(&[three(), three()], None);
        assert_close(value(&with(0.1, Aggregation::Sum), &both), 0.2 * THREE);
        assert_close(value(&with(0.1, Aggregation::Mean), &both), 0.1 * THREE);
    }

    #[test]
    fn padding_and_shared_parameters_do_not_count() {
        let mut shared = three();
        shared.parameters.push(Tensor::from_data([[[5.0, 5.0]]], &Device::flex()));
        let masked = tape(&[shared], Some(&[false]));
        assert_close(value(&with(1.0, Aggregation::Sum), &masked), THREE);
    }

    #[test]
    fn equal_experts_cost_most_and_zeros_nothing() {
        let device = Device::flex();
        let equal = layer(vec![Tensor::from_data([[[1.0, 2.0]], [[-2.0, -4.0]]], &device)]);
        assert_close(value(&with(1.0, Aggregation::Sum), &tape(&[equal], None)), 1.0);
        for rest in [
            vec![Tensor::zeros([3, 2, 2], &device)],
            vec![],
            vec![Tensor::ones([1, 2, 2], &device)],
        ] {
            let tape = tape(&[layer(rest)], None);
            assert_eq!(value(&with(1.0, Aggregation::Sum), &tape), 0.0);
        }
    }

    #[test]
    fn the_gradient_makes_experts_orthogonal() {
        let device = Device::flex().autodiff();
        let loss = with(1.0, Aggregation::Sum);
        let mut a = Tensor::<3>::from_data([[[1.0, 0.5]], [[0.8, 0.7]]], &device);
        for _ in 0..200 {
            a = a.detach().require_grad();
            let tape = tape(&[layer(vec![a.clone()])], None);
            let grads = loss.loss(&tape).unwrap().unwrap().backward();
            let gradient = Tensor::from_inner(a.grad(&grads).unwrap());
            a = a - gradient * 0.3;
        }
        assert!(value(&loss, &tape(&[layer(vec![a.inner()])], None)) < 1e-3);
    }

    #[test]
    fn bad_values_are_refused_and_zero_is_no_loss() {
        refused_coefficients(|coefficient| {
            ExpertSimilarityConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        let config =
            ExpertSimilarityConfig { aggregation: Aggregation::Concatenate, ..Default::default() };
        let error = config.init().unwrap_err();
        assert_eq!(error, BalanceLossError::NoTokens { loss: "expert_similarity" });
        let tape = tape(&[three()], None);
        assert!(with(0.0, Aggregation::Sum).loss(&tape).unwrap().is_none());
    }

    #[test]
    fn the_gradient_is_that_of_the_plain_formula() {
        use burn::tensor::Distribution;
        let device = Device::flex().autodiff();
        let random = |shape: [usize; 3]| {
            Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
        };
        let (a, b) = (random([5, 2, 7]), random([5, 3, 2]));
        let gradients = |loss: Tensor<1>| {
            let grads = loss.backward();
            [&a, &b].map(|x| x.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap())
        };
        let found =
            with(1.0, Aggregation::Sum).loss(&tape(&[layer(vec![a.clone(), b.clone()])], None));
        let found = gradients(found.unwrap().unwrap());
        let flat = [a.clone().reshape([5, 14]), b.clone().reshape([5, 6])];
        let flat: Tensor<2> = Tensor::cat(flat.to_vec(), 1);
        let length = flat.clone().powi_scalar(2).sum_dim(1).sqrt();
        let unit = flat / length;
        let cosines = unit.clone().matmul(unit.transpose()).powi_scalar(2);
        let plain = gradients((cosines.sum() - 5.0) / 20.0);
        for (got, want) in found.iter().flatten().zip(plain.iter().flatten()) {
            assert!((got - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }
}
