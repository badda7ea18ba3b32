use std::path::Path;

use indexmap::IndexMap;

use super::entry::Entry;
use super::index::TaskIndex;
use super::source;
use crate::TaskError;
use crate::config::{AggregateMetric, GroupConfig, GroupMember, TaskConfig};
use crate::yaml::{Node, NodeKind, Place};

/// Tasks that are to be run, and the groups that they are in.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The tasks by name, each once, in order.
    pub tasks: IndexMap<String, TaskConfig>,
    /// The groups by name; a group inside another comes after it.
    pub groups: IndexMap<String, Group>,
}

/// A group of tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The name in tables.
    pub alias: String,
    /// The names of tasks and groups right below.
    pub children: Vec<String>,
    /// The names of all tasks below.
    pub tasks: Vec<String>,
    /// What is averaged over them.
    pub metrics: Vec<AggregateMetric>,
}

type Overrides = IndexMap<String, Node>;

impl TaskIndex {
    /// Finds tasks: each of `names` is a task, a group, a tag, a pattern with `*`, or the path of a
    /// file that ends in `.yaml`.
    ///
    /// # Errors
    /// A name that is none of these, or a task with a wrong key.
    pub fn select<S: AsRef<str>>(&self, names: &[S]) -> Result<Selection, TaskError> {
        let mut selection = Selection::default();
        let none = Overrides::new();
        for name in names {
            let name = name.as_ref();
            if name.ends_with(".yaml") || name.ends_with(".yml") {
                self.add_file(&mut selection, Path::new(name))?;
            } else if name.contains(['*', '?']) {
                let matching =
                    self.entries.keys().filter(|known| crate::glob::matches(name, known));
                let matching: Vec<&String> = matching.collect();
                if matching.is_empty() {
                    return Err(self.unknown(name));
                }
                for known in matching {
                    self.add_name(&mut selection, known, &none, &mut Vec::new())?;
                }
            } else {
                self.add_name(&mut selection, name, &none, &mut Vec::new())?;
            }
        }
        Ok(selection)
    }

    fn add_file(&self, selection: &mut Selection, path: &Path) -> Result<(), TaskError> {
        let Node { place, kind } = source::read_with_includes(path)?;
        let NodeKind::Mapping(map) = kind else { return Ok(()) };
        if map.contains_key("group") && !map.contains_key("output_type") {
            let group = GroupConfig::read(place, map)?;
            self.add_group(selection, group, &Overrides::new(), &mut Vec::new())?;
        } else {
            add_task(selection, place, map, &Overrides::new())?;
        }
        Ok(())
    }

    /// Adds what a name stands for, and gives the names of the children it becomes.
    fn add_name(
        &self,
        selection: &mut Selection,
        name: &str,
        overrides: &Overrides,
        open: &mut Vec<String>,
    ) -> Result<Vec<String>, TaskError> {
        match self.entries.get(name) {
            None => Err(self.unknown(name)),
            Some(Entry::Task { place, map }) => {
                Ok(vec![add_task(selection, place.clone(), map.clone(), overrides)?])
            }
            Some(Entry::Group { place, map }) => {
                let group = GroupConfig::read(place.clone(), map.clone())?;
                Ok(vec![self.add_group(selection, group, overrides, open)?])
            }
            Some(Entry::Tag(tasks)) => {
                let mut children = Vec::new();
                for task in tasks {
                    children.extend(self.add_name(selection, task, overrides, open)?);
                }
                Ok(children)
            }
        }
    }

    fn add_group(
        &self,
        selection: &mut Selection,
        config: GroupConfig,
        overrides: &Overrides,
        open: &mut Vec<String>,
    ) -> Result<String, TaskError> {
        let name = config.group.clone();
        if open.contains(&name) {
            return Err(TaskError::WrongValue {
                place: config.place.to_string(),
                key: "task".into(),
                found: format!("`{name}`"),
                allowed: "a member that does not contain this group".into(),
            });
        }
        open.push(name.clone());
        let group = Group {
            name: name.clone(),
            alias: config.group_alias.clone().unwrap_or_else(|| name.clone()),
            children: Vec::new(),
            tasks: Vec::new(),
            metrics: config.aggregate_metric_list.clone(),
        };
        selection.groups.insert(name.clone(), group);
        // What the caller sets wins over what the group sets.
        let mut all = config.overrides.clone();
        all.extend(overrides.clone());
        let mut children = Vec::new();
        for member in config.task {
            children.extend(self.add_member(selection, &name, member, &all, open)?);
        }
        open.pop();
        let mut tasks: Vec<String> = Vec::new();
        for child in &children {
            let below = selection.groups.get(child).map(|group| group.tasks.clone());
            for task in below.unwrap_or_else(|| vec![child.clone()]) {
                if !tasks.contains(&task) {
                    tasks.push(task);
                }
            }
        }
        if let Some(group) = selection.groups.get_mut(&name) {
            (group.children, group.tasks) = (children, tasks);
        }
        Ok(name)
    }

    fn add_member(
        &self,
        selection: &mut Selection,
        parent: &str,
        member: GroupMember,
        overrides: &Overrides,
        open: &mut Vec<String>,
    ) -> Result<Vec<String>, TaskError> {
        match member {
            GroupMember::Name(name) => self.add_name(selection, &name, overrides, open),
            GroupMember::Task { name, mut keys, place } => {
                if self.entries.contains_key(&name) {
                    keys.extend(overrides.clone());
                    return self.add_name(selection, &name, &keys, open);
                }
                let named = Node {
                    place: place.clone(),
                    kind: NodeKind::Scalar(format!("{parent}::{name}").into()),
                };
                keys.insert("task".into(), named);
                Ok(vec![add_task(selection, place, keys, overrides)?])
            }
            GroupMember::Group(mut config) => {
                if config.task.is_empty() {
                    let mut keys = config.overrides.clone();
                    keys.extend(overrides.clone());
                    return self.add_name(selection, &config.group, &keys, open);
                }
                config.group = format!("{parent}::{}", config.group);
                Ok(vec![self.add_group(selection, *config, overrides, open)?])
            }
        }
    }

    fn unknown(&self, name: &str) -> TaskError {
        let nearest = tensor_files::nearest(name, self.entries.keys().map(String::as_str));
        let hint = if nearest.is_empty() {
            "; `eval --list-tasks` lists all".to_owned()
        } else {
            format!("; did you mean `{}`?", nearest.join("`, `"))
        };
        TaskError::UnknownTask { name: name.to_owned(), hint }
    }
}

fn add_task(
    selection: &mut Selection,
    place: Place,
    mut map: IndexMap<String, Node>,
    overrides: &Overrides,
) -> Result<String, TaskError> {
    for (key, value) in overrides {
        map.insert(key.clone(), value.clone());
    }
    let config = TaskConfig::read(place, map)?;
    let name = config.task.clone();
    match selection.tasks.get(&name) {
        Some(known) if known.written != config.written => Err(TaskError::Duplicate {
            name,
            first: known.place.to_string(),
            second: config.place.to_string(),
        }),
        Some(_) => Ok(name),
        None => {
            selection.tasks.insert(name.clone(), config);
            Ok(name)
        }
    }
}
