//! Files that are compressed, by the end of their names.

use std::{fs, path::Path};

use crate::RecordFileError;

/// The endings, and what packs so.
const ENDINGS: [(&str, Packing); 3] =
    [(".gz", Packing::Gzip), (".zst", Packing::Zstandard), (".zstd", Packing::Zstandard)];

#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Zstandard,
}

/// A name in small letters without the ending of a packed file.
pub(crate) fn unpacked(name: &str) -> &str {
    ENDINGS.iter().find_map(|(ending, _)| name.strip_suffix(ending)).unwrap_or(name)
}

/// Whether the file of that name is packed.
pub(crate) fn is_packed(path: &Path) -> bool {
    packing(path).is_some()
}

fn packing(path: &Path) -> Option<Packing> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, packing)| *packing)
}

/// All bytes of a file, unpacked if its name says that it is packed.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, RecordFileError> {
    let bytes = fs::read(path).map_err(RecordFileError::io(path))?;
    match packing(path) {
        None => Ok(bytes),
        Some(Packing::Gzip) => gunzip(path, &bytes),
        Some(Packing::Zstandard) => unzstd(path, &bytes),
    }
}

#[cfg(feature = "gzip")]
fn gunzip(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, RecordFileError> {
    use std::io::Read;
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_end(&mut unpacked)
        .map_err(RecordFileError::io(path))?;
    Ok(unpacked)
}

#[cfg(not(feature = "gzip"))]
fn gunzip(path: &Path, _: &[u8]) -> Result<Vec<u8>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: path.to_owned(), feature: "gzip" })
}

#[cfg(feature = "parquet")]
fn unzstd(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, RecordFileError> {
    zstd::stream::decode_all(bytes).map_err(RecordFileError::io(path))
}

#[cfg(not(feature = "parquet"))]
fn unzstd(path: &Path, _: &[u8]) -> Result<Vec<u8>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: path.to_owned(), feature: "parquet" })
}
