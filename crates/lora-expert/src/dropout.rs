use serde::{Deserialize, Serialize};

/// Whether the experts of a layer see the same dropout mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutMask {
    /// One mask for all experts of a layer.
    #[default]
    Shared,
    /// A fresh mask for each expert, as in the released code of LoRAMoE. The first product can
    /// then no longer be shared by the experts.
    PerExpert,
}
