//! Frozen linears with mixtures of LoRA experts: what `router`, `balance-loss`, `svd-init` and
//! `lora-expert` make together.
//!
//! An [`AdaptedLinear`] computes `W x + experts(x, router(x))`. Models are generic over their
//! [`Projection`], and [`attach`] puts adapters on the projections that an [`AdapterConfig`]
//! targets. Published methods are [`Preset`]s: plain configuration values that can be printed,
//! edited and saved. [`save_adapter`] and [`load_adapter`] keep an adapter in a folder as
//! `adapter_config.json` and `adapter_model.safetensors`. The layouts of other projects are read by
//! `adapter-formats`, and what is done with trained adapters is in `adapter-arithmetic`.
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
mod adapt;
mod adapter;
mod adapter_files;
mod attach;
mod build;
mod check;
mod checkpoint;
mod config;
mod error;
mod feed_forward;
mod fit;
mod ids;
mod layers;
mod linear;
mod names;
mod parameters;
mod pattern;
mod plan;
mod preset;
mod projection;
mod rows;
mod scaling;
mod scope;
mod select;
mod shared_starts;
mod size;
mod sizes;
mod start;
mod state;
mod stored;
mod target;
mod together;
mod tokens;
mod trainable;
mod values;
mod weights_file;

pub use activation::Activation;
pub use adapt::adapt;
pub use adapter::MoeAdapter;
pub use adapter_files::AdapterFiles;
pub use attach::{AttachOptions, attach, attach_saved, attach_with, detach};
pub use build::BuiltAdapter;
pub use checkpoint::{ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, load_adapter, save_adapter};
pub use config::AdapterConfig;
pub use error::AdapterError;
pub use feed_forward::{FeedForwardPaths, GatedFeedForward};
pub use fit::check_fit;
pub use ids::lora_b_ids;
pub use layers::AdapterLayers;
pub use linear::AdaptedLinear;
pub use lora_expert::{BaseLinear, QuantizedLinear};
pub use names::parameter_names;
pub use parameters::{stack_parameters, unstack_parameters};
pub use pattern::SizePatterns;
pub use preset::Preset;
pub use projection::{Adaptable, AdaptedProjection, BlockVisitor, BlockVisitorMut, Projection};
pub use rows::{RowAdapters, RowGroup};
pub use scaling::ScalingRule;
pub use scope::{BiasTraining, RouterScope};
pub use size::AdapterSize;
pub use sizes::LayerSizes;
pub use start::StartFactors;
pub use state::{
    AdapterState, adapter_state, is_model_router, is_start, load_adapter_state, module_state,
};
pub use stored::StoredAdapter;
pub use target::{LayersToTransform, TargetModules};
pub use tensor_files::{FolderLock, LockError, sync_folder, write_atomically};
pub use tokens::{TOKEN_ROWS, TokenIndices, TokenModule, TokenRows, merge_tokens};
pub use trainable::{load_named_state, named_state, trainable_names, trainable_parameters};
pub use values::{to_data, to_stored};
pub use weights_file::WeightsFile;
