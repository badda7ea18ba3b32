/// Which positions of a batch predict which tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Flat positions `b * S + t` `[T]`, ascending: the rows to select from `[B * S, D]` hidden
    /// states.
    pub positions: Vec<i64>,
    /// The token at `t + 1` of each `[T]`.
    pub token_ids: Vec<i64>,
}

impl Targets {
    /// Number of predictions `T`.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is nothing to predict.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }
}
