use crate::WeightDType;

/// How a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The element type of the weights in memory.
    pub dtype: WeightDType,
}
