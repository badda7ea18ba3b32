use std::path::PathBuf;

use indexmap::IndexMap;

use crate::yaml::{Node, Place};

/// What a name stands for.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// A task, with its keys, includes applied.
    Task { place: Place, map: IndexMap<String, Node> },
    /// A group, likewise.
    Group { place: Place, map: IndexMap<String, Node> },
    /// The tasks that have a tag, by name.
    Tag(Vec<String>),
}

/// A task or group as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskListing {
    /// The name.
    pub name: String,
    /// `task`, `group` or `tag`.
    pub kind: &'static str,
    /// How the model is asked.
    pub output_type: Option<String>,
    /// The data set.
    pub dataset: Option<String>,
    /// Where the data comes from.
    pub source: Option<String>,
    /// The licence of the data.
    pub licence: Option<String>,
    /// The file.
    pub file: Option<PathBuf>,
}
