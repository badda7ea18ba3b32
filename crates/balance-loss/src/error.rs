use router::RoutingRecord;
use thiserror::Error;

/// A balance loss that is misconfigured, or a batch that lacks what it needs.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum BalanceLossError {
    /// A coefficient that is not a finite number of at least 0.
    #[error("balance loss: `{field}` is {value}, but must be a finite number of at least 0")]
    Coefficient {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        value: f64,
    },
    /// The bonus and the malus of the localised constraint would leave the range of weights.
    #[error("balance loss: `blc_alpha` is {value}, but must be within 0 and 1")]
    Delta {
        /// The value given.
        value: f64,
    },
    /// The experts' types do not fit the layer's number of experts.
    #[error(
        "balance loss: `expert_types` names {given} experts, but the layer at {site} has {found}"
    )]
    ExpertTypes {
        /// The number of types in the configuration.
        given: usize,
        /// The number of experts in the layer.
        found: usize,
        /// The layer.
        site: String,
    },
    /// The localised constraint compares task types, and the batch has none.
    #[error(
        "balance loss: the localised balancing constraint needs a `task_type` for every sample \
         (1 for world knowledge, 0 for other tasks); add it to the training data, or set \
         `blc_weight` to 0"
    )]
    MissingTaskTypes,
    /// The index of an entropy that is not defined.
    #[error("balance loss: `entropic_index` is {value}, but must be a finite number above 0")]
    EntropicIndex {
        /// The value given.
        value: f64,
    },
    /// Layers whose tokens cannot be taken together.
    #[error(
        "balance loss: `aggregation = \"concatenate\"` needs equally many experts in all layers, \
         but {first} has {expected} and {site} has {found}; use `sum` or `mean`"
    )]
    Concatenate {
        /// The number of experts of the first layer.
        expected: usize,
        /// That of the layer at fault.
        found: usize,
        /// The first layer.
        first: String,
        /// The layer at fault.
        site: String,
    },
    /// A penalty on parameters, which have no tokens to concatenate.
    #[error(
        "balance loss: `{loss}` has no tokens to concatenate; its `aggregation` is `sum` or `mean`"
    )]
    NoTokens {
        /// The loss.
        loss: &'static str,
    },
    /// A number of experts that no token can use.
    #[error("balance loss: `k` is 0, but must be at least 1")]
    NoExperts,
    /// A router without what the loss is about.
    #[error(
        "balance loss: `{loss}` is about the router `{router}`, but the router at {site} is another"
    )]
    OtherRouter {
        /// The loss.
        loss: &'static str,
        /// The router that it is about.
        router: &'static str,
        /// Where another one is.
        site: String,
    },
    /// A sum of nothing.
    #[error("balance loss: `losses` of a `sum` is empty, but must name at least one loss")]
    EmptySum,
}

/// What a loss says of a router that it is not about.
pub(crate) fn missing(
    loss: &'static str,
    router: &'static str,
    record: &RoutingRecord,
) -> BalanceLossError {
    BalanceLossError::OtherRouter { loss, router, site: record.site.to_string() }
}

/// Refuses a coefficient that is no finite number of at least 0.
pub(crate) fn check_coefficient(field: &'static str, value: f64) -> Result<(), BalanceLossError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(BalanceLossError::Coefficient { field, value })
    }
}
