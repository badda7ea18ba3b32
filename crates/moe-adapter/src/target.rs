use std::collections::BTreeSet;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::AdapterError;

/// Which linears of a model are adapted; as in PEFT a list of names, a regular expression, or
/// `"all-linear"`.
///
/// A name matches a module whose path is that name or ends in `.` and that name; a regular
/// expression must match the whole path. `"all-linear"` means every linear of the model's layers
/// (not the output head).
///
/// Lists are equal where they have the same names, in any order.
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Names, as in `["gate_proj", "up_proj"]`.
    Names(Vec<String>),
    /// A regular expression on the whole path, or `"all-linear"`.
    Pattern(String),
}

impl PartialEq for TargetModules {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Names(names), Self::Names(others)) => {
                let [names, others] =
                    [names, others].map(|names| names.iter().collect::<BTreeSet<_>>());
                names == others
            }
            (Self::Pattern(pattern), Self::Pattern(other)) => pattern == other,
            (Self::Names(_), Self::Pattern(_)) | (Self::Pattern(_), Self::Names(_)) => false,
        }
    }
}

impl TargetModules {
    /// The feed-forward linears of a Llama-like decoder, which LoRAMoE adapts.
    pub fn feed_forward() -> Self {
        Self::Names(["gate_proj", "up_proj", "down_proj"].map(String::from).to_vec())
    }

    /// Every linear of the model's layers.
    pub fn all_linear() -> Self {
        Self::Pattern("all-linear".into())
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Names(names) if names.is_empty())
    }

    pub(crate) fn matcher(&self) -> Result<Matcher, AdapterError> {
        Ok(match self {
            Self::Names(names) if names.is_empty() => {
                return Err(AdapterError::NoTargets);
            }
            Self::Names(names) => {
                Matcher::Names(names.iter().map(|name| (name.clone(), false)).collect())
            }
            Self::Pattern(pattern) if pattern == "all-linear" => Matcher::All,
            Self::Pattern(pattern) => {
                let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|source| {
                    AdapterError::TargetPattern { pattern: pattern.clone(), source }
                })?;
                Matcher::Pattern(regex)
            }
        })
    }
}

/// Decides path by path, and remembers which names matched.
pub(crate) enum Matcher {
    All,
    Names(Vec<(String, bool)>),
    Pattern(Regex),
}

impl Matcher {
    /// Whether a path matches, which is remembered.
    pub(crate) fn matches(&mut self, path: &str) -> bool {
        if let Self::Names(names) = self {
            names.iter_mut().for_each(|(name, used)| *used |= ends_with(path, name));
        }
        self.is_match(path)
    }

    /// Whether a module or one that it is in matches, which is remembered.
    pub(crate) fn matches_within(&mut self, path: &str) -> bool {
        // All of them, so that each name that matches counts as used.
        enclosing(path).filter(|module| self.matches(module)).count() > 0
    }

    /// As [`matches_within`](Self::matches_within), and not remembered.
    pub(crate) fn is_match_within(&self, path: &str) -> bool {
        enclosing(path).any(|module| self.is_match(module))
    }

    /// Whether a path matches.
    pub(crate) fn is_match(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(regex) => regex.is_match(path),
            Self::Names(names) => names.iter().any(|(name, _)| ends_with(path, name)),
        }
    }

    /// The names that matched nothing.
    pub(crate) fn unused(&self) -> Vec<String> {
        match self {
            Self::Names(names) => {
                names.iter().filter(|(_, used)| !used).map(|(name, _)| name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A path and those of the modules that it is in.
fn enclosing(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    ends.map(move |end| &path[..end])
}

pub(crate) fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Which layers are adapted: one index or a list, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayersToTransform {
    /// A single layer.
    One(usize),
    /// Several layers.
    Many(Vec<usize>),
}

impl LayersToTransform {
    /// The indices.
    pub fn indices(&self) -> &[usize] {
        match self {
            Self::One(index) => std::slice::from_ref(index),
            Self::Many(indices) => indices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "model.layers.0.mlp.gate_proj";

    #[test]
    fn names_match_whole_segments_at_the_end() {
        let mut matcher =
            TargetModules::Names(vec!["gate_proj".into(), "proj".into()]).matcher().unwrap();
        assert!(matcher.matches(PATH));
        assert!(!matcher.matches("model.layers.0.mlp.aggregate_proj"));
        assert_eq!(matcher.unused(), ["proj"]);
    }

    #[test]
    fn names_are_a_set() {
        let names = |names: &[&str]| {
            TargetModules::Names(names.iter().map(|name| (*name).to_owned()).collect())
        };
        assert_eq!(names(&["a", "b"]), names(&["b", "a"]));
        assert_ne!(names(&["a", "b"]), names(&["a"]));
        assert_ne!(names(&["a"]), TargetModules::Pattern("a".into()));
    }

    #[test]
    fn a_module_is_within_those_around_it() {
        let mut matcher =
            TargetModules::Names(vec!["layers.0".into(), "mlp".into()]).matcher().unwrap();
        assert!(!matcher.matches(PATH) && matcher.matches_within(PATH));
        assert!(!matcher.is_match_within("model.layers.1.self_attn.q_proj"));
        assert_eq!(matcher.unused(), [""; 0]);
    }

    #[test]
    fn patterns_match_the_whole_path() {
        let mut matcher =
            TargetModules::Pattern(r".*\.mlp\.(gate|up)_proj".into()).matcher().unwrap();
        assert!(matcher.matches(PATH));
        assert!(!matcher.matches("model.layers.0.mlp.gate_proj.x"));
        assert!(!TargetModules::Pattern("gate_proj".into()).matcher().unwrap().matches(PATH));
    }

    #[test]
    fn all_linear_matches_everything() {
        assert!(TargetModules::all_linear().matcher().unwrap().matches(PATH));
    }

    #[test]
    fn broken_patterns_and_empty_lists_are_refused() {
        let pattern = TargetModules::Pattern("(".into());
        assert!(matches!(pattern.matcher(), Err(AdapterError::TargetPattern { .. })));
        let empty = TargetModules::Names(Vec::new());
        assert!(matches!(empty.matcher(), Err(AdapterError::NoTargets)));
    }
}
