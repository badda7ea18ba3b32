//! Frozen linears with mixtures of LoRA experts: what `router`, `balance-loss`, `svd-init` and
//! `lora-expert` make together.
//!
//! An [`AdaptedLinear`] computes `W x + experts(x, router(x))`. Models are generic over their
//! [`Projection`], and [`attach`] puts adapters on the projections that an [`AdapterConfig`]
//! targets. Published methods are [`Preset`]s: plain configuration values that can be printed,
//! edited and saved. [`save_adapter`] and [`load_adapter`] keep an adapter in a folder as
//! `adapter_config.json` and `adapter_model.safetensors`; a [`StoredAdapter`] reads and writes the
//! [`AdapterFormat`]s of other projects too.
//!
//! ```
//! use moe_adapter::{AdapterConfig, Preset};
//!
//! let mut config = Preset::LoramoePaper.config();
//! config.num_experts = 8;
//! assert!(config.check().is_ok());
//! assert_eq!(config.scaling(4, 512), 8.0); // lora_alpha / r = 32 / 4
//! ```

mod activation;
mod adapter;
mod attach;
mod build;
mod checkpoint;
mod combine;
mod config;
mod error;
mod feed_forward;
mod ids;
mod interchange;
mod linear;
mod pattern;
mod preset;
mod projection;
mod scaling;
mod scope;
mod select;
mod sizes;
mod start;
mod state;
mod target;
mod trainable;

pub use activation::Activation;
pub use adapter::MoeAdapter;
pub use attach::{AttachOptions, adapt, attach, attach_saved, attach_with, detach};
pub use build::BuiltAdapter;
pub use checkpoint::{ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, load_adapter, save_adapter};
pub use combine::{
    FixedRouting, MERGE_RECORD_FILE, MergeRecord, MixOptions, Mixed, extract_expert,
    extract_mixture, fixed_routing, from_burn_lora, mean_routing, merge_adapters, mix_adapters,
    to_burn_lora, train_router_only, unmerge_adapters,
};
pub use config::AdapterConfig;
pub use error::AdapterError;
pub use feed_forward::{FeedForwardPaths, GatedFeedForward};
pub use ids::lora_b_ids;
pub use interchange::{AdapterFormat, Source, StoredAdapter, WeightsFile, WriteOptions};
pub use linear::AdaptedLinear;
pub use preset::Preset;
pub use projection::{Adaptable, AdaptedProjection, BlockVisitor, BlockVisitorMut, Projection};
pub use scaling::ScalingRule;
pub use scope::{BiasTraining, RouterScope};
pub use sizes::LayerSizes;
pub use start::StartFactors;
pub use state::{AdapterState, adapter_state, load_adapter_state};
pub use target::{LayersToTransform, TargetModules};
pub use tensor_files::write_atomically;
pub use trainable::trainable_parameters;
