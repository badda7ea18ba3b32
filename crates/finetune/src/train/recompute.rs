use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which activations of the forward pass are computed again in the backward pass, instead of being
/// kept: `"none"`, `"block"`, `"every N"` or `"nested N"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Recompute {
    /// None: the fastest, and memory grows with the number of layers.
    #[default]
    None,
    /// Those of all layers but the last group of so many: kept are what enters each group, and
    /// while a group is differentiated, its activations. 1 is a layer at a time.
    Every(usize),
    /// Those of all layers, twice: kept is what enters each group of so many, and while a group is
    /// differentiated, what enters each of its layers, which a forward pass of the group finds again;
    /// then a layer at a time, half by half, the second half by slices of tokens where it can be. The least
    /// memory, and one more forward pass than [`Every`](Self::Every).
    Nested(usize),
}

impl Recompute {
    /// The same with groups of one layer.
    pub(crate) fn one_by_one(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Every(_) => Self::Every(1),
            Self::Nested(_) => Self::Nested(1),
        }
    }
}

/// Not the name of a [`Recompute`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is none of \"none\", \"block\", \"every N\" and \"nested N\" (N layers, at least 1)"
)]
pub struct UnknownRecompute(String);

impl FromStr for Recompute {
    type Err = UnknownRecompute;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "block" => Ok(Self::Every(1)),
            text => {
                let read = |layers: &str| layers.parse().ok().filter(|layers| *layers > 0);
                let every = text.strip_prefix("every ").and_then(read).map(Self::Every);
                let nested = || text.strip_prefix("nested ").and_then(read).map(Self::Nested);
                every.or_else(nested).ok_or_else(|| UnknownRecompute(text.to_owned()))
            }
        }
    }
}

impl TryFrom<String> for Recompute {
    type Error = UnknownRecompute;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Recompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Every(1) => f.write_str("block"),
            Self::Every(layers) => write!(f, "every {layers}"),
            Self::Nested(layers) => write!(f, "nested {layers}"),
        }
    }
}

impl From<Recompute> for String {
    fn from(recompute: Recompute) -> Self {
        recompute.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, value) in [
            ("none", Recompute::None),
            ("block", Recompute::Every(1)),
            ("every 4", Recompute::Every(4)),
            ("nested 1", Recompute::Nested(1)),
            ("nested 6", Recompute::Nested(6)),
        ] {
            assert_eq!((text.parse(), value.to_string().as_str()), (Ok(value), text));
        }
    }

    #[test]
    fn other_names_are_refused_with_what_is_allowed() {
        for text in [
            "",
            "all",
            "every",
            "every 0",
            "every -1",
            "every x",
            "block 2",
            "nested",
            "nested 0",
            "nested -1",
            "nested x",
            "nested  2",
        ] {
            let error = text.parse::<Recompute>().unwrap_err().to_string();
            assert!(error.contains("nested N") && error.contains(text), "{error}");
        }
    }
}
