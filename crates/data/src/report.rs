use std::fmt;

use serde::{Deserialize, Serialize};

/// What encoding a data set did to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodeReport {
    /// Samples kept.
    pub samples: usize,
    /// Samples cut at `max_length`, including those that then had no target left.
    pub truncated: usize,
    /// Samples left out because no target was left within `max_length`.
    pub dropped_without_target: usize,
    /// Places where prompt and answer had to be tokenised separately, because together the
    /// tokenizer merges across the boundary, which generation never does.
    pub boundary_splits: usize,
    /// Tokens of the samples kept.
    pub tokens: usize,
    /// Targets of the samples kept.
    pub target_tokens: usize,
}

impl fmt::Display for EncodeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} samples, {} tokens of which {} targets; {} truncated, {} dropped without a target, \
             {} boundaries split",
            self.samples,
            self.tokens,
            self.target_tokens,
            self.truncated,
            self.dropped_without_target,
            self.boundary_splits
        )
    }
}
