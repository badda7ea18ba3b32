use burn::tensor::Tensor;
use router::{Routing, RoutingTape, select};
use serde::{Deserialize, Serialize};

use crate::error::{check_coefficient, missing};
use crate::reduction::of_each;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy};

/// Configuration of [`Sparsity`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SparsityConfig {
    /// The coefficient of the loss. Default 0.01.
    pub coefficient: f64,
    /// How many experts a token may use at no cost, below the number of experts. Default 2.
    pub k: usize,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated; `concatenate` is the same as `mean` here. Default: mean, as in
    /// the published code.
    pub aggregation: Aggregation,
}

impl Default for SparsityConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-2,
            k: 2,
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::Mean,
        }
    }
}

impl SparsityConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<Sparsity, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        if self.k == 0 {
            return Err(BalanceLossError::NoExperts);
        }
        Ok(Sparsity { config: self.clone() })
    }
}

/// The sparsity loss of LD-MoLE (arXiv 2509.25684), for routers that project onto the simplex.
///
/// ```text
/// lower = 1 - (sum of the k largest z - k z_(k+1))        a token uses at most k experts
/// loss  = coefficient * mean_t relu(lower_t - lambda_t)      exactly where lambda >= lower
/// ```
///
/// The logits are constants to the gradient, as in the published code: the loss moves the sparsity
/// `lambda` only. Where a router has no more than `k` experts it costs nothing. Fewer than `k`
/// experts cost nothing either: it bounds, and does not balance.
#[derive(Debug, Clone)]
pub struct Sparsity {
    config: SparsityConfig,
}

impl BalanceLoss for Sparsity {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
        }
        let mean = config.padding.token_mean(tape.context());
        config.aggregation.over(
            tape.records(),
            |record| {
                let lambda = record.routing.extras.lambda.clone();
                let lambda = lambda.ok_or_else(|| missing("sparsity", "sparsegen", record))?;
                let lower = lower_bound(&record.routing, config.k);
                Ok([(lower - lambda.unsqueeze_dim(1)).clamp_min(0.0)])
            },
            |values| mean.of(values),
            |pooled| of_each(pooled.mean()) * config.coefficient,
        )
    }
}

/// The least sparsity with which a token uses at most `k` experts, `[T, 1]`.
fn lower_bound(routing: &Routing, k: usize) -> Tensor<2> {
    let logits = routing.logits.clone().without_autodiff();
    let [tokens, experts] = logits.dims();
    if k >= experts {
        // Below any sparsity.
        return Tensor::full([tokens, 1], f32::MIN, &logits.device());
    }
    let largest = select::top_k(logits.clone(), k);
    let next = logits.clone().mask_fill(largest.clone(), f32::MIN).max_dim(1);
    let above = select::keep(logits - next, largest).sum_dim(1);
    above.neg().add_scalar(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, refused_coefficients, tape, value};
    use burn::tensor::{Device, Distribution};
    use router::{BatchContext, RoutingExtras, Site};

    fn with(change: impl FnOnce(&mut SparsityConfig)) -> Sparsity {
        let mut config = SparsityConfig { coefficient: 1.0, ..Default::default() };
        change(&mut config);
        config.init().unwrap()
    }

    fn layer(lambda: &[f32]) -> Layer<3> {
        let mut layer = Layer::new(&vec![[0.5, 0.3, 0.2]; lambda.len()]);
        layer.logits = vec![[2.0, 0.5, 1.0]; lambda.len()];
        layer.lambda = Some(lambda.to_vec());
        layer
    }

    #[test]
    fn the_loss_is_the_distance_to_the_bound() {
        // k 1: 1 - (2 - 1) = 0; k 2: 1 - (3 - 2 * 0.5) = -1.
        let tape = tape(&[layer(&[-0.5, 0.5, -2.0, -1.5])], None);
        assert_close(value(&with(|c| c.k = 1), &tape), (0.5 + 0.0 + 2.0 + 1.5) / 4.0);
        assert_close(value(&with(|_| ()), &tape), (0.0 + 0.0 + 1.0 + 0.5) / 4.0);
        assert_close(value(&with(|c| c.coefficient = 0.1), &tape), 0.0375);
        assert_close(value(&with(|c| c.k = 3), &tape), 0.0);
    }

    #[test]
    fn at_the_bound_a_token_uses_k_experts_and_below_it_more() {
        let device = Device::flex();
        let logits = Tensor::<2>::random([40, 8], Distribution::Normal(0.0, 1.0), &device);
        let routing = Routing::dense(logits.clone(), logits.clone(), logits.clone());
        for k in [1, 2, 5] {
            let bound = lower_bound(&routing, k);
            let used = |lambda: Tensor<2>| -> Vec<f32> {
                let weights = select::sparsegen(logits.clone(), lambda);
                weights.greater_elem(1e-6).float().sum_dim(1).into_data().try_to_vec().unwrap()
            };
            assert!(used(bound.clone() + 1e-4).iter().all(|used| *used <= k as f32));
            assert!(used(bound - 1e-3).iter().all(|used| *used > k as f32));
        }
    }

    #[test]
    fn padding_layers_and_gradients() {
        let masked = tape(&[layer(&[-2.0, -9.0])], Some(&[true, false]));
        assert_close(value(&with(|_| ()), &masked), 1.0);
        let both = tape(&[layer(&[-2.0]), layer(&[-3.0])], None);
        assert_close(value(&with(|_| ()), &both), 1.5);
        assert_close(value(&with(|c| c.aggregation = Aggregation::Sum), &both), 3.0);

        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_data([[2.0, 0.5, 1.0]], &device).require_grad();
        let lambda = Tensor::<1>::from_data([-3.0], &device).require_grad();
        let extras = RoutingExtras { lambda: Some(lambda.clone()), ..Default::default() };
        let routing = Routing::dense(logits.clone(), logits.clone(), logits.clone());
        let mut tape = RoutingTape::recording(BatchContext::new(1, 1));
        tape.push(Site::new(0, "mlp.up_proj"), &routing.with_extras(extras), Vec::new);
        let grads = with(|_| ()).loss(&tape).unwrap().unwrap().backward();
        assert_eq!(lambda.grad(&grads).unwrap().into_scalar::<f32>(), -1.0);
        assert!(logits.grad(&grads).is_none());
    }

    #[test]
    fn bad_values_and_routers_without_a_sparsity_are_refused() {
        refused_coefficients(|coefficient| {
            SparsityConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        let error = SparsityConfig { k: 0, ..Default::default() }.init().unwrap_err();
        assert_eq!(error, BalanceLossError::NoExperts);
        let other = tape(&[Layer::new(&[[0.5, 0.5]])], None);
        let error = with(|_| ()).loss(&other).unwrap_err();
        assert!(error.to_string().contains("sparsegen"), "{error}");
        assert!(with(|c| c.coefficient = 0.0).loss(&other).unwrap().is_none());
    }
}
