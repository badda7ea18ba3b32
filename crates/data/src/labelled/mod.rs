//! Rows with labels: texts, pairs of texts and images, to be classified or given a number.
//!
//! ```text
//! files, folders of images -> read_labelled -> LabelledRow
//! rows -> LabelSet -> Target of each row
//! ```

mod columns;
mod file;
mod folder;
mod image;
mod labels;
mod read;
mod row;
mod target;
#[cfg(test)]
mod tests;

pub use columns::LabelledColumns;
pub use file::{FileFormat, LabelledFile};
pub use image::ImageData;
pub use labels::LabelSet;
pub use read::{InputKind, read_labelled};
pub use row::{LabelledRow, RowInput};
pub use target::Target;
