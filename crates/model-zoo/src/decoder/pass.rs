use burn::tensor::{DType, Device, Tensor};
use fused_ops::AttentionMask;

use super::mask::Visible;
use super::rope::RopeTables;
use crate::placement::Placement;
use crate::{DecoderConfig, KvCache, TokenInput};

/// What all layers of one forward pass share: the angles of positions, and which keys are seen.
#[derive(Debug)]
pub struct LayerPass {
    pub(super) rope: RopeTables,
    /// What layers without a sliding window see.
    pub(super) full: Visible,
    /// What layers with one see.
    pub(super) sliding: Visible,
}

impl LayerPass {
    /// A pass whose positions are counted along the rows. They count padding too: only their
    /// differences matter to rotary embeddings and windows.
    pub(super) fn counted(
        config: &DecoderConfig,
        input: &TokenInput,
        cache: Option<&mut KvCache>,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let [batch_size, len] = input.input_ids.dims();
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let padding = input.attention_mask.clone().map(AttentionMask::padding_bias);
        let padding = match cache {
            Some(cache) => cache.extended_padding(batch_size, len, padding, device),
            None => padding,
        };
        let full = Visible::new(len, past, None, padding.clone());
        Self {
            rope: RopeTables::new(config, past..past + len, device, dtype),
            sliding: match config.sliding_window {
                Some(window) if window < past + len => {
                    Visible::new(len, past, Some(window), padding)
                }
                _ => full.clone(),
            },
            full,
        }
    }

    /// A pass whose positions the host knows one by one.
    pub(super) fn placed(
        config: &DecoderConfig,
        placement: &Placement,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let places = placement.new_places();
        let full = Visible::placed(placement, None, device);
        let longest = places.iter().max().map_or(0, |place| place + 1);
        Self {
            rope: RopeTables::new(config, places.into_iter(), device, dtype),
            sliding: match config.sliding_window {
                Some(window) if window < longest => {
                    Visible::placed(placement, Some(window), device)
                }
                _ => full.clone(),
            },
            full,
        }
    }
}

/// `cap * tanh(x / cap)`: nearly `x` where it is small, never beyond `cap`.
/// Source: Gemma Team, arXiv 2408.00118, section 2.
pub(super) fn soft_cap<const D: usize>(x: Tensor<D>, cap: f64) -> Tensor<D> {
    (x / cap).tanh() * cap
}
