use std::{fmt, path::Path, sync::Arc};

/// Where a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// The row's index in the file, from 0.
    pub row: usize,
    /// The line the row begins at, from 1, where the form of the file tells.
    pub line: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}, line {line}", self.file.display()),
            None => write!(formatter, "{}, row {}", self.file.display(), self.row),
        }
    }
}
