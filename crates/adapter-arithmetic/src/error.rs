use moe_adapter::AdapterError;
use thiserror::Error;

/// Adapters that cannot be merged, taken out, taken apart or put together as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArithmeticError {
    /// A mixture that decides for each token cannot become one weight.
    #[error(
        "{path}: its router decides for every token, so the mixture is not one weight; give the \
         text whose mean routing it is to be frozen at (--prompt), or the weights of the experts \
         (--weights)"
    )]
    InputDependent {
        /// The linear.
        path: String,
    },
    /// A mixture of whole blocks cannot become weights.
    #[error(
        "{path}: its router mixes whole feed-forward blocks, which are no linear maps, so the \
         mixture is no weight, whatever the routing; take out one expert (lora-moe extract --expert)"
    )]
    BlockRouter {
        /// The block.
        path: String,
    },
    /// Weights that are not one for each expert.
    #[error(
        "{path}: the weights are {found:?}, but must be {experts} finite numbers, one for each of \
         its experts"
    )]
    ExpertWeights {
        /// The linear.
        path: String,
        /// The experts that its router chooses from.
        experts: usize,
        /// The weights given.
        found: Vec<f64>,
    },
    /// A merge that the adapter alone does not say how to take back.
    #[error(
        "{origin}: {reason}, so what merging changed is not in the adapter's folder; it is in the \
         merged model's merged_adapter.safetensors, which is needed"
    )]
    NoMergeRecord {
        /// The adapter.
        origin: String,
        /// Why its folder does not suffice.
        reason: &'static str,
    },
    /// An expert that is not there.
    #[error("{path}: there is no expert {expert}; there are {experts}, counted from 0")]
    ExpertNotFound {
        /// The linear.
        path: String,
        /// The index given.
        expert: usize,
        /// The number of experts.
        experts: usize,
    },
    /// Adapters that cannot be taken apart or put together as asked.
    #[error("{what}: {reason}")]
    CannotCombine {
        /// The adapter, the linear or the key at fault.
        what: String,
        /// Why, and what can be done.
        reason: String,
    },
    /// A record whose model is another one.
    #[error("{name}: {found}, so the record of the merge is of another model or adapter")]
    MergeRecord {
        /// The linear or the parameter.
        name: String,
        /// What does not fit.
        found: String,
    },
    /// Experts that are no linear maps.
    #[error("{path}: its experts are no linear maps, so they cannot be merged into the weight")]
    NotLinear {
        /// The linear.
        path: String,
    },
    /// A router that cannot choose between so many.
    #[error(transparent)]
    Router(#[from] router::RouterError),
    /// An adapter that is wrong in itself, or does not fit the model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
}
