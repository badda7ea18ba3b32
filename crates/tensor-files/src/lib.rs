//! Files of named tensors: safetensors, and the files of `torch.save`, both read and written
//! without Python.
//!
//! [`TensorTable`] holds all of a small file, as adapters are. For large models
//! [`pytorch_index`] says where in the bytes of a file its tensors are, so that a mapped file is
//! read tensor by tensor.
//!
//! # Files from strangers
//!
//! A file of `torch.save` is a zip archive with a program in it, and adapters come from anywhere.
//! `tests/hostile_files` makes 21 files that nobody means well: programs that name `os.system`,
//! sizes beyond the file, beyond 4 GiB and below zero, compressed entries, entries that share a name
//! or bytes, storages outside of the folder, nesting a million deep, one storage under 100,000
//! names. This crate refuses all of them, none with a panic, which is why the code here is its own.
//! Measured on the same files, with 6 GB of memory:
//!
//! - `pytorch-reader` 0.22.1, which burn-store's `pytorch` feature reads with, never ran anything
//!   either. It accepted 4 of the 21: what it does not know it passes over (a global that is a
//!   command, an instance, a pickle in a pickle), so that a file is read without the tensors that it
//!   was meant to have; and of two entries of one name it took one. Reading the 100,000 names ran out
//!   of memory, as each tensor is a copy. It inflates compressed entries, which
//!   `torch.save` never writes. It checks checksums, which is not done here: this guards against
//!   accidents only, and costs a pass over each file.
//! - `zip` 9.8.2 is a reader of archives alone, so the program would stay to be read here. It
//!   accepted both entries of one name, and entries whose size in the directory is beyond the file;
//!   of compressed ones the reader has to bound the size.
//!
//! The comparison changed this crate: entries of one name, entries that share bytes, tensors of more
//! than 8 dimensions and tables of more than 16 times the size of their file are refused now.

mod atomic;
mod error;
mod lock;
mod nearest;
mod pytorch;
mod table;

pub use atomic::{fill_atomically, sync_folder, write_atomically};
pub use error::TensorFileError;
pub use lock::{FolderLock, LockError};
pub use nearest::nearest;
pub use pytorch::{TensorLocation, pytorch_index};
pub use table::{StoredTensor, TensorTable};
