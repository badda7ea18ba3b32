//! Where the experts of a mixture of LoRA experts start.
//!
//! An [`ExpertInit`] reads a frozen weight and gives the first values of all experts of its layer
//! at once, with what else has to change for the model to start where it should: the residual
//! that replaces the frozen weight, and the scaling.
//!
//! Starts from singular vectors decompose the weight on the host, in f32. For many layers,
//! [`decompose_all`] does so in parallel, and [`SvdCache`] keeps the result for the next run.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rand::{SeedableRng, rngs::SmallRng};
//! use svd_init::{BankShape, ExpertInit, LayerStatistics, LoraInit};
//!
//! # fn main() -> Result<(), svd_init::InitError> {
//! let weight = Tensor::zeros([24, 40], &Device::flex());
//! let shape = BankShape { num_experts: 8, rank: 4, in_features: 24, out_features: 40, scaling: 2.0 };
//! let mut rng = SmallRng::seed_from_u64(0);
//! let start = LoraInit.start(&weight, &shape, &LayerStatistics::default(), &mut rng)?;
//! assert_eq!(start.lora_a.dims(), [8, 4, 24]);
//! assert_eq!(start.lora_b.dims(), [8, 40, 4]);
//! # Ok(())
//! # }
//! ```

mod any;
mod bank;
mod cache;
mod corda;
mod digest;
mod error;
mod eva;
mod factors;
mod gaussian;
mod goat;
mod gram;
mod host;
mod lora;
mod lora_ga;
mod normal;
mod olora;
mod plan;
mod principal;
mod products;
mod scaling;
mod slice;
mod spectrum;
mod start;
mod statistics;
mod svd_method;
mod triplets;

pub use any::InitConfig;
pub use cache::SvdCache;
pub use corda::{CordaConfig, CordaMethod};
pub use digest::weight_digest;
pub use error::InitError;
pub use eva::EvaConfig;
pub use gaussian::GaussianInit;
pub use goat::GoatConfig;
pub use lora::LoraInit;
pub use lora_ga::{GradientDirection, LoraGaConfig};
pub use olora::OloraConfig;
pub use plan::TripletPlan;
pub use principal::PrincipalConfig;
pub use scaling::theoretical_scaling;
pub use slice::SpectrumSlice;
pub use spectrum::SpectrumInit;
pub use start::{BankShape, ExpertStart};
pub use statistics::{LayerStatistics, StatisticsNeeded};
pub use svd_method::{RandomisedSvd, SvdMethod};
pub use triplets::{Triplets, decompose, decompose_all};

use burn::tensor::Tensor;
use rand::Rng;

/// Decides where the experts of a layer start.
///
/// Implement it in any crate to bring an initialisation of your own.
pub trait ExpertInit {
    /// What the start needs to know of a layer beside its weight. Default: nothing.
    fn needs(&self) -> StatisticsNeeded {
        StatisticsNeeded::default()
    }

    /// The triplets that the start needs of the weight's singular value decomposition, so that
    /// they can be prepared; `None`, the default, for a start that needs nothing of it.
    ///
    /// # Errors
    ///
    /// [`InitError`] when what the start decomposes has too few directions, which its shape tells.
    fn triplets(&self, shape: &BankShape) -> Result<Option<TripletPlan>, InitError> {
        let _ = shape;
        Ok(None)
    }

    /// The start of a layer's experts.
    ///
    /// # Shapes
    ///
    /// - `weight`: `[in_features, out_features]`, the frozen weight as Burn's linear keeps it
    ///
    /// # Errors
    ///
    /// [`InitError`] when the bank does not fit the weight.
    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        statistics: &LayerStatistics,
        rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError>;

    /// A start whose residual loses something where the weight is held in few bits, fitted to what is
    /// lost. `held` is the weight `[in_features, out_features]` as it is held once the product of a
    /// start is taken out of it; `None` where it is held as it is. Default: `start` itself.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    fn refined(
        &self,
        start: ExpertStart,
        weight: &Tensor<2>,
        shape: &BankShape,
        held: &dyn Fn(&ExpertStart) -> Option<Tensor<2>>,
    ) -> Result<ExpertStart, InitError> {
        let _ = (weight, shape, held);
        Ok(start)
    }
}
