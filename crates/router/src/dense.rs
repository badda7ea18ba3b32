use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::{BatchContext, Router, RouterError, Routing};

/// Configuration of a [`DenseRouter`].
#[derive(Debug, Clone, PartialEq)]
pub struct DenseRouterConfig {
    /// The size of a token's activation, `I`.
    pub hidden_size: usize,
    /// The number of experts, `E`.
    pub num_experts: usize,
    /// Divides the logits before the softmax: above 1 spreads, below 1 sharpens. Default 1.
    pub temperature: f64,
}

impl DenseRouterConfig {
    /// A router with temperature 1.
    pub fn new(hidden_size: usize, num_experts: usize) -> Self {
        Self { hidden_size, num_experts, temperature: 1.0 }
    }

    /// Sets the temperature of the softmax.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Initialises the router with weights from the uniform distribution
    /// `U(-1/sqrt(I), 1/sqrt(I))` (PyTorch's kaiming-uniform with `a = sqrt(5)`), as LoRAMoE does.
    /// The numbers come from `rng`, so they are the same on every device.
    ///
    /// # Errors
    ///
    /// [`RouterError`] when a size is 0 or the temperature is not a finite number above 0.
    pub fn init<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        device: &Device,
    ) -> Result<DenseRouter, RouterError> {
        if self.hidden_size == 0 {
            return Err(RouterError::Zero { field: "hidden_size" });
        }
        if self.num_experts == 0 {
            return Err(RouterError::Zero { field: "num_experts" });
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(RouterError::Temperature { value: self.temperature });
        }
        let bound = 1.0 / (self.hidden_size as f32).sqrt();
        let values: Vec<f32> = (0..self.num_experts * self.hidden_size)
            .map(|_| rng.random_range(-bound..bound))
            .collect();
        let shape = [self.num_experts, self.hidden_size];
        let weight = Param::from_data(TensorData::new(values, shape), device);
        Ok(DenseRouter { weight, temperature: self.temperature })
    }
}

/// Softmax over all experts: every expert sees every token.
///
/// `p = softmax(G x / temperature)`, the weights are `p`. Source: LoRAMoE, arXiv 2312.09979,
/// equation 3. Computed in f32.
#[derive(Module, Debug)]
pub struct DenseRouter {
    /// `G`, `[num_experts, hidden_size]`.
    pub weight: Param<Tensor<2>>,
    /// Divides the logits.
    pub temperature: f64,
}

impl Router for DenseRouter {
    fn num_experts(&self) -> usize {
        self.weight.dims()[0]
    }

    fn route(&self, x: Tensor<2>, _context: &BatchContext) -> Routing {
        let weight = self.weight.val();
        let mut logits = x.cast(DType::F32).matmul(weight.cast(DType::F32).transpose());
        if self.temperature != 1.0 {
            logits = logits / self.temperature;
        }
        let probabilities = softmax(logits.clone(), 1);
        Routing::dense(logits, probabilities.clone(), probabilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn init(config: DenseRouterConfig) -> Result<DenseRouter, RouterError> {
        config.init(&mut SmallRng::seed_from_u64(0), &Device::flex())
    }

    fn routed(temperature: f64) -> Vec<f32> {
        let device = Device::flex();
        let mut router = init(DenseRouterConfig::new(2, 3).with_temperature(temperature)).unwrap();
        router.weight = Param::from_data([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], &device);
        let x = Tensor::from_data([[0.5, -1.0]], &device);
        let weights = router.route(x, &BatchContext::new(1, 1)).weights;
        weights.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn weights_are_the_softmax_of_the_logits() {
        for temperature in [1.0, 2.5] {
            let exp: Vec<f64> =
                [0.5, -1.0, -0.5].iter().map(|l| f64::exp(l / temperature)).collect();
            let sum: f64 = exp.iter().sum();
            for (got, want) in routed(temperature).iter().zip(exp) {
                assert!((f64::from(*got) - want / sum).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn rows_sum_to_one_even_for_extreme_logits() {
        let device = Device::flex();
        let router = init(DenseRouterConfig::new(8, 5)).unwrap();
        let x = Tensor::random([7, 8], Distribution::Normal(0.0, 1e4), &device);
        let routing = router.route(x, &BatchContext::new(1, 7));
        let sums = routing.weights.sum_dim(1).into_data().try_to_vec::<f32>().unwrap();
        assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-5), "{sums:?}");
    }

    #[test]
    fn zero_sizes_are_refused() {
        let error = init(DenseRouterConfig::new(4, 0)).unwrap_err();
        assert_eq!(error, RouterError::Zero { field: "num_experts" });
        let error = init(DenseRouterConfig::new(0, 4)).unwrap_err();
        assert_eq!(error, RouterError::Zero { field: "hidden_size" });
    }

    #[test]
    fn temperatures_that_are_not_positive_numbers_are_refused() {
        for value in [0.0, -1.0, f64::INFINITY] {
            let config = DenseRouterConfig::new(4, 2).with_temperature(value);
            let error = init(config).unwrap_err();
            assert_eq!(error, RouterError::Temperature { value });
        }
    }
}
