//! YAML as the harness reads it: version 1.1, with the lines and the `!function` tags kept.

mod fields;
mod load;
mod node;
mod scalar;

pub(crate) use fields::{Fields, hint};
pub(crate) use load::{parse, read};
pub use node::{Node, NodeKind, Place};
