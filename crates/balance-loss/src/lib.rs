//! Losses that keep the experts of a mixture in balance.
//!
//! A [`BalanceLoss`] reads the routings that a forward pass left on its tape and gives one scalar
//! to add to the task's loss. How it treats padding, how it aggregates over layers and its
//! coefficient are part of its configuration, because published implementations differ in exactly
//! these.

mod any;
mod entropy;
mod error;
mod importance;
mod l1;
mod load;
mod load_balancing;
mod localized;
mod reduction;
mod scores;
mod similarity;
mod sparsity;
mod sum;
#[cfg(test)]
mod testing;
mod z_loss;

pub use any::BalanceLossConfig;
pub use entropy::{Entropy, EntropyConfig, EntropyObjective, normalised_entropy};
pub use error::BalanceLossError;
pub use importance::{Importance, ImportanceConfig};
pub use l1::{L1, L1Config};
pub use load::{Load, LoadConfig};
pub use load_balancing::{FSumsTo, LoadBalancing, LoadBalancingConfig};
pub use localized::{LocalizedBalancing, LocalizedBalancingConfig, Reading, VariationForm};
pub use reduction::{Aggregation, PaddingPolicy};
pub use scores::Scores;
pub use similarity::{ExpertSimilarity, ExpertSimilarityConfig};
pub use sparsity::{Sparsity, SparsityConfig};
pub use sum::{Sum, SumConfig};
pub use z_loss::{ZLoss, ZLossConfig};

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
