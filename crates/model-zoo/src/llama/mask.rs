use burn::tensor::{Bool, DType, Device, Tensor};

/// Added to the scores of positions that must not be seen.
///
/// Finite, so that a row without any visible position gives a uniform distribution and not NaN;
/// and such that the sum of two is finite too.
const HIDDEN: f64 = -1e30;

/// What is added to the scores of keys, `[B, S]`; `mask` is true for a real token.
pub(super) fn padding_bias(mask: Tensor<2, Bool>) -> Tensor<2> {
    Tensor::zeros(mask.shape(), (&mask.device(), DType::F32)).mask_fill(mask.bool_not(), HIDDEN)
}

/// What is added to attention scores `[B, heads, new_len, past_len + new_len]`: 0 where a position
/// is seen, about -1e30 where it lies ahead or is padding. `None` when everything is seen.
///
/// `padding` is the [`padding_bias`] of all positions. The result is f32 and broadcasts over
/// heads, and over the batch where nothing is padding.
pub(super) fn attention_mask(
    new_len: usize,
    past_len: usize,
    padding: Option<Tensor<2>>,
    device: &Device,
) -> Option<Tensor<4>> {
    let total = past_len + new_len;
    let causal = (new_len > 1).then(|| {
        let ahead = Tensor::<2, Bool>::tril_mask([new_len, total], past_len as i64, device);
        Tensor::<2>::zeros([new_len, total], (device, DType::F32))
            .mask_fill(ahead, HIDDEN)
            .reshape([1, 1, new_len, total])
    });
    let padding = padding.map(|padding| padding.unsqueeze_dims::<4>(&[1, 2]));
    match (causal, padding) {
        (Some(causal), Some(padding)) => Some(causal + padding),
        (causal, padding) => causal.or(padding),
    }
}
