/// One tokenised example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Token ids `[L]`.
    pub input_ids: Vec<u32>,
    /// `[L]`, true where the token is to be predicted (from the tokens before it). Always false at
    /// position 0, which nothing predicts.
    pub target_mask: Vec<bool>,
    /// Task type, where the data has one.
    pub task_type: Option<u32>,
}

impl Sample {
    /// Number of tokens `L`.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    /// Number of targets.
    pub fn target_count(&self) -> usize {
        self.target_mask.iter().filter(|&&target| target).count()
    }
}
