//! The files of `torch.save`: an uncompressed zip archive with a pickle and the bytes of each
//! storage.
//!
//! A pickle is a program. Only the few instructions that a dictionary of tensors needs are
//! carried out, and none of them calls anything; everything else is refused by name.

mod archive;
mod index;
mod pickle;
mod write;
mod zip;

pub use index::{TensorLocation, pytorch_index};
pub(crate) use write::pytorch_bytes;
