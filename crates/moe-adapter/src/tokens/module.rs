use burn::module::Param;
use burn::tensor::{DType, Tensor, TensorData};

use super::TokenRows;

/// A module of a model with a row for each token: its embeddings, or its output head.
pub struct TokenModule<'a> {
    /// `[V, H]`, or where `by_column` `[H, V]`.
    pub weight: &'a mut Param<Tensor<2>>,
    /// Whether the rows of tokens are columns in memory, as in a linear.
    pub by_column: bool,
    /// The rows that tokens have of their own.
    pub rows: &'a mut Option<TokenRows>,
}

impl TokenModule<'_> {
    /// The number of tokens, `V`.
    pub(crate) fn count(&self) -> usize {
        self.weight.lazy_shape()[usize::from(self.by_column)]
    }

    /// The size of a row, `H`.
    pub(crate) fn row_size(&self) -> usize {
        self.weight.lazy_shape()[usize::from(!self.by_column)]
    }

    /// The rows of some tokens, `[N, H]`.
    pub(crate) fn rows_of(&self, tokens: &[usize]) -> Tensor<2> {
        let weight = self.weight.val().detach();
        let count = tokens.len();
        let indices: Vec<i64> = tokens.iter().map(|index| *index as i64).collect();
        let indices = Tensor::from_data(TensorData::new(indices, [count]), &weight.device());
        match self.by_column {
            true => weight.select(1, indices).transpose(),
            false => weight.select(0, indices),
        }
    }

    /// Writes the rows that tokens have of their own into the weight, just as they are, and takes them
    /// off; returns whether there were any.
    pub(crate) fn merge(&mut self) -> bool {
        let Some(rows) = self.rows.take() else { return false };
        let (count, size) = (self.count(), self.row_size());
        let [row_step, column_step] = if self.by_column { [1, count] } else { [size, 1] };
        let own: Vec<f32> = rows.trainable_tokens_delta.val().into_data().iter().collect();
        let weight = self.weight.val();
        let (device, dtype, shape) = (weight.device(), weight.dtype(), weight.dims());
        let mut values: Vec<f32> = weight.cast(DType::F32).into_data().iter().collect();
        for (token, own) in rows.token_indices().iter().zip(own.chunks(size)) {
            for (i, value) in own.iter().enumerate() {
                values[token * row_step + i * column_step] = *value;
            }
        }
        let merged = Tensor::<2>::from_data(TensorData::new(values, shape), (&device, DType::F32));
        *self.weight = Param::from_tensor(merged.cast(dtype)).set_require_grad(false);
        true
    }
}
