//! Adapter folders in the layouts of other projects: PEFT (with X-LoRA), LoRAMoE, HydraLoRA, GOAT,
//! AdaMoLE, MoLA and MoE-PEFT.
//!
//! [`read_adapter`] finds out which [`AdapterFormat`] a folder has and reads it;
//! [`write_adapter`] writes any. Each layout has a file with `decode`, from the keys and tensors of
//! a folder ([`AdapterFiles`](moe_adapter::AdapterFiles)) to a
//! [`StoredAdapter`](moe_adapter::StoredAdapter), and `encode`, back. What a layout cannot say is
//! found by decoding what was encoded: any difference is an error that names it.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use adapter_formats::{AdapterFormat, WriteOptions, read_adapter, write_adapter};
//!
//! # fn main() -> Result<(), adapter_formats::FormatError> {
//! let adapter = read_adapter(Path::new("someone/else's/adapter"))?;
//! write_adapter(&adapter, Path::new("for/peft"), &WriteOptions::new(AdapterFormat::Peft))?;
//! # Ok(())
//! # }
//! ```

mod adamole;
mod common;
mod detect;
mod error;
mod expressible;
mod folder;
mod format;
mod goat;
mod keys;
mod layout;
mod loramoe;
mod moe_peft;
mod mola;
mod overlay;
mod peft;
mod source;
mod values;
mod x_lora;

pub use error::FormatError;
pub use folder::{WriteOptions, detect_format, read_adapter, read_adapter_as, write_adapter};
pub use format::AdapterFormat;
pub use source::Source;
