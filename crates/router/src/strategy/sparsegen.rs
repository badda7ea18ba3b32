use burn::module::Module;
use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::affine::Affine;
use crate::error::{at_least_one, number};
use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing, RoutingExtras,
    Strategy, StrategyConfig, select,
};

/// Where the sparsity of a [`Sparsegen`] router comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Lambda {
    /// The same for all tokens: 0 is sparsemax; towards 1 fewer experts, towards minus infinity
    /// all of them.
    Fixed {
        /// The sparsity, below 1.
        value: f64,
    },
    /// A small network of what the gate reads, `0.99 + log_sigmoid(W2 relu(W1 x + b1) + b2)`, which
    /// is always below 1.
    Network {
        /// The number of hidden units. The published code has 64.
        hidden_size: usize,
    },
}

impl Default for Lambda {
    fn default() -> Self {
        Self::Fixed { value: 0.0 }
    }
}

/// Configuration of a [`Sparsegen`] router.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SparsegenRouterConfig {
    /// The sparsity. Default: fixed at 0, which is sparsemax.
    pub lambda: Lambda,
    /// The gate.
    pub gate: GateConfig,
}

impl StrategyConfig for SparsegenRouterConfig {
    type Strategy = Sparsegen;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, _shape: &RouterShape) -> Result<(), RouterError> {
        match self.lambda {
            Lambda::Fixed { value } => {
                number("lambda.fixed.value", value, |lambda| lambda < 1.0, "below 1")
            }
            Lambda::Network { hidden_size } => {
                at_least_one("lambda.network.hidden_size", hidden_size)
            }
        }
    }

    fn init_strategy<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Sparsegen {
        let features = self.gate.num_features(shape);
        match self.lambda {
            Lambda::Fixed { value } => Sparsegen { lambda: value, network: None },
            Lambda::Network { hidden_size } => {
                let network = LambdaNetwork::init(features, hidden_size, rng, device);
                Sparsegen { lambda: 0.0, network: Some(network) }
            }
        }
    }
}

/// The sparse projection of the logits onto the simplex, in place of softmax and selection.
///
/// See [`select::sparsegen`] for the formula. Source: LD-MoLE, arXiv 2509.25684, proposition 1. The
/// probabilities of the routing are its weights, and `lambda` is in its extras, for the source's
/// sparsity loss.
#[derive(Module, Debug)]
pub struct Sparsegen {
    /// The sparsity where there is no network.
    pub lambda: f64,
    /// What computes the sparsity of each token.
    pub network: Option<LambdaNetwork>,
}

/// See [`Sparsegen`].
pub type SparsegenRouter = GatedRouter<Sparsegen>;

/// Computes the sparsity of a token: `0.99 + log_sigmoid(W2 relu(W1 x + b1) + b2)`.
///
/// As in the code published with LD-MoLE, weights start kaiming-uniform and biases at -2.5. That
/// code shares one network between all layers of equal width; here each router has its own.
#[derive(Module, Debug)]
pub struct LambdaNetwork {
    /// `W1` `[hidden_size, F]` and `b1`.
    pub hidden: Affine,
    /// `W2` `[1, hidden_size]` and `b2`.
    pub output: Affine,
}

impl LambdaNetwork {
    /// How far below 1 the sparsity stays.
    const MARGIN: f64 = 1e-2;
    /// Where the biases start.
    const BIAS: f64 = -2.5;

    fn init<R: Rng + ?Sized>(
        features: usize,
        hidden_size: usize,
        rng: &mut R,
        device: &Device,
    ) -> Self {
        let mut affine = |dims| Affine::kaiming_uniform(dims, rng, device);
        let hidden = affine([features, hidden_size]).with_bias(Self::BIAS, device);
        let output = affine([hidden_size, 1]).with_bias(Self::BIAS, device);
        Self { hidden, output }
    }

    /// `[R, F]` to `[R, 1]`.
    pub fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.hidden.forward(rows));
        log_sigmoid(self.output.forward(hidden)) + (1.0 - Self::MARGIN)
    }
}

impl Strategy for Sparsegen {
    fn decide(&self, logits: Tensor<2>, read: Read, _context: &BatchContext) -> Routing {
        let lambda = match &self.network {
            Some(network) => read.spread(network.forward(read.rows.clone())),
            None => Tensor::full([logits.dims()[0], 1], self.lambda, &logits.device()),
        };
        let weights = select::sparsegen(logits.clone(), lambda.clone());
        let selected = weights.clone().without_autodiff().greater_elem(0.0);
        let extras = RoutingExtras { lambda: Some(lambda.squeeze_dim(1)), ..Default::default() };
        Routing::dense(logits, weights.clone(), weights)
            .with_selection(select::as_mask(selected), None)
            .with_extras(extras)
    }
}
