use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use crate::placement::Placement;

/// Added to the scores of positions that must not be seen.
///
/// Finite, so that a row without any visible position gives a uniform distribution and not NaN;
/// and such that the sum of two is finite too.
const HIDDEN: f64 = -1e30;

/// What is added to the scores of keys, `[B, S]`; `mask` is true for a real token.
pub(super) fn padding_bias(mask: Tensor<2, Bool>) -> Tensor<2> {
    Tensor::zeros(mask.shape(), (&mask.device(), DType::F32)).mask_fill(mask.bool_not(), HIDDEN)
}

/// The keys that the new positions of a pass see.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    /// No new position sees a key before this one.
    pub(super) first: usize,
    /// Added to attention scores `[B, heads, new_len, keys from first on]`, in f32: 0 where a
    /// position is seen, about -1e30 where it is not. Broadcasts over heads, and over the batch
    /// where nothing is padding. `None` when everything is seen.
    pub(super) mask: Option<Tensor<4>>,
}

impl Visible {
    /// What `new_len` positions after `past_len` others see: nothing ahead, no padding, and with a
    /// `window` only so many positions, themselves included.
    ///
    /// `padding` is the [`padding_bias`] of all positions.
    pub(super) fn new(
        new_len: usize,
        past_len: usize,
        window: Option<usize>,
        padding: Option<Tensor<2>>,
        device: &Device,
    ) -> Self {
        let total = past_len + new_len;
        let window = window.filter(|window| *window < total);
        let first = window.map_or(0, |window| (past_len + 1).saturating_sub(window));
        let keys = total - first;
        let shape = [new_len, keys];
        let offset = (past_len - first) as i64;
        let causal = (new_len > 1).then(|| {
            let ahead = Tensor::<2, Bool>::tril_mask(shape, offset, device);
            let bias = Tensor::<2>::zeros(shape, (device, DType::F32)).mask_fill(ahead, HIDDEN);
            let bias = match window {
                Some(window) => {
                    let offset = offset + 1 - window as i64;
                    bias.mask_fill(Tensor::<2, Bool>::triu_mask(shape, offset, device), HIDDEN)
                }
                None => bias,
            };
            bias.reshape([1, 1, new_len, keys])
        });
        let padding =
            padding.map(|padding| padding.narrow(1, first, keys).unsqueeze_dims::<4>(&[1, 2]));
        let mask = match (causal, padding) {
            (Some(causal), Some(padding)) => Some(causal + padding),
            (causal, padding) => causal.or(padding),
        };
        Self { first, mask }
    }

    /// What the new positions of a placement see, with a `window` only so many positions,
    /// themselves included.
    pub(super) fn placed(placement: &Placement, window: Option<usize>, device: &Device) -> Self {
        let mask = placement.bias(window, HIDDEN as f32).map(|bias| {
            let [rows, new_len, keys] = placement.dims();
            let data = TensorData::new(bias, [rows, 1, new_len, keys]);
            Tensor::from_data(data, (device, DType::F32))
        });
        Self { first: 0, mask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which keys each new position sees, of all.
    fn seen(new_len: usize, past_len: usize, window: Option<usize>) -> Vec<Vec<usize>> {
        let visible = Visible::new(new_len, past_len, window, None, &Device::flex());
        let keys = past_len + new_len - visible.first;
        let bias = match visible.mask {
            Some(mask) => mask.into_data().try_to_vec::<f32>().unwrap(),
            None => vec![0.0; new_len * keys],
        };
        let rows = bias.chunks(keys);
        rows.map(|row| (0..keys).filter(|i| row[*i] == 0.0).map(|i| i + visible.first).collect())
            .collect()
    }

    #[test]
    fn positions_see_a_window_of_themselves_and_those_before() {
        for window in [None, Some(1), Some(3), Some(5), Some(100)] {
            for (new_len, past_len) in [(1, 0), (7, 0), (1, 6), (4, 3), (2, 9)] {
                let expected: Vec<Vec<usize>> = (past_len..past_len + new_len)
                    .map(|at: usize| {
                        ((at + 1).saturating_sub(window.unwrap_or(usize::MAX))..=at).collect()
                    })
                    .collect();
                assert_eq!(seen(new_len, past_len, window), expected, "{window:?} {past_len}");
            }
        }
    }
}
