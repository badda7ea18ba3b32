use serde::{Deserialize, Serialize};

/// What one router decides for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterScope {
    /// Each adapted linear has a router.
    #[default]
    Projection,
    /// Each feed-forward block has one router, and its experts are whole blocks (MixLoRA, arXiv
    /// 2404.15159). Adapted linears outside of feed-forward blocks carry a single adapter of the
    /// same rank.
    FeedForward,
    /// The model has one router, an [`XLoraClassifier`](router::XLoraClassifier), which decides for
    /// all adapted linears from the hidden states of a first pass (X-LoRA, arXiv 2402.07148).
    Model,
}

/// Which biases of the base model are trained, as PEFT's `bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BiasTraining {
    /// None.
    #[default]
    None,
    /// All of them.
    All,
    /// Those of adapted linears.
    LoraOnly,
}
