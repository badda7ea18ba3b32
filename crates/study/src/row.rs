use serde::{Deserialize, Deserializer, Serialize};

/// Method of the row that describes the untuned model.
pub const BASE: &str = "base";

/// One line of the results: a method tuned on an amount of data.
///
/// A number that is not finite, such as the loss of a run that diverged, is stored as `null` and read as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRow {
    /// Name of the method, or [`BASE`].
    pub method: String,
    /// Samples it was tuned on; 0 for the untuned model.
    pub samples: usize,
    /// Parameters that the tuning changed.
    pub trainable_parameters: usize,
    /// Share of the knowledge questions answered exactly.
    #[serde(deserialize_with = "number")]
    pub knowledge: f64,
    /// Share of the tasks answered exactly.
    #[serde(deserialize_with = "number")]
    pub tasks: f64,
    /// Mean negative log-likelihood per token of general text, in nats.
    #[serde(deserialize_with = "number")]
    pub text_loss: f64,
    /// Seconds the tuning took.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
}

/// Reads a number that is not finite, which JSON does not have, from `null`.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
