#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use super::WeightError;

/// A file in the address space: bytes are read from disk when they are used.
#[derive(Debug)]
pub(super) struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    pub(super) fn open(path: &Path) -> Result<Self, WeightError> {
        let io = |source| WeightError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the bytes are only read. That nobody changes the file meanwhile cannot be
        // checked, as for every mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self { map })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Says that bytes are not needed soon, so that they do not count as memory of the process.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            use memmap2::UncheckedAdvice;
            let len = range.len().min(self.map.len().saturating_sub(range.start));
            // SAFETY: the map is of a file and never written to, so that dropped pages are read
            // again from the file.
            let advised = unsafe {
                self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, len)
            };
            // Only advice: nothing depends on it.
            let _ = advised;
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
