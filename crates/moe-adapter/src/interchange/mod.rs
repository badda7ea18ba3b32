//! Adapter folders in the layouts of other projects.
//!
//! Each layout has a file with `decode`, from the keys and tensors of a folder to a
//! [`StoredAdapter`], and `encode`, back. What a layout cannot say is found by decoding what was
//! encoded: any difference is an error that names it.

mod adamole;
mod common;
mod detect;
mod expressible;
mod format;
mod goat;
mod keys;
mod layout;
mod loramoe;
mod moe_peft;
mod mola;
mod native;
mod overlay;
mod peft;
mod raw;
mod stored;
mod values;

pub use format::AdapterFormat;
pub use stored::{Source, StoredAdapter, WeightsFile, WriteOptions};
pub(crate) use values::{to_data, to_stored};
