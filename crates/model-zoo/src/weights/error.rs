use std::path::{Path, PathBuf};

use burn::tensor::DType;
use quantization::Quantization;
use thiserror::Error;

/// Weights that cannot be read or written, or do not fit the model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The folder holds no weights in a known form.
    #[error(
        "{}: has no weights; looked for `model.safetensors`, `pytorch_model.bin`, and the \
         `.index.json` of each",
        folder.display()
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The index of a sharded model makes no sense.
    #[error("{}: {message}", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The index names a file that is not there.
    #[error("{}: names the shard `{shard}`, which is not in the folder", index.display())]
    ShardMissing {
        /// The index file.
        index: PathBuf,
        /// The file it names.
        shard: String,
    },
    /// The file ends before its tensors do.
    #[error(
        "{}: the file is truncated ({length} bytes{}); download it again",
        path.display(),
        cut(expected, tensor)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The length that its header says.
        expected: Option<usize>,
        /// The first tensor that is not whole.
        tensor: Option<String>,
    },
    /// What stands for the file in a repository.
    #[error("{}: a pointer of git-lfs, not the weights; run `git lfs pull` there", path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
    },
    /// The file is not in the safetensors format.
    #[error("{}: not a safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// The file is not a dictionary of tensors as PyTorch saves it, or holds more than that.
    #[error("{}: cannot be read as PyTorch weights: {message}", path.display())]
    PyTorch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or not allowed.
        message: String,
    },
    /// The model needs a tensor that the files do not have.
    #[error("{}: no tensor `{name}`{}", folder.display(), hint(nearest))]
    MissingTensor {
        /// The folder of the model.
        folder: PathBuf,
        /// The tensor.
        name: String,
        /// Names in the files that look alike.
        nearest: Vec<String>,
    },
    /// A tensor does not have the shape that the configuration asks for.
    #[error("{}: tensor `{name}` has shape {found:?}, but {expected:?} is expected", folder.display())]
    Shape {
        /// The folder of the model.
        folder: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is stored in a type that is not implemented.
    #[error("{}: tensor `{name}` is stored as {dtype}; supported: F32, F16, BF16", folder.display())]
    Dtype {
        /// The folder of the model.
        folder: PathBuf,
        /// The tensor.
        name: String,
        /// Its type, as safetensors names it.
        dtype: String,
    },
    /// A linear that is stored quantised cannot be read.
    #[error("{}: `{name}` {message}", folder.display())]
    Quantized {
        /// The folder of the model.
        folder: PathBuf,
        /// The linear, tensor or key.
        name: String,
        /// What is wrong with it, or not supported.
        message: String,
    },
    /// A tensor holds infinities or no numbers, perhaps because its type holds no larger ones.
    #[error("{}: tensor `{name}` holds values that are not finite in {dtype:?}", folder.display())]
    NotFinite {
        /// The folder of the model.
        folder: PathBuf,
        /// The tensor.
        name: String,
        /// The type that it was read into.
        dtype: DType,
    },
    /// The device cannot compute with an element type.
    #[error("tensor `{name}`: this device does not compute in {dtype:?}; load it as float32")]
    DeviceDtype {
        /// The tensor.
        name: String,
        /// The element type in memory.
        dtype: DType,
    },
    /// The files hold tensors that the model has no place for.
    #[error("{}: tensors that the model has no place for: {}", folder.display(), unused(names))]
    UnusedTensors {
        /// The folder of the model.
        folder: PathBuf,
        /// Each such tensor, with the names that the model asked for and that look most alike.
        names: Vec<(String, Vec<String>)>,
    },
    /// The safetensors file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
}

fn cut(expected: &Option<usize>, tensor: &Option<String>) -> String {
    match (expected, tensor) {
        (Some(expected), Some(tensor)) => {
            format!(", but {expected} are expected; tensor `{tensor}` is not whole")
        }
        _ => String::new(),
    }
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; the nearest names are `{}`", nearest.join("`, `"))
    }
}

fn unused(names: &[(String, Vec<String>)]) -> String {
    const SHOWN: usize = 8;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|(name, nearest)| match nearest.first() {
            Some(near) => format!("`{name}` (nearest: `{near}`)"),
            None => format!("`{name}`"),
        })
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

impl WeightError {
    /// The linears of a folder are stored quantised, and `quantization` is asked for.
    pub(crate) fn quantized_already(folder: &Path, quantization: Quantization) -> Self {
        Self::Quantized {
            folder: folder.to_owned(),
            name: "quantization_config".to_owned(),
            message: format!(
                "says that the weights are quantised already; leave out the quantization {quantization}"
            ),
        }
    }
}
