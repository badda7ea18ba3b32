mod any;
mod decoder;
mod error;
mod family;
mod reader;
mod rope;
mod similar;
mod sparse;

pub use any::AnyModelConfig;
pub use decoder::DecoderConfig;
pub use error::ConfigError;
pub use family::{ExpertNames, Family, FamilyTraits, Norms, QkNorm, Windows};
pub use rope::{LongRopeScaling, RopeConfig, RopeScaling, YarnScaling};
pub use sparse::SparseConfig;
