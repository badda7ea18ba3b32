//! Files of rows: each row is a [`Row`] of named values with its [`Origin`].
//!
//! [`read_rows`] reads JSON arrays, JSON Lines, a JSON object that holds the rows under a key, CSV,
//! TSV, plain text, Parquet (feature `parquet`) and Arrow IPC (feature `arrow`); files that end in
//! `.gz` need the feature `gzip`, those in `.zst` the feature `parquet`, which brings Zstandard.
//! Without a form given in [`ReadOptions`] the extension decides for tables, Parquet, Arrow and text,
//! and the content for everything else. [`open_rows`] reads them one by one, in little memory.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("rows.jsonl");
//! std::fs::write(&path, "{\"question\": \"2 + 2\", \"answer\": 4}\n")?;
//! let rows = record_files::read_rows(&path, &record_files::ReadOptions::default())?;
//! assert_eq!(rows[0].row.get("answer"), Some(&4.into()));
//! assert_eq!(rows[0].origin.line, Some(1));
//! # Ok(())
//! # }
//! ```

mod arrow_file;
#[cfg(feature = "arrow")]
mod arrow_sizes;
#[cfg(feature = "arrow")]
mod arrow_values;
mod error;
mod excerpt;
#[cfg(any(feature = "arrow", feature = "parquet"))]
mod foreign;
mod form;
mod json;
mod options;
mod ordered;
mod origin;
mod packing;
mod parquet_file;
#[cfg(feature = "parquet")]
mod parquet_pages;
#[cfg(feature = "parquet")]
mod parquet_source;
mod read;
mod row;
mod table;
mod text;

pub use error::RecordFileError;
pub use excerpt::excerpt;
pub use form::FileForm;
pub use options::{ReadOptions, SampleBy};
pub use ordered::{OrderedValue, RowValue};
pub use origin::Origin;
pub use read::{FileRow, Rows, open_rows, read_rows, read_rows_as};
pub use row::Row;
