use burn::module::{Module, Param};
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};
use fused_ops::{matmul, sent};

/// Rows that some tokens have in place of those of an embedding or an output head, and that are
/// trained where the rest is frozen: the frozen matrix needs no gradient and no state of an optimiser.
#[derive(Module, Debug)]
pub struct TokenRows {
    /// The rows, `[N, H]`. They replace those of the matrix, though PEFT calls them so.
    pub trainable_tokens_delta: Param<Tensor<2>>,
    #[module(skip)]
    token_indices: Vec<usize>,
}

impl TokenRows {
    /// Trainable rows, `[N, H]`, of `N` different tokens, held in f32.
    pub fn new(rows: Tensor<2>, token_indices: Vec<usize>) -> Self {
        let rows = Param::from_tensor(rows.cast(DType::F32)).set_require_grad(true);
        Self { trainable_tokens_delta: rows, token_indices }
    }

    /// The tokens, in the order of the rows.
    pub fn token_indices(&self) -> &[usize] {
        &self.token_indices
    }

    /// The embeddings of tokens, with those that have rows of their own replaced.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[B, S]`
    /// - `embeddings`: `[B, S, H]`, those of the frozen matrix
    /// - result: `[B, S, H]`
    pub fn embed(&self, input_ids: Tensor<2, Int>, embeddings: Tensor<3>) -> Tensor<3> {
        let [batch, seq, hidden] = embeddings.dims();
        let tokens = self.indices(&embeddings.device()).unsqueeze_dim::<2>(0);
        // A one in each row of what is replaced, so that products take a row as it is.
        let chosen = input_ids.reshape([batch * seq, 1]).equal(tokens).float().cast(DType::F32);
        let keep = chosen.clone().sum_dim(1).neg() + 1.0;
        let dtype = embeddings.dtype();
        let own = matmul(chosen, self.trainable_tokens_delta.val());
        let kept = embeddings.reshape([batch * seq, hidden]) * keep.cast(dtype);
        (kept + own.cast(dtype)).reshape([batch, seq, hidden])
    }

    /// Logits, with those of the tokens that have rows of their own replaced: `z_t = h . row_t`.
    ///
    /// # Shapes
    ///
    /// - `hidden`: `[.., H]`
    /// - `logits`: `[.., V]`, those of the frozen matrix
    /// - result: `[.., V]`
    pub fn logits<const D: usize>(&self, hidden: Tensor<D>, logits: Tensor<D>) -> Tensor<D> {
        let shape = logits.dims();
        let (vocab, size) = (shape[D - 1], hidden.dims()[D - 1]);
        let count = shape.iter().product::<usize>() / vocab.max(1);
        let rows = self.trainable_tokens_delta.val().cast(hidden.dtype()).transpose();
        let own = matmul(hidden.reshape([count, size]), rows).cast(logits.dtype());
        let indices = self.indices(&logits.device());
        let logits = logits.reshape([count, vocab]);
        let change = own - logits.clone().select(1, indices.clone());
        logits.select_assign(1, indices, change, IndexingUpdateOp::Add).reshape(shape)
    }

    fn indices(&self, device: &Device) -> Tensor<1, Int> {
        let indices: Vec<i64> = self.token_indices.iter().map(|index| *index as i64).collect();
        let count = indices.len();
        Tensor::from_data(sent(TensorData::new(indices, [count])), device)
    }
}
