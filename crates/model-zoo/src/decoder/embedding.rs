use burn::module::{Module, Param};
use burn::tensor::module::embedding;
use burn::tensor::{Int, Tensor};
use moe_adapter::{TokenModule, TokenRows};

/// The embeddings of tokens, some of which may have rows of their own that train.
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// `[V, H]`.
    pub weight: Param<Tensor<2>>,
    /// The rows that some tokens have in place of those of the weight.
    pub token_adapter: Option<TokenRows>,
}

impl TokenEmbedding {
    pub(super) fn new(weight: Param<Tensor<2>>) -> Self {
        Self { weight, token_adapter: None }
    }

    /// `[B, S]` to `[B, S, H]`.
    pub fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        let x = embedding(self.weight.val(), input_ids.clone());
        match &self.token_adapter {
            Some(rows) => rows.embed(input_ids, x),
            None => x,
        }
    }

    pub(super) fn tokens(&mut self) -> TokenModule<'_> {
        let Self { weight, token_adapter } = self;
        TokenModule { weight, by_column: false, rows: token_adapter }
    }
}
