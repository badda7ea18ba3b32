use record_files::{OrderedValue, Origin};

use super::ImageData;

/// A row of labelled data.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRow {
    /// What is classified.
    pub input: RowInput,
    /// The label as it stands in the file; absent where it does not.
    pub label: Option<OrderedValue>,
    /// The task type of its file.
    pub task_type: Option<u32>,
    /// Where the row comes from.
    pub origin: Origin,
}

/// What a row asks to classify.
#[derive(Debug, Clone, PartialEq)]
pub enum RowInput {
    /// A text, or two that are compared.
    Text {
        /// The first.
        text: String,
        /// The second.
        text_pair: Option<String>,
    },
    /// An image.
    Image(ImageData),
}
