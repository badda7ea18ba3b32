//! Files that are compressed, by the end of their names.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

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

/// A file to read, unpacked if its name says that it is packed.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>, RecordFileError> {
    let file = File::open(path).map_err(RecordFileError::io(path))?;
    match packing(path) {
        None => Ok(Box::new(BufReader::with_capacity(BUFFER, file))),
        Some(Packing::Gzip) => gunzip(path, file),
        Some(Packing::Zstandard) => unzstd(path, file),
    }
}

/// What is read at once, in bytes.
const BUFFER: usize = 1 << 16;

#[cfg(feature = "gzip")]
fn gunzip(_: &Path, file: File) -> Result<Box<dyn BufRead>, RecordFileError> {
    let packed = BufReader::with_capacity(BUFFER, file);
    let unpacked = flate2::bufread::MultiGzDecoder::new(packed);
    Ok(Box::new(BufReader::with_capacity(BUFFER, unpacked)))
}

#[cfg(not(feature = "gzip"))]
fn gunzip(path: &Path, _: File) -> Result<Box<dyn BufRead>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: path.to_owned(), feature: "gzip" })
}

#[cfg(feature = "parquet")]
fn unzstd(path: &Path, file: File) -> Result<Box<dyn BufRead>, RecordFileError> {
    let unpacked = zstd::stream::read::Decoder::new(file).map_err(RecordFileError::io(path))?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, unpacked)))
}

#[cfg(not(feature = "parquet"))]
fn unzstd(path: &Path, _: File) -> Result<Box<dyn BufRead>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: path.to_owned(), feature: "parquet" })
}
