//! Banks of experts that adapt a frozen linear.
//!
//! An [`ExpertBank`] holds all experts of one layer, stored stacked, and computes their weighted
//! sum for a batch of tokens: LoRA experts, with one `A` or many ([`LoraBank`]), DoRA experts
//! ([`DoraBank`]) and (IA)^3 vectors ([`Ia3Bank`]). Beside them a layer can have identity experts
//! and shared experts ([`ExpertSlots`]). [`ExpertsConfig`] chooses at run time.
//!
//! ```
//! use burn::nn::LinearConfig;
//! use burn::tensor::{Device, Tensor};
//! use lora_expert::{ExpertBank, LoraBank, LoraBankConfig};
//!
//! # fn main() -> Result<(), lora_expert::ExpertError> {
//! let device = Device::flex();
//! let a = Tensor::ones([4, 2, 16], &device); // 4 experts of rank 2, 16 inputs
//! let b = Tensor::ones([4, 24, 2], &device); // 24 outputs
//! let bank = LoraBankConfig::new(2.0).init(a, b)?;
//! let x = Tensor::ones([6, 16], &device);
//! let base = LinearConfig::new(16, 24).init(&device).into(); // the frozen linear
//! assert_eq!(bank.forward(&base, x, None, None).dims(), [6, 24]);
//! # Ok(())
//! # }
//! ```

mod any;
mod base;
mod config;
mod dora;
mod dropout;
mod error;
mod execution;
mod factors;
mod ia3;
mod lora;
mod merging;
mod slots;
#[cfg(test)]
mod testing;
mod update;

pub use any::AnyBank;
pub use base::{BaseLinear, QuantizedLinear};
pub use config::{BankOptions, ExpertsConfig};
pub use dora::{DoraBank, DoraBankConfig};
pub use dropout::DropoutMask;
pub use error::ExpertError;
pub use execution::Execution;
pub use factors::{Factors, PassFactors, stack_ranks};
pub use ia3::{Ia3Bank, Ia3BankConfig};
pub use lora::{LoraBank, LoraBankConfig};
pub use merging::{DynamicMergingConfig, MergingMask};
pub use slots::{ExpertSlots, IdentityMode};
pub use update::LinearUpdate;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use router::Routing;

/// All experts of one layer, over the frozen linear that they adapt.
///
/// Implement it in any crate to bring an expert of your own.
pub trait ExpertBank: Module + ModuleDisplay + Sync + 'static {
    /// The number of experts that a router chooses from, `E`.
    fn num_experts(&self) -> usize;

    /// The number of experts that no router chooses: they always have weight 1. Default 0.
    fn shared_experts(&self) -> usize {
        0
    }

    /// The output of `base` with the experts' weighted sum added,
    /// `base(x[t]) + sum_e weights[t, e] * f_e(x[t])`.
    ///
    /// Without a routing every weight is 1. What is random in training, such as dropout, is active
    /// only with a seed, from which it follows.
    ///
    /// # Shapes
    ///
    /// - `x`: `[tokens, in_features]`, of the tokens that `routing` is about
    /// - result: `[tokens, out_features]`
    fn forward(
        &self,
        base: &BaseLinear,
        x: Tensor<2>,
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2>;

    /// The factors of a pass, of experts for which [`forward`](Self::forward) begins with a product of the
    /// activations, so that what reads the same can be multiplied together. Default: `None`, for experts that
    /// begin with something else.
    fn begins_with(&self, training_seed: Option<u64>) -> Option<PassFactors> {
        let _ = training_seed;
        None
    }

    /// What [`forward`](Self::forward) returns, from a base output that was computed before, that product,
    /// `[tokens, n]`, and the `b` of the same [`PassFactors`].
    fn forward_from(
        &self,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        begun: (Tensor<2>, Tensor<3>),
        routing: Option<&Routing>,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let _ = begun;
        match routing {
            Some(routing) => self.forward_onto(base, base_output, x, routing, training_seed),
            None => self.forward(base, x, None, training_seed),
        }
    }

    /// The output of `base` with the one expert `expert` added in full, `base(x[t]) + f_e(x[t])`,
    /// for blocks whose experts do not share their inputs. The shared experts have the indices from
    /// [`num_experts`](Self::num_experts) on.
    ///
    /// # Shapes
    ///
    /// - `base_output`: `[tokens, out_features]`, what `base` gives for `x`
    /// - `x`: `[tokens, in_features]`
    /// - result: `[tokens, out_features]`
    fn expert_forward(
        &self,
        expert: usize,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        training_seed: Option<u64>,
    ) -> Tensor<2>;

    /// What [`forward`](Self::forward) returns, from a base output that was computed before, for
    /// blocks that use it more than once.
    ///
    /// Provided as the sum over [`expert_forward`](Self::expert_forward). Override it where the
    /// experts can be computed together; values and gradients must stay those of the sum, up to
    /// rounding.
    ///
    /// # Shapes
    ///
    /// - `base_output`: `[tokens, out_features]`, what `base` gives for `x`
    /// - `x`: `[tokens, in_features]`, of the tokens that `routing` is about
    /// - result: `[tokens, out_features]`
    fn forward_onto(
        &self,
        base: &BaseLinear,
        base_output: Tensor<2>,
        x: Tensor<2>,
        routing: &Routing,
        training_seed: Option<u64>,
    ) -> Tensor<2> {
        let mut sum = base_output.clone();
        for expert in 0..self.num_experts() + self.shared_experts() {
            let own = base_output.clone();
            let update = self.expert_forward(expert, base, own, x.clone(), training_seed)
                - base_output.clone();
            let weight = (expert < self.num_experts())
                .then(|| routing.weights.clone().narrow(1, expert, 1).cast(x.dtype()));
            sum = sum
                + match weight {
                    Some(weight) => update * weight,
                    None => update,
                };
        }
        sum
    }

    /// The stacked parameters of the experts, each with the experts as its first axis, for
    /// penalties on them.
    fn parameters(&self) -> Vec<Tensor<3>>;

    /// What makes of the frozen linear the one that is equal to [`forward`](Self::forward) outside
    /// of training, where every token has the same `weights`, `[E]`, or all 1 where absent. `None`
    /// for experts that are no linear maps, which is the default.
    fn update(&self, base: &BaseLinear, weights: Option<Tensor<1>>) -> Option<LinearUpdate> {
        let _ = (base, weights);
        None
    }
}
