use thiserror::Error;

/// Routings that cannot be taken together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnalyticsError {
    /// The same projection with another number of experts.
    #[error("{site} has {found} experts, but had {expected} before; statistics are of one adapter")]
    Experts {
        /// The projection.
        site: String,
        /// The number of experts so far.
        expected: usize,
        /// The number of experts now.
        found: usize,
    },
    /// Nothing was routed.
    #[error("the model routes nothing: its adapter has no router, or only one expert")]
    NoRouting,
}
