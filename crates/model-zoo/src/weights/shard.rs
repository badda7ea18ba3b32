use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{SafeTensorError, SafeTensors};

use super::WeightError;

/// One safetensors file, mapped: a tensor's bytes are read from disk when they are used.
#[derive(Debug)]
pub(super) struct Shard {
    map: Mmap,
    metadata: Metadata,
    data_start: usize,
}

impl Shard {
    pub(super) fn open(path: &Path) -> Result<Self, WeightError> {
        let io = |source| WeightError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the bytes are only read. That nobody changes the file meanwhile cannot be
        // checked, as for every mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|source| unreadable(path, map.len(), source))?;
        // The length of the header itself is stored in 8 bytes before it.
        Ok(Self { map, metadata, data_start: header + 8 })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<(&TensorInfo, &[u8])> {
        let info = self.metadata.info(name)?;
        let (start, end) = info.data_offsets;
        let bytes = self.map.get(self.data_start + start..self.data_start + end)?;
        Some((info, bytes))
    }
}

fn unreadable(path: &Path, length: usize, source: SafeTensorError) -> WeightError {
    let path: PathBuf = path.to_owned();
    match source {
        SafeTensorError::MetadataIncompleteBuffer
        | SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength => WeightError::Truncated { path, length },
        source => WeightError::Format { path, source },
    }
}
