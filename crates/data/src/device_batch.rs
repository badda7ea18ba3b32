use burn::tensor::{Bool, Int, Tensor};
use model_zoo::{Documents, TokenInput};

use super::Targets;

/// A [`Batch`](super::Batch) on a device.
#[derive(Debug, Clone)]
pub struct DeviceBatch {
    /// Token ids `[B, S]`.
    pub input_ids: Tensor<2, Int>,
    /// `[B, S]`, true for a token, false for padding; `None` when nothing is padding.
    pub token_mask: Option<Tensor<2, Bool>>,
    /// The samples of each row, where any row holds several.
    pub documents: Option<Documents>,
    /// Task type of each sample `[B]`; `None` when the samples have none.
    pub task_types: Option<Tensor<1, Int>>,
    /// [`Targets::positions`] `[T]`: select these rows of the hidden states, as `[B * S, D]`,
    /// before the output head, so that logits exist for targets only.
    pub target_positions: Tensor<1, Int>,
    /// [`Targets::token_ids`] `[T]`.
    pub target_ids: Tensor<1, Int>,
    /// The number of real tokens.
    pub token_count: usize,
    /// The targets on the host.
    pub targets: Targets,
}

impl DeviceBatch {
    /// What a model reads of it.
    pub fn input(&self) -> TokenInput {
        let mut input = TokenInput::new(self.input_ids.clone());
        if let Some(mask) = &self.token_mask {
            input = input.with_attention_mask(mask.clone());
        }
        match &self.documents {
            Some(documents) => input.with_documents(documents.clone()),
            None => input,
        }
    }
}
