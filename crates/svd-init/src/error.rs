use std::path::PathBuf;

use thiserror::Error;

/// A start that cannot be made.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is nothing to initialise.
    #[error("initialisation: `{field}` is 0, but must be at least 1")]
    Zero {
        /// The field at fault.
        field: &'static str,
    },
    /// The bank is for another weight.
    #[error(
        "initialisation: the experts are for a weight [in, out] of {expected:?}, but it is {found:?}"
    )]
    WeightShape {
        /// What the bank is for.
        expected: [usize; 2],
        /// What it was given.
        found: [usize; 2],
    },
    /// A number that has to be above zero.
    #[error("initialisation: `{key}` is {value}, but must be a finite number above 0")]
    NotPositive {
        /// The key at fault.
        key: &'static str,
        /// The value given.
        value: f64,
    },
    /// A number that has to be zero or more.
    #[error("initialisation: `{key}` is {value}, but must be a finite number of 0 or more")]
    Negative {
        /// The key at fault.
        key: &'static str,
        /// The value given.
        value: f64,
    },
    /// The matrix has too few directions for all experts.
    #[error(
        "initialisation: {num_experts} experts of rank {rank} take {needed} directions of the \
         {matrix}, which has {available}; lower `r` or `num_experts`"
    )]
    RankTooLarge {
        /// What is decomposed.
        matrix: &'static str,
        /// The number of experts.
        num_experts: usize,
        /// The rank of each.
        rank: usize,
        /// How many directions that takes.
        needed: usize,
        /// How many there are.
        available: usize,
    },
    /// The segment of the spectrum that each expert gets is shorter than its rank.
    #[error(
        "initialisation: each of {num_experts} experts gets a segment of {segment} singular \
         values, which is less than its rank {rank}; lower `r` or `num_experts`"
    )]
    SegmentTooShort {
        /// The number of experts.
        num_experts: usize,
        /// The length of a segment.
        segment: usize,
        /// The rank of each expert.
        rank: usize,
    },
    /// A triplet that the weight does not have.
    #[error("initialisation: triplet {index} is asked of a weight that has {available}")]
    NoSuchTriplet {
        /// The position given.
        index: usize,
        /// How many there are.
        available: usize,
    },
    /// Statistics of a calibration pass that the start cannot do without.
    #[error(
        "initialisation: `{start}` needs the {statistics} of every layer, which a calibration \
         pass collects; give calibration data, or choose another `init`"
    )]
    MissingStatistics {
        /// The start, by its name in configurations.
        start: &'static str,
        /// What is missing.
        statistics: &'static str,
    },
    /// Statistics of another layer.
    #[error("initialisation: the {statistics} is {found:?} instead of {expected:?}")]
    StatisticsShape {
        /// Which statistics.
        statistics: &'static str,
        /// The shape that the weight calls for.
        expected: [usize; 2],
        /// The shape given.
        found: [usize; 2],
    },
    /// A matrix with infinite values or NaN.
    #[error("initialisation: the {matrix} holds values that are not finite")]
    NotFinite {
        /// Which matrix.
        matrix: &'static str,
    },
    /// A matrix whose values cannot be read.
    #[error("initialisation: the {matrix} cannot be read: {problem}")]
    Unreadable {
        /// Which matrix.
        matrix: &'static str,
        /// Why.
        problem: String,
    },
    /// An input covariance that has no inverse.
    #[error(
        "initialisation: the input covariance has no inverse with `damp` {damp}; raise `damp` or \
         calibrate on more tokens"
    )]
    Singular {
        /// The damping given.
        damp: f64,
    },
    /// The singular value decomposition did not end.
    #[error("initialisation: the singular value decomposition did not converge")]
    NoConvergence,
    /// Prepared triplets that belong to another weight.
    #[error(
        "initialisation: the prepared triplets are those of weight {found:016x}, but this is \
         weight {expected:016x}"
    )]
    ForeignTriplets {
        /// The digest of the weight.
        expected: u64,
        /// The digest that the triplets carry.
        found: u64,
    },
    /// Prepared triplets that are not the ones that the start needs.
    #[error(
        "initialisation: other triplets were prepared than the start needs; prepare them with the \
         same configuration"
    )]
    OtherTriplets,
    /// A file of the cache that cannot be used.
    #[error("{}: {problem}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// `value` where it is finite and above 0.
pub(crate) fn positive(key: &'static str, value: f64) -> Result<f64, InitError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(InitError::NotPositive { key, value })
    }
}

/// `value` where it is finite and not below 0.
pub(crate) fn not_negative(key: &'static str, value: f64) -> Result<f64, InitError> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(InitError::Negative { key, value })
    }
}
