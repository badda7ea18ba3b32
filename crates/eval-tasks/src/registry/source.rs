use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::shipped;
use crate::TaskError;
use crate::yaml::{self, Node, NodeKind};

/// Reads a task file and what it includes: own keys win over included ones, later includes over
/// earlier ones.
pub(super) fn read_with_includes(path: &Path) -> Result<Node, TaskError> {
    let node = read(path)?;
    merged(node, &mut vec![path.to_owned()])
}

/// Reads a file of a folder, or a shipped one.
pub(super) fn read(path: &Path) -> Result<Node, TaskError> {
    match shipped::text(path) {
        Some(text) => yaml::parse(path, &text),
        None => yaml::read(path),
    }
}

pub(super) fn merged(node: Node, open: &mut Vec<PathBuf>) -> Result<Node, TaskError> {
    let Node { place, kind } = node;
    let NodeKind::Mapping(mut own) = kind else {
        return Err(TaskError::Yaml {
            place: place.to_string(),
            message: "a task file is a mapping of keys to values".into(),
        });
    };
    let Some(include) = own.shift_remove("include") else {
        return Ok(Node { place, kind: NodeKind::Mapping(own) });
    };
    let mut all: IndexMap<String, Node> = IndexMap::new();
    for name in include.texts("include")? {
        let path = resolve(&include, &place.file, &name)?;
        if open.contains(&path) {
            return Err(include.wrong("include", "a file that does not include this one"));
        }
        open.push(path.clone());
        let included = merged(read(&path)?, open)?;
        open.pop();
        for (key, value) in included.mapping("include")? {
            if key != "task_list" {
                all.insert(key.clone(), value.clone());
            }
        }
    }
    for (key, value) in own {
        all.insert(key, value);
    }
    Ok(Node { place, kind: NodeKind::Mapping(all) })
}

/// Beside the file that includes it, else among the shipped files.
fn resolve(include: &Node, file: &Path, name: &str) -> Result<PathBuf, TaskError> {
    let beside = file.parent().unwrap_or(Path::new("")).join(name);
    if beside.is_file() || shipped::text(&beside).is_some() {
        return Ok(beside);
    }
    let shipped = shipped::path(name);
    if shipped::text(&shipped).is_some() {
        return Ok(shipped);
    }
    let allowed = format!("a file beside `{}`, or the name of a shipped one", file.display());
    Err(include.wrong("include", &allowed))
}
