use burn::tensor::{Device, Tensor};

use crate::BatchContext;

impl BatchContext {
    /// `[B, S]`, 1 for a real token and 0 for padding, on `device` and without gradients.
    pub(crate) fn real_tokens(&self, device: &Device) -> Tensor<2> {
        match &self.token_mask {
            Some(mask) => mask.clone().float().without_autodiff(),
            None => Tensor::ones([self.batch_size, self.seq_len], device).without_autodiff(),
        }
    }

    /// The mean of each sample's real tokens, `[B, I]`; 0 for a sample that has none.
    pub(crate) fn sample_means(&self, tokens: Tensor<2>) -> Tensor<2> {
        let [_, width] = tokens.dims();
        let tokens = tokens.reshape([self.batch_size, self.seq_len, width]);
        if self.token_mask.is_none() {
            return tokens.mean_dim(1).squeeze_dim(1);
        }
        let real = self.real_tokens(&tokens.device());
        let share = real.clone() / real.sum_dim(1).clamp_min(1.0);
        // Not a product with the mask: padding may hold anything, and 0 * inf is not 0.
        let padding = share.clone().equal_scalar(0.0).unsqueeze_dim::<3>(2).expand(tokens.dims());
        let tokens = tokens.mask_fill(padding, 0.0);
        (tokens * share.unsqueeze_dim(2)).sum_dim(1).squeeze_dim(1)
    }
}

/// Gives each of the tokens of a row the row's values: `[R, n]` to `[R * tokens, n]`.
pub(crate) fn spread(rows: Tensor<2>, tokens: usize) -> Tensor<2> {
    let [count, width] = rows.dims();
    if tokens == 1 {
        return rows;
    }
    rows.unsqueeze_dim::<3>(1).expand([count, tokens, width]).reshape([count * tokens, width])
}
