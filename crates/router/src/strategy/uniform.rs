use burn::module::Module;
use burn::tensor::{DType, Tensor};

use crate::error::at_least_one;
use crate::{BatchContext, Router, RouterError, Routing};

/// Weight `1/E` for every expert and token: a baseline without parameters, which tells what
/// routing is worth.
#[derive(Module, Debug)]
pub struct UniformRouter {
    /// The number of experts, `E`.
    pub num_experts: usize,
}

impl UniformRouter {
    /// A router for `num_experts` experts.
    ///
    /// # Errors
    ///
    /// [`RouterError`] when there are none.
    pub fn new(num_experts: usize) -> Result<Self, RouterError> {
        at_least_one("num_experts", num_experts)?;
        Ok(Self { num_experts })
    }
}

impl Router for UniformRouter {
    fn num_experts(&self) -> usize {
        self.num_experts
    }

    fn route(&self, x: Tensor<2>, _context: &BatchContext) -> Routing {
        let options = (&x.device(), DType::F32);
        let shape = [x.dims()[0], self.num_experts];
        let weights = Tensor::full(shape, 1.0 / self.num_experts as f64, options);
        Routing::dense(Tensor::zeros(shape, options), weights.clone(), weights)
    }
}
