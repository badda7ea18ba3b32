use thiserror::Error;

use crate::routing::AnalyticsError;

/// An evaluation that cannot start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// Data that cannot be used.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// A tokenizer that cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] model_zoo::TokenizerError),
    /// Requests that cannot be answered.
    #[error(transparent)]
    Scoring(#[from] crate::scoring::ScoringError),
    /// Generation that failed.
    #[error(transparent)]
    Generation(#[from] model_zoo::GenerationError),
    /// Routings that cannot be summed up.
    #[error(transparent)]
    Analytics(#[from] AnalyticsError),
}
