//! Routers of mixtures of experts: for each token, which experts it uses and with what weight.
//!
//! A [`Router`] maps token activations `[tokens, hidden_size]` to a [`Routing`]: the logits and
//! probabilities over the experts before selection, and the combine weights after it. It knows
//! nothing of what an expert computes. Everything that a consumer may need (experts, balance
//! losses, analytics) is in the `Routing`, computed once.
//!
//! Most routers are a [`GatedRouter`]: a gate, which all share and which [`GateConfig`] describes,
//! and a [`Strategy`], which makes a routing of its logits with the functions of [`select`]. A
//! strategy of your own gets the gate and its options for nothing.
//!
//! An [`XLoraClassifier`] is no router of a layer: it decides for a whole model at once, from the
//! hidden states of a first pass, and the tape of the second pass carries what was [`Decided`].
//!
//! A [`RoutingTape`] travels through a model's forward pass: what routers need to know of the
//! batch goes in ([`BatchContext`]), the routings of all layers come out.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use rand::{SeedableRng, rngs::SmallRng};
//! use router::{BatchContext, DenseRouterConfig, Router};
//!
//! # fn main() -> Result<(), router::RouterError> {
//! let device = Device::flex();
//! let router = DenseRouterConfig::new(16, 4).init(&mut SmallRng::seed_from_u64(0), &device)?;
//! let x = Tensor::random([6, 16], Distribution::Normal(0.0, 1.0), &device);
//! let routing = router.route(x, &BatchContext::new(2, 3));
//! assert_eq!(routing.weights.dims(), [6, 4]);
//! # Ok(())
//! # }
//! ```

mod affine;
mod any;
mod buffer;
mod capacity;
mod clusters;
mod context;
mod decided;
mod error;
mod few;
mod gate;
mod gated;
mod hash;
mod host_rows;
mod padding;
mod random;
mod reach;
mod routing;
pub mod select;
mod shape;
mod strategy;
mod tape;
mod tape_gradients;
#[cfg(test)]
mod tests;
mod top_k_by_layer;
mod x_lora;

pub use affine::Affine;
pub use any::{AnyRouter, RouterConfig};
pub use buffer::Buffer;
pub use clusters::{ClusterInit, Clusters};
pub use context::BatchContext;
pub use decided::{Decided, DecidedGradients};
pub use error::RouterError;
pub use gate::{GateConfig, GateInit, Read, Scope};
pub use gated::{GatedRouter, Strategy, StrategyConfig};
pub use hash::stable_hash;
pub use reach::Reach;
pub use routing::{RouterNoise, Routing, RoutingExtras};
pub use shape::RouterShape;
pub use strategy::*;
pub use tape::{RoutingRecord, RoutingTape, Site};
pub use tape_gradients::TapeGradients;
pub use x_lora::{XLoraClassifier, XLoraConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

/// Decides, for each token, which experts it uses and how much.
///
/// A router is a Burn module, so its parameters train, save and load with the layer that owns it.
/// Implement it in any crate to bring a strategy of your own; nothing here has to change.
pub trait Router: Module + ModuleDisplay + Sync + 'static {
    /// The number of experts that the router chooses from.
    fn num_experts(&self) -> usize;

    /// What the routing of a token depends on, outside of training. Default: on the token alone.
    fn reach(&self) -> Reach {
        Reach::Token
    }

    /// Routes every token of a batch.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch_size * seq_len, hidden_size]`, the tokens of `context` in row-major order
    /// - the tensors of the result: `[batch_size * seq_len, num_experts]`, in f32 whatever the
    ///   dtype of `x`
    fn route(&self, x: Tensor<2>, context: &BatchContext) -> Routing;

    /// The matrix `G`, `[n, hidden_size]` in f32, of the product `x G^T` that routing begins with, so that what
    /// reads the same activations can be multiplied together. Default: `None`, for routers that begin with
    /// something else.
    fn begins_with(&self, context: &BatchContext) -> Option<Tensor<2>> {
        let _ = context;
        None
    }

    /// What [`route`](Self::route) returns, given that product, `[batch_size * seq_len, n]`, of a router that
    /// [begins with](Self::begins_with) one.
    fn route_from(&self, x: Tensor<2>, product: Tensor<2>, context: &BatchContext) -> Routing {
        let _ = product;
        self.route(x, context)
    }
}
