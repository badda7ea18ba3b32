use record_files::{Origin, Row};

/// A row of a data set, as the task sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The values, after `process_docs`.
    pub row: Row,
    /// Where it comes from.
    pub origin: Origin,
}
