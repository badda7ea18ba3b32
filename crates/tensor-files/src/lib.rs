//! Files of named tensors: safetensors, and the files of `torch.save`, both read and written
//! without Python.
//!
//! [`TensorTable`] holds all of a small file, as adapters are. For large models
//! [`pytorch_index`] says where in the bytes of a file its tensors are, so that a mapped file is
//! read tensor by tensor.

mod atomic;
mod error;
mod nearest;
mod pytorch;
mod table;

pub use atomic::write_atomically;
pub use error::TensorFileError;
pub use nearest::nearest;
pub use pytorch::{TensorLocation, pytorch_index};
pub use table::{StoredTensor, TensorTable};
