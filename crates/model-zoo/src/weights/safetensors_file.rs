use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::Metadata;
use safetensors::{SafeTensorError, SafeTensors};
use serde::Deserialize;

use super::WeightError;
use super::mapped::MappedFile;
use super::stored_tensor::StoredTensor;

/// The length of the header stands before it.
const PREFIX: usize = 8;

/// One safetensors file.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    file: MappedFile,
    metadata: Metadata,
    data_start: usize,
}

impl SafetensorsFile {
    pub(super) fn open(path: &Path) -> Result<Self, WeightError> {
        let file = MappedFile::open(path)?;
        let (header, metadata) = SafeTensors::read_metadata(file.bytes())
            .map_err(|source| unreadable(path, file.bytes(), source))?;
        Ok(Self { file, metadata, data_start: header + PREFIX })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        let info = self.metadata.info(name)?;
        let bytes = self.file.bytes().get(self.range(name)?)?;
        Some(StoredTensor { dtype: info.dtype, shape: &info.shape, bytes })
    }

    pub(super) fn release(&self, name: &str) {
        if let Some(range) = self.range(name) {
            self.file.release(range);
        }
    }

    fn range(&self, name: &str) -> Option<Range<usize>> {
        let (start, end) = self.metadata.info(name)?.data_offsets;
        Some(self.data_start + start..self.data_start + end)
    }
}

fn unreadable(path: &Path, bytes: &[u8], source: SafeTensorError) -> WeightError {
    let path = path.to_owned();
    if bytes.starts_with(b"version https://git-lfs") {
        return WeightError::Pointer { path };
    }
    match source {
        SafeTensorError::MetadataIncompleteBuffer
        | SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength => {
            let (expected, tensor) = missing(bytes).unzip();
            WeightError::Truncated { path, length: bytes.len(), expected, tensor }
        }
        source => WeightError::Format { path, source },
    }
}

/// How long the file should be, and the first tensor whose bytes are not all there, where the
/// header says so.
fn missing(bytes: &[u8]) -> Option<(usize, String)> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        data_offsets: Option<(usize, usize)>,
    }
    let header = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let data_start = header.checked_add(PREFIX)?;
    let entries: BTreeMap<String, Entry> =
        serde_json::from_slice(bytes.get(PREFIX..data_start)?).ok()?;
    let mut ends: Vec<(usize, String)> = entries
        .into_iter()
        .filter_map(|(name, entry)| Some((entry.data_offsets?.1.checked_add(data_start)?, name)))
        .collect();
    ends.sort_unstable();
    let expected = ends.last()?.0;
    let (_, name) = ends.into_iter().find(|(end, _)| *end > bytes.len())?;
    Some((expected, name))
}
