use serde::{Deserialize, Serialize};

/// Whether experts compute for the tokens that did not select them.
///
/// The results are equal up to rounding, with one exception: the dense execution also gives the
/// weights of experts that were not selected a gradient, which routers multiply by zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Execution {
    /// Whichever was measured to be faster for the sizes, the backend and the selection at hand.
    #[default]
    Auto,
    /// Every expert for every token, in two products.
    Dense,
    /// Each expert for the tokens that selected it, where the router says which, and the kernels
    /// of `fused-ops` run (f32 on Flex); elsewhere as `Dense`.
    Sparse,
}
