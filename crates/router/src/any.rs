use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{
    BatchContext, DenseRouter, DenseRouterConfig, Router, RouterError, RouterShape, Routing,
};

/// A routing strategy as configuration files name it, apart from the sizes of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RouterConfig {
    /// [`DenseRouter`]: softmax over all experts.
    Dense {
        /// Divides the logits before the softmax.
        #[serde(default = "one")]
        temperature: f64,
    },
}

fn one() -> f64 {
    1.0
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self::Dense { temperature: 1.0 }
    }
}

impl RouterConfig {
    /// Initialises the router of one layer with random numbers from `rng`.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn init<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Result<AnyRouter, RouterError> {
        match *self {
            Self::Dense { temperature } => {
                DenseRouterConfig::new(shape.hidden_size, shape.num_experts)
                    .with_temperature(temperature)
                    .init(rng, device)
                    .map(AnyRouter::Dense)
            }
        }
    }
}

/// Any router of this crate, for choosing at run time.
#[derive(Module, Debug)]
pub enum AnyRouter {
    /// See [`DenseRouter`].
    Dense(DenseRouter),
}

impl Router for AnyRouter {
    fn num_experts(&self) -> usize {
        match self {
            Self::Dense(router) => router.num_experts(),
        }
    }

    fn route(&self, x: Tensor<2>, context: &BatchContext) -> Routing {
        match self {
            Self::Dense(router) => router.route(x, context),
        }
    }
}
