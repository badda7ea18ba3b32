use std::{fmt, path::Path, sync::Arc};

/// Where a record came from, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// Index of the record in its file, from 0.
    pub record: usize,
    /// Line of the record, from 1; only known for JSON Lines.
    pub line: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}`, line {line}", self.file.display()),
            None => write!(f, "`{}`, record {} (from 0)", self.file.display(), self.record),
        }
    }
}
