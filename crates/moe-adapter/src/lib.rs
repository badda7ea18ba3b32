//! Frozen linears with mixtures of LoRA experts: what `router`, `balance-loss`, `svd-init` and
//! `lora-expert` make together.
//!
//! An [`AdaptedLinear`] computes `W x + experts(x, router(x))`. Models are generic over their
//! [`Projection`], and [`attach`] puts adapters on the projections that an [`AdapterConfig`]
//! targets. Published methods are [`Preset`]s: plain configuration values that can be printed,
//! edited and saved. [`save_adapter`] and [`load_adapter`] keep an adapter in a folder as
//! `adapter_config.json` and `adapter_model.safetensors`.
//!
//! ```
//! use moe_adapter::{AdapterConfig, Preset};
//!
//! let mut config = Preset::LoramoePaper.config();
//! config.num_experts = 8;
//! assert!(config.check().is_ok());
//! assert_eq!(config.scaling(), 8.0); // lora_alpha / r = 32 / 4
//! ```

mod activation;
mod adapter;
mod attach;
mod checkpoint;
mod config;
mod error;
mod feed_forward;
mod file;
mod linear;
mod preset;
mod projection;
mod state;
mod target;

pub use activation::Activation;
pub use adapter::MoeAdapter;
pub use attach::{adapt, attach, detach};
pub use checkpoint::{ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, load_adapter, save_adapter};
pub use config::AdapterConfig;
pub use error::AdapterError;
pub use feed_forward::{FeedForwardPaths, GatedFeedForward};
pub use file::write_atomically;
pub use linear::AdaptedLinear;
pub use preset::Preset;
pub use projection::{Adaptable, AdaptedProjection, Projection};
pub use state::{AdapterState, adapter_state, load_adapter_state};
pub use target::{LayersToTransform, TargetModules};
