use std::collections::BTreeSet;

use super::{EncodeReport, Sample};

/// Samples, and which records they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The samples kept.
    pub samples: Vec<Sample>,
    /// The index of the record that each sample comes from, ascending.
    pub rows: Vec<usize>,
    /// Indices of the records of which a sample was cut at `max_length`.
    pub cut_rows: BTreeSet<usize>,
    /// Indices of the records that left no sample.
    pub dropped_rows: BTreeSet<usize>,
    /// The counts.
    pub report: EncodeReport,
}
