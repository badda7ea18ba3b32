//! Losses that keep the experts of a mixture in balance.
//!
//! A [`BalanceLoss`] reads the routings that a forward pass left on its tape and gives one scalar
//! to add to the task's loss. How it treats padding, how it aggregates over layers and its
//! coefficient are part of its configuration, because published implementations differ in exactly
//! these.

mod any;
mod error;
mod localized;
mod reduction;

pub use any::BalanceLossConfig;
pub use error::BalanceLossError;
pub use localized::{LocalizedBalancing, LocalizedBalancingConfig, VariationForm};
pub use reduction::{Aggregation, PaddingPolicy};

use burn::tensor::Tensor;
use router::RoutingTape;

/// A penalty on how a model's routers used their experts in one forward pass.
///
/// Implement it in any crate to bring a loss of your own.
pub trait BalanceLoss: Send + Sync {
    /// The loss, coefficient included, as a tensor of one element.
    ///
    /// `None` when the tape holds no routing (a model without routers).
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] when the tape lacks what the loss needs, such as the samples' task
    /// types.
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError>;
}
