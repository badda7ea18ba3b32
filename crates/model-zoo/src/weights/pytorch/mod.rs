//! The files of `torch.save`: an uncompressed zip archive with a pickle and the bytes of each
//! storage.
//!
//! A pickle is a program. Only the few instructions that a dictionary of tensors needs are
//! carried out, and none of them calls anything; everything else is refused by name.

mod file;
mod pickle;
mod zip;

pub(super) use file::PyTorchFile;
