use burn::tensor::{DType, Device, Tensor, TensorData};
use fused_ops::{AttentionMask, Causal, Documents, HIDDEN};

use crate::placement::Placement;

/// The keys that the new positions of a pass see.
#[derive(Debug, Clone)]
pub(super) struct Visible {
    /// No new position sees a key before this one.
    pub(super) first: usize,
    /// What of the keys from `first` on is seen.
    pub(super) mask: AttentionMask,
    /// How many keys a position sees at most, where rows lie in blocks.
    pub(super) window: Option<usize>,
}

impl Visible {
    /// What `new_len` positions after `past_len` others see: nothing ahead, no padding, and with a
    /// `window` only so many positions, themselves included.
    ///
    /// `padding` is added to the scores of all keys, `[B, past_len + new_len]`.
    pub(super) fn new(
        new_len: usize,
        past_len: usize,
        window: Option<usize>,
        padding: Option<Tensor<2>>,
    ) -> Self {
        let total = past_len + new_len;
        let window = window.filter(|window| *window < total);
        let first = window.map_or(0, |window| (past_len + 1).saturating_sub(window));
        let causal = Causal { offset: past_len - first, window };
        let padding = padding.map(|padding| padding.narrow(1, first, total - first));
        Self { first, mask: AttentionMask::new(Some(causal), padding), window: None }
    }

    /// What the positions of packed rows see: of their own sequence nothing ahead, and with a
    /// `window` only so many positions, themselves included.
    pub(super) fn packed(documents: &Documents, window: Option<usize>) -> Self {
        let mask = AttentionMask::new(Some(Causal { offset: 0, window }), None);
        Self { first: 0, mask: mask.within(documents.clone()), window: None }
    }

    /// What the new positions of a placement see, with a `window` only so many positions,
    /// themselves included.
    pub(super) fn placed(placement: &Placement, window: Option<usize>, device: &Device) -> Self {
        let mask = placement.bias(window, HIDDEN as f32).map(|bias| {
            let [rows, new_len, keys] = placement.dims();
            let data = TensorData::new(bias, [rows, 1, new_len, keys]);
            Tensor::from_data(data, (device, DType::F32))
        });
        Self { first: 0, mask: AttentionMask::from_bias(mask), window: None }
    }

    /// What positions of rows in blocks see: all of their own row before them, with a `window` only
    /// so many positions, themselves included.
    pub(super) fn paged(window: Option<usize>) -> Self {
        Self { first: 0, mask: AttentionMask::default(), window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which keys each new position sees, of all.
    fn seen(new_len: usize, past_len: usize, window: Option<usize>) -> Vec<Vec<usize>> {
        let visible = Visible::new(new_len, past_len, window, None);
        let keys = past_len + new_len - visible.first;
        let bias = match visible.mask.bias(new_len, keys, &Device::flex()) {
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
