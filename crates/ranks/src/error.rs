use thiserror::Error;

/// Ranks that cannot go on together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RanksError {
    /// A rank has ended.
    #[error("rank {rank} of {size} has ended before the others; its own message says why")]
    Lost {
        /// The rank.
        rank: usize,
        /// How many there are.
        size: usize,
    },
    /// Ranks did not come within the time limit.
    #[error("waited {seconds} s for {}, which neither came nor ended", named(ranks))]
    Late {
        /// The ranks that did not come.
        ranks: Vec<usize>,
        /// The time limit.
        seconds: u64,
    },
    /// A call did not end though all ranks had come to it.
    #[error("what ranks do together has not ended for {seconds} s: one of them hangs within it")]
    Stuck {
        /// The time limit.
        seconds: u64,
    },
    /// A rank is to do other work than rank 0.
    #[error(
        "rank {rank} has {found} as {what}, but rank 0 has {expected}; all ranks need the same"
    )]
    Differs {
        /// The rank.
        rank: usize,
        /// What differs.
        what: String,
        /// What the rank has.
        found: String,
        /// What rank 0 has.
        expected: String,
    },
    /// The ranks did not call the same function with the same sizes.
    #[error("rank {rank} brought {found} where rank 0 brought {expected}")]
    Sizes {
        /// The rank.
        rank: usize,
        /// What it brought.
        found: String,
        /// What rank 0 brought.
        expected: String,
    },
    /// There is nothing that connects processes.
    #[error("{0}")]
    Unavailable(String),
}

fn named(ranks: &[usize]) -> String {
    let numbers: Vec<_> = ranks.iter().map(usize::to_string).collect();
    match numbers.len() {
        1 => format!("rank {}", numbers[0]),
        _ => format!("ranks {}", numbers.join(", ")),
    }
}
