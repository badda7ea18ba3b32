//! Banks of low-rank experts.
//!
//! An [`ExpertBank`] holds all experts of one layer, stored stacked, and computes their weighted
//! sum for a batch of tokens. [`LoraBank`] is the bank of LoRA experts.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use lora_expert::{ExpertBank, LoraBank, LoraBankConfig};
//!
//! # fn main() -> Result<(), lora_expert::ExpertError> {
//! let device = Device::flex();
//! let a = Tensor::ones([4, 2, 16], &device); // 4 experts of rank 2, 16 inputs
//! let b = Tensor::ones([4, 24, 2], &device); // 24 outputs
//! let bank = LoraBankConfig::new(2.0).init(a, b)?;
//! let x = Tensor::ones([6, 16], &device);
//! assert_eq!(bank.forward(x, None, None).dims(), [6, 24]);
//! # Ok(())
//! # }
//! ```

mod dropout;
mod error;
mod lora;

pub use dropout::DropoutMask;
pub use error::ExpertError;
pub use lora::{LoraBank, LoraBankConfig};

use burn::module::{Module, ModuleDisplay};
use burn::nn::Linear;
use burn::tensor::Tensor;
use fused_ops::linear;
use router::Routing;

/// All experts of one layer.
///
/// Implement it in any crate to bring an expert of your own.
pub trait ExpertBank: Module + ModuleDisplay {
    /// The number of experts, `E`.
    fn num_experts(&self) -> usize;

    /// The weighted sum of the experts' outputs, `sum_e weights[t, e] * f_e(x[t])`.
    ///
    /// Without a routing every weight is 1. Dropout is active only with a seed, from which its mask
    /// follows.
    ///
    /// # Shapes
    ///
    /// - `x`: `[tokens, in_features]`, of the tokens that `routing` is about
    /// - result: `[tokens, out_features]`
    fn forward(
        &self,
        x: Tensor<2>,
        routing: Option<&Routing>,
        dropout_seed: Option<u64>,
    ) -> Tensor<2>;

    /// What [`forward`](Self::forward) returns, added to the output of `base` for the same `x`.
    ///
    /// Provided as that sum. Override it where a bank can add its last product to the base output
    /// in place; values and gradients must stay those of the sum, up to rounding.
    ///
    /// # Shapes
    ///
    /// - `x`: `[tokens, in_features]`, of the tokens that `routing` is about
    /// - result: `[tokens, out_features]`
    fn forward_onto(
        &self,
        base: &Linear,
        x: Tensor<2>,
        routing: Option<&Routing>,
        dropout_seed: Option<u64>,
    ) -> Tensor<2> {
        let bias = base.bias.as_ref().map(|bias| bias.val());
        linear(x.clone(), base.weight.val(), bias) + self.forward(x, routing, dropout_seed)
    }
}
