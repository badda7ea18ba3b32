use indexmap::IndexMap;

use super::{Node, Place};
use crate::TaskError;

/// The keys of a mapping, taken one by one; what nobody takes is an error.
pub(crate) struct Fields {
    place: Place,
    under: String,
    map: IndexMap<String, Node>,
    known: Vec<&'static str>,
}

impl Fields {
    pub(crate) fn new(place: Place, under: &str, map: IndexMap<String, Node>) -> Self {
        Self { place, under: under.to_owned(), map, known: Vec::new() }
    }

    pub(crate) fn of(node: &Node, under: &str) -> Result<Self, TaskError> {
        Ok(Self::new(node.place.clone(), under, node.mapping(under)?.clone()))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The value of a key, unless it is null.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.map.shift_remove(key).filter(|node| !node.is_null())
    }

    /// As [`take`](Self::take), but null is a value too.
    pub(crate) fn take_even_null(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.map.shift_remove(key)
    }

    pub(crate) fn take_with<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node, &str) -> Result<T, TaskError>,
    ) -> Result<Option<T>, TaskError> {
        let name = self.name(key);
        self.take(key).map(|node| read(&node, &name)).transpose()
    }

    /// A key that must be there.
    pub(crate) fn need(&mut self, key: &'static str, why: &str) -> Result<Node, TaskError> {
        let error = TaskError::MissingKey {
            place: self.place.to_string(),
            key: self.name(key),
            why: why.to_owned(),
        };
        self.take(key).ok_or(error)
    }

    /// The key with those it is under, for messages.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.under.is_empty() { key.to_owned() } else { format!("{}.{key}", self.under) }
    }

    /// Whatever is left.
    pub(crate) fn rest(self) -> IndexMap<String, Node> {
        self.map
    }

    /// # Errors
    /// If a key is left.
    pub(crate) fn finish(self) -> Result<(), TaskError> {
        let Some((key, node)) = self.map.iter().next() else { return Ok(()) };
        Err(TaskError::UnknownKey {
            place: node.place.to_string(),
            key: self.name(key),
            hint: hint(key, &self.known),
        })
    }
}

/// The nearest of the known names, or all of them if none is near.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    let nearest = tensor_files::nearest(name, known.iter().copied());
    let quoted = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    if nearest.is_empty() {
        format!("; known are {}", quoted(known))
    } else {
        let nearest: Vec<&str> = nearest.iter().map(String::as_str).collect();
        format!("; did you mean {}?", quoted(&nearest))
    }
}
