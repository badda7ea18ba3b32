/// Why a world could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// There are not that many names, or too few entities to divide.
    #[error("a world has from 2 to {most} entities, not {entities}")]
    Entities {
        /// The number asked for.
        entities: usize,
        /// The largest number that can be named.
        most: usize,
    },
    /// A share lies outside 0 to 1.
    #[error("`{name}` is a share between 0 and 1, not {share}")]
    Share {
        /// The field of the configuration.
        name: &'static str,
        /// Its value.
        share: f64,
    },
    /// All entities are rehearsed, so no fact is left to evaluate.
    #[error("`rehearsed` covers all entities: no fact is left to evaluate")]
    NothingToAsk,
    /// The tuning data shall contain knowledge questions but no entity is rehearsed.
    #[error("`knowledge_share` is above 0 but `rehearsed` covers no entity")]
    NothingToRehearse,
    /// The tokenizer could not be built.
    #[error("the tokenizer could not be built: {0}")]
    Tokenizer(#[source] tokenizers::Error),
}
