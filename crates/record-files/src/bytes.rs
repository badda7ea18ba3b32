use std::{fs, path::Path};

use crate::RecordFileError;

/// All bytes of a file, unpacked if its name ends in `.gz`.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, RecordFileError> {
    let bytes = fs::read(path).map_err(RecordFileError::io(path))?;
    let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if packed { unpack(path, &bytes) } else { Ok(bytes) }
}

#[cfg(feature = "gzip")]
fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, RecordFileError> {
    use std::io::Read;
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_end(&mut unpacked)
        .map_err(RecordFileError::io(path))?;
    Ok(unpacked)
}

#[cfg(not(feature = "gzip"))]
fn unpack(path: &Path, _: &[u8]) -> Result<Vec<u8>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: path.to_owned(), feature: "gzip" })
}
