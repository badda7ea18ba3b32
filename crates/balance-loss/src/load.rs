use burn::tensor::Tensor;
use router::{RouterNoise, Routing, RoutingTape};
use serde::{Deserialize, Serialize};

use crate::error::{check_coefficient, missing};
use crate::reduction::squared_variation;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy};

/// Configuration of [`Load`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadConfig {
    /// The coefficient of the loss. Default 0.01.
    pub coefficient: f64,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-2,
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::default(),
        }
    }
}

impl LoadConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<Load, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        Ok(Load { config: self.clone() })
    }
}

/// The load loss of Shazeer et al. (arXiv 1701.06538, equations 8 to 11), for noisy top-k routers.
///
/// ```text
/// P[t, e] = Phi((z[t, e] - threshold[t, e]) / std[t, e])
/// loss    = coefficient * CV(sum_t P[t, .])^2
/// ```
///
/// `P` is the probability that a token selects an expert if the noise of this expert alone were
/// drawn again: `z` are the logits without noise, and the threshold is the `k`-th largest of the
/// other experts' logits with it. Unlike the number of tokens that selected an expert it has a
/// gradient, so that experts that nobody selects come back. The squared coefficient of variation is
/// that of [`Importance`](crate::Importance), with which the source uses it. Outside of training
/// there is no noise, and no loss.
#[derive(Debug, Clone)]
pub struct Load {
    config: LoadConfig,
}

impl BalanceLoss for Load {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 || !tape.context().is_training() {
            return Ok(None);
        }
        let mean = config.padding.token_mean(tape.context());
        config.aggregation.over(
            tape.records(),
            |record| {
                let noise = record.routing.extras.noise.as_ref();
                let noise = noise.ok_or_else(|| missing("load", "noisy_top_k", record))?;
                Ok([selection_probabilities(&record.routing, noise)])
            },
            |values| mean.of(values),
            |pooled| squared_variation(pooled.mean()) * config.coefficient,
        )
    }
}

