//! Mixtures of LoRA experts for frozen transformers.
//!
//! This crate is the workspace behind one dependency: every crate is a module of it, and a
//! backend is a feature.
//!
//! | module | what it decides | trait |
//! |---|---|---|
//! | [`router`] | which experts a token uses, and how much | [`Router`](router::Router) |
//! | [`balance_loss`] | what keeps experts in balance | [`BalanceLoss`](balance_loss::BalanceLoss) |
//! | [`svd_init`] | where experts start | [`ExpertInit`](svd_init::ExpertInit) |
//! | [`lora_expert`] | what experts compute | [`ExpertBank`](lora_expert::ExpertBank) |
//! | [`moe_adapter`] | how the four make one layer; presets, checkpoints | [`Projection`](moe_adapter::Projection) |
//! | [`adapter_formats`] | how other projects store adapters | |
//! | [`adapter_arithmetic`] | what becomes of trained adapters | |
//! | [`model_zoo`] | which models they adapt | [`CausalLm`](model_zoo::CausalLm) |
//! | [`data`] | what a file of records says to a model | |
//! | [`record_files`] | what a file holds | |
//! | [`eval_tasks`] | what a benchmark asks | |
//! | [`evaluation`] | how well a model does | |
//! | [`finetune`] | how it is trained | |
//! | [`ranks`] | what processes that train together share | [`Ranks`](ranks::Ranks) |
//! | [`study`] | how methods compare | |
//! | [`report`] | what results look like | |
//! | [`device`] | where it runs | |
//!
//! # Features
//!
//! `flex` (CPU, the default), `cuda`, `rocm`, `wgpu`, `vulkan` and `metal` compile a backend in;
//! [`device::parse_device`] chooses one of them at run time. `fusion` and `autotune` are passed on
//! to Burn; they have open correctness bugs on GPUs, so compare results before you rely on them.
//!
//! # Composing by hand
//!
//! A published method is a preset ([`moe_adapter::Preset`]) that [`moe_adapter::attach`] puts on a
//! model. The same parts compose without one:
//!
//! ```
//! use lora_moe::balance_loss::{BalanceLoss, LocalizedBalancingConfig};
//! use lora_moe::burn::{nn::LinearConfig, module::Module, tensor::{Distribution, Int, Tensor}};
//! use lora_moe::lora_expert::{LoraBank, LoraBankConfig};
//! use lora_moe::moe_adapter::{AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};
//! use lora_moe::router::{BatchContext, DenseRouter, DenseRouterConfig, RoutingTape, Site};
//! use lora_moe::svd_init::{BankShape, ExpertInit, LayerStatistics, LoraInit};
//! use rand::{SeedableRng, rngs::SmallRng};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (device, mut rng) = (lora_moe::device::parse_device("flex")?, SmallRng::seed_from_u64(0));
//! let linear = LinearConfig::new(16, 24).init(&device).no_grad();
//! let shape = BankShape { num_experts: 4, rank: 2, in_features: 16, out_features: 24, scaling: 2.0 };
//! let start = LoraInit.start(&linear.weight.val(), &shape, &LayerStatistics::default(), &mut rng)?;
//! let experts = LoraBankConfig::new(shape.scaling).init(start.lora_a, start.lora_b)?;
//! let router = DenseRouterConfig::new(16, 4).init(&mut rng, &device)?;
//! let mut layer = AdaptedLinear::<DenseRouter, LoraBank>::from_linear(linear);
//! layer.replace_adapter(Some(MoeAdapter::new(router, experts)));
//!
//! let x = Tensor::random([2, 5, 16], Distribution::Normal(0.0, 1.0), &device);
//! let types = Tensor::<1, Int>::from_data([1, 0], &device);
//! let mut tape = RoutingTape::recording(BatchContext::new(2, 5).with_task_types(types));
//! let y = layer.forward(x, Site::new(0, "mlp.up_proj"), &mut tape);
//! let balance = LocalizedBalancingConfig::default().init()?.loss(&tape)?;
//! assert_eq!(y.dims(), [2, 5, 24]);
//! assert!(balance.is_some());
//! # Ok(())
//! # }
//! ```

pub mod device;

pub use adapter_arithmetic;
pub use adapter_formats;
pub use balance_loss;
pub use burn;
pub use data;
pub use eval_tasks;
pub use evaluation;
pub use finetune;
pub use fused_ops;
pub use lora_expert;
pub use model_zoo;
pub use moe_adapter;
pub use ranks;
pub use record_files;
pub use report;
pub use router;
pub use study;
pub use svd_init;

/// The examples of the README and of the book are tests too.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/src/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../../../docs/src/bringing-your-own.md")]
    struct BringingYourOwn;
}
