//! The boundary to parsers of others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::RecordFileError;

/// What a parser reads, or `damaged` where it panics, as those of Parquet and Arrow do on files whose
/// parts are not where the files say. After an error nothing of what was read must be looked at.
pub(crate) fn caught<T>(
    damaged: impl FnOnce(String) -> RecordFileError,
    read: impl FnOnce() -> Result<T, RecordFileError>,
) -> Result<T, RecordFileError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(damaged("damaged: its parts are not where it says".into())))
}
