mod any;
mod decoder;
mod error;
mod family;
mod reader;
mod rope;

pub use any::AnyModelConfig;
pub use decoder::DecoderConfig;
pub use error::ConfigError;
pub use family::{Family, FamilyTraits, Windows};
pub use rope::{RopeConfig, RopeScaling};