/// `P`, `[T, E]`.
fn selection_probabilities(routing: &Routing, noise: &RouterNoise) -> Tensor<2> {
    let noisy = routing.logits.clone();
    let Some(selected) = &routing.selection else {
        return noisy.ones_like();
    };
    let selected = selected.clone().greater_elem(0.5);
    // Far beyond all logits, and not so far that a difference is no number.
    const BEYOND: f64 = 1e6;
    let kth = noisy.clone().mask_fill(selected.clone().bool_not(), BEYOND).min_dim(1);
    let next = noisy.mask_fill(selected.clone(), -BEYOND).max_dim(1);
    let shape = noise.logits.dims();
    let threshold = kth.expand(shape).mask_where(selected, next.expand(shape));
    // Beyond these Phi is 0 or 1 in f32, and its gradient 0.
    let deviation = ((noise.logits.clone() - threshold) / noise.std.clone()).clamp(-10.0, 10.0);
    (deviation * std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::refused_coefficients;
    use burn::tensor::{Device, Distribution, Tensor};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use router::{
        BatchContext, GateConfig, GateInit, NoisyTopKRouterConfig, Router, RouterShape,
        RoutingExtras, Site, StrategyConfig, select,
    };

    fn with(change: impl FnOnce(&mut LoadConfig)) -> Load {
        let mut config = LoadConfig { coefficient: 1.0, ..Default::default() };
        change(&mut config);
        config.init().unwrap()
    }

    fn routing(noisy: Tensor<2>, noise: RouterNoise, k: usize) -> Routing {
        let selected = select::top_k_mask(noisy.clone(), k);
        let extras = RoutingExtras { noise: Some(noise), ..Default::default() };
        Routing::dense(noisy.clone(), noisy.clone(), noisy)
            .with_selection(selected, Some(k))
            .with_extras(extras)
    }

    #[test]
    fn a_probability_is_that_of_the_noise_drawn_again() {
        let device = Device::flex();
        let tensor = |rows: [[f32; 3]; 1]| Tensor::<2>::from_data(rows, &device);
        let noise =
            RouterNoise { logits: tensor([[1.0, 0.0, -1.0]]), std: tensor([[1.0, 2.0, 0.5]]) };
        let routing = routing(tensor([[1.2, 0.4, -1.0]]), noise.clone(), 1);
        let found: Vec<f32> =
            selection_probabilities(&routing, &noise).into_data().try_to_vec().unwrap();
        // Phi(1 - 0.4), Phi((0 - 1.2) / 2), Phi((-1 - 1.2) / 0.5).
        for (found, expected) in found.iter().zip([0.725_746_9, 0.274_253_1, 5.412_54e-6]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn where_all_are_selected_nothing_is_to_balance() {
        let device = Device::flex();
        let logits = Tensor::<2>::random([4, 3], Distribution::Normal(0.0, 1.0), &device);
        let noise = RouterNoise { logits: logits.clone(), std: logits.ones_like() };
        let routing = routing(logits, noise, 3);
        let mut tape = RoutingTape::recording(BatchContext::new(1, 4).with_training(1));
        tape.push(Site::new(0, "mlp.up_proj"), &routing, Vec::new);
        let loss = with(|_| ()).loss(&tape).unwrap().unwrap().into_scalar::<f32>();
        assert!(loss.abs() < 1e-9, "{loss}");
    }

    #[test]
    fn its_gradient_brings_back_experts_that_nobody_selects() {
        let device = Device::flex().autodiff();
        let gate = GateConfig::default().with_init(GateInit::Normal { std: 1.0 });
        let config = NoisyTopKRouterConfig { k: 1, gate };
        let shape = RouterShape::new(6, 4);
        let router = config.init(&shape, &mut SmallRng::seed_from_u64(0), &device).unwrap();
        let context = BatchContext::new(1, 32).with_training(3);
        let x = Tensor::<2>::random([32, 6], Distribution::Normal(1.0, 0.1), &device);
        let routing = router.route(x, &context);
        let mut tape = RoutingTape::recording(context);
        tape.push(Site::new(0, "mlp.up_proj"), &routing, Vec::new);
        let loss = with(|_| ()).loss(&tape).unwrap().unwrap();
        let size: f32 = loss.clone().into_scalar();
        assert!(size > 0.5);
        let tenth = with(|config| config.coefficient = 0.1).loss(&tape).unwrap().unwrap();
        assert!((tenth.into_scalar::<f32>() - 0.1 * size).abs() < 1e-5 * size);
        let grads = loss.backward();
        let gradient = router.weight.val().grad(&grads).unwrap();
        let sizes: Vec<f32> = gradient.abs().sum_dim(1).into_data().try_to_vec().unwrap();
        assert!(sizes.iter().all(|size| size.is_finite() && *size > 0.0), "{sizes:?}");
        assert!(router.strategy.noise.weight.val().grad(&grads).is_some());
    }

    #[test]
    fn bad_coefficients_and_routers_without_noise_are_refused() {
        refused_coefficients(|coefficient| {
            LoadConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        let plain = Tensor::<2>::ones([1, 2], &Device::flex());
        let routing = Routing::dense(plain.clone(), plain.clone(), plain);
        let tape = |context| {
            let mut tape = RoutingTape::recording(context);
            tape.push(Site::new(0, "mlp.up_proj"), &routing, Vec::new);
            tape
        };
        let training = tape(BatchContext::new(1, 1).with_training(0));
        let error = with(|_| ()).loss(&training).unwrap_err();
        assert!(error.to_string().contains("noisy_top_k"), "{error}");
        assert!(with(|c| c.coefficient = 0.0).loss(&training).unwrap().is_none());
        assert!(with(|_| ()).loss(&tape(BatchContext::new(1, 1))).unwrap().is_none());
    }
}
