use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use fused_ops::linear;
use moe_adapter::{TokenModule, TokenRows};

/// An output head with weights of its own, `H -> V`; some tokens may have rows of their own that train.
#[derive(Module, Debug)]
pub struct OutputHead {
    /// The linear.
    pub linear: Linear,
    /// The rows that some tokens have in place of those of the weight.
    pub token_adapter: Option<TokenRows>,
}

impl OutputHead {
    pub(super) fn new(linear: Linear) -> Self {
        Self { linear, token_adapter: None }
    }

    /// `[.., H]` to `[.., V]`.
    pub fn forward<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let bias = self.linear.bias.as_ref().map(|bias| bias.val());
        let logits = linear(hidden.clone(), self.linear.weight.val(), bias);
        match &self.token_adapter {
            Some(rows) => rows.logits(hidden, logits),
            None => logits,
        }
    }

    pub(super) fn tokens(&mut self) -> TokenModule<'_> {
        let Self { linear, token_adapter } = self;
        TokenModule { weight: &mut linear.weight, by_column: true, rows: token_adapter }
    }
}
