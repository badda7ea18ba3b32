use crate::WeightDType;

/// How a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The element type of the weights in memory.
    pub dtype: WeightDType,
    /// Loads `qkv_proj` and `gate_up_proj` (Phi 3) as the linears that they are made of, so that
    /// adapters target `q_proj`, `gate_proj` and so on, and blocks can have one router.
    pub split_fused: bool,
}
