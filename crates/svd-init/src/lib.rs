//! Where the experts of a mixture of LoRA experts start.
//!
//! An [`ExpertInit`] reads a frozen weight and gives the first values of all experts of its layer
//! at once, with what else has to change for the model to start where it should: the residual
//! that replaces the frozen weight, and the scaling.
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
mod lora;
mod start;
mod statistics;

pub use any::InitConfig;
pub use lora::LoraInit;
pub use start::{BankShape, ExpertStart, InitError};
pub use statistics::{LayerStatistics, StatisticsNeeded};

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
}
