use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::entry::{Entry, TaskListing};
use super::{shipped, source};
use crate::TaskError;
use crate::yaml::{Node, NodeKind};

/// All tasks, groups and tags by name.
#[derive(Debug, Clone)]
pub struct TaskIndex {
    pub(super) entries: BTreeMap<String, Entry>,
}

impl TaskIndex {
    /// The shipped tasks.
    ///
    /// # Errors
    /// None of the shipped files are wrong; a test reads them all.
    pub fn shipped() -> Result<Self, TaskError> {
        let mut index = Self { entries: BTreeMap::new() };
        index.add(&shipped::paths())?;
        Ok(index)
    }

    /// The shipped tasks and those in folders: every `*.yaml` in and below them. A task of a folder
    /// replaces a shipped one and one of an earlier folder.
    ///
    /// # Errors
    /// A folder or file that cannot be read, a file that is no task, or one name in two files of a
    /// folder.
    pub fn with_folders(folders: &[PathBuf]) -> Result<Self, TaskError> {
        Self::shipped()?.and_folders(folders)
    }

    /// The tasks in folders alone, without those that are shipped.
    ///
    /// # Errors
    /// As [`with_folders`](Self::with_folders).
    pub fn of_folders(folders: &[PathBuf]) -> Result<Self, TaskError> {
        Self { entries: BTreeMap::new() }.and_folders(folders)
    }

    fn and_folders(mut self, folders: &[PathBuf]) -> Result<Self, TaskError> {
        for folder in folders {
            let mut files = Vec::new();
            collect(folder, &mut files)?;
            files.sort();
            self.add(&files)?;
        }
        Ok(self)
    }

    /// Adds the tasks of files that belong together.
    fn add(&mut self, files: &[PathBuf]) -> Result<(), TaskError> {
        let mut added: BTreeMap<String, Entry> = BTreeMap::new();
        let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files {
            let node = source::read_with_includes(file)?;
            let Some((name, entry, own_tags)) = describe(node)? else { continue };
            if let Some(earlier) = added.get(&name).and_then(Entry::file) {
                return Err(TaskError::Duplicate {
                    name,
                    first: earlier.display().to_string(),
                    second: file.display().to_string(),
                });
            }
            for tag in own_tags {
                tags.entry(tag).or_default().push(name.clone());
            }
            added.insert(name, entry);
        }
        self.entries.extend(added);
        for (tag, mut tasks) in tags {
            match self.entries.get_mut(&tag) {
                Some(Entry::Tag(known)) => {
                    known.append(&mut tasks);
                    known.sort();
                    known.dedup();
                }
                Some(_) => {}
                None => {
                    tasks.sort();
                    self.entries.insert(tag, Entry::Tag(tasks));
                }
            }
        }
        Ok(())
    }

    /// All names with what they stand for, sorted.
    pub fn list(&self) -> Vec<TaskListing> {
        self.entries.iter().map(|(name, entry)| entry.listing(name)).collect()
    }
}

impl Entry {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Task { place, .. } | Self::Group { place, .. } => Some(&place.file),
            Self::Tag(_) => None,
        }
    }

    fn listing(&self, name: &str) -> TaskListing {
        let (kind, map) = match self {
            Self::Task { map, .. } => ("task", Some(map)),
            Self::Group { map, .. } => ("group", Some(map)),
            Self::Tag(_) => ("tag", None),
        };
        let text = |node: &Node| node.scalar().and_then(|value| value.as_str()).map(str::to_owned);
        let key = |key: &str| map.and_then(|map| text(map.get(key)?));
        let metadata = |key: &str| {
            map.and_then(|map| text(map.get("metadata")?.mapping("metadata").ok()?.get(key)?))
        };
        let is_task = kind == "task";
        TaskListing {
            name: name.to_owned(),
            kind,
            output_type: key("output_type").or(is_task.then(|| "generate_until".to_owned())),
            dataset: match (key("dataset_path"), key("dataset_name")) {
                (Some(path), Some(name)) => Some(format!("{path}, {name}")),
                (path, _) => path,
            },
            source: metadata("source"),
            licence: metadata("licence").or_else(|| metadata("license")),
            file: self.file().map(Path::to_owned),
        }
    }
}

type Described = (String, Entry, Vec<String>);

/// The name, the entry and the tags of a file; `None` for files that only others include.
fn describe(node: Node) -> Result<Option<Described>, TaskError> {
    let Node { place, kind } = node;
    let NodeKind::Mapping(map) = kind else { return Ok(None) };
    let tags = match map.get("tag").filter(|tag| !tag.is_null()) {
        Some(tag) => tag.texts("tag")?,
        None => Vec::new(),
    };
    // An old file may name its tag `group`; a group is what lists tasks.
    let is_group = map.contains_key("group")
        && !matches!(map.get("task").map(|node| &node.kind), Some(NodeKind::Scalar(_)));
    if is_group {
        let name = map["group"].name("group")?;
        return Ok(Some((name, Entry::Group { place, map }, Vec::new())));
    }
    match map.get("task") {
        Some(name) => Ok(Some((name.name("task")?, Entry::Task { place, map }, tags))),
        None => Ok(None),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), TaskError> {
    let io = |source| TaskError::Io { file: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with('.') || name == "__pycache__"
        });
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    Ok(())
}
