use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor};
use fused_ops::{AttentionMask, Documents, PagedRow};

use super::mask::Visible;
use super::rope::{Positions, RopeTables};
use super::rope_memory::RopeMemory;
use crate::placement::Placement;
use crate::{DecoderConfig, KvCache, TokenInput};

/// What all layers of one forward pass share: the angles of positions, and which keys are seen.
#[derive(Debug)]
pub struct LayerPass {
    rope: Arc<RopeTables>,
    /// The angles of layers with a sliding window, where they are others.
    local_rope: Option<Arc<RopeTables>>,
    /// Those of layers without rotary embeddings, where there are any.
    unrotated: Option<Arc<RopeTables>>,
    /// What layers without a sliding window see.
    full: Visible,
    /// What layers with one see.
    sliding: Visible,
}

/// Which parts of a pass a layer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LayerKind {
    /// Whether attention is limited to a sliding window.
    pub(super) slides: bool,
    /// Whether queries and keys are rotated.
    pub(super) rotates: bool,
}

impl LayerPass {
    /// A pass whose positions are counted along the rows. They count padding too: only their
    /// differences matter to rotary embeddings and windows.
    pub(super) fn counted(
        config: &DecoderConfig,
        memory: &RopeMemory,
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
        let sliding = match config.sliding_window {
            Some(window) if window < past + len => Visible::new(len, past, Some(window), padding),
            _ => full.clone(),
        };
        let positions = Positions { each: (past..past + len).collect(), seq_len: past + len };
        Self::new(config, memory, positions, [full, sliding], device, dtype)
    }

    /// A pass whose positions the host knows one by one.
    pub(super) fn placed(
        config: &DecoderConfig,
        memory: &RopeMemory,
        placement: &Placement,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let each = placement.new_places();
        let seq_len = each.iter().max().map_or(0, |place| place + 1);
        let full = Visible::placed(placement, None, device);
        let sliding = match config.sliding_window {
            Some(window) if window < seq_len => Visible::placed(placement, Some(window), device),
            _ => full.clone(),
        };
        Self::new(config, memory, Positions { each, seq_len }, [full, sliding], device, dtype)
    }

    /// A pass over rows that hold several sequences, whose positions count from the start of each.
    /// Padding behind them counts as one more, which no other sees.
    pub(super) fn packed(
        config: &DecoderConfig,
        memory: &RopeMemory,
        documents: &Documents,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let each = documents.places();
        let seq_len = each.iter().max().map_or(0, |place| place + 1);
        let full = Visible::packed(documents, None);
        let sliding = match config.sliding_window {
            Some(window) if window < seq_len => Visible::packed(documents, Some(window)),
            _ => full.clone(),
        };
        Self::new(config, memory, Positions { each, seq_len }, [full, sliding], device, dtype)
    }

    /// A pass over rows in blocks, whose positions count along each.
    pub(super) fn paged(
        config: &DecoderConfig,
        memory: &RopeMemory,
        rows: &[PagedRow],
        device: &Device,
        dtype: DType,
    ) -> Self {
        let each = rows.iter().flat_map(|row| row.past..row.past + row.new).collect();
        let seq_len = rows.iter().map(|row| row.past + row.new).max().unwrap_or(0);
        let seen = [Visible::paged(None), Visible::paged(config.sliding_window)];
        Self::new(config, memory, Positions { each, seq_len }, seen, device, dtype)
    }

    fn new(
        config: &DecoderConfig,
        memory: &RopeMemory,
        positions: Positions,
        [full, sliding]: [Visible; 2],
        device: &Device,
        dtype: DType,
    ) -> Self {
        let tables = |rope| memory.tables(config, rope, &positions, device, dtype);
        Self {
            rope: tables(Some(&config.rope)),
            local_rope: config.local_rope.as_ref().map(|rope| tables(Some(rope))),
            unrotated: (!config.unrotated_layers.is_empty()).then(|| tables(None)),
            full,
            sliding,
        }
    }

    /// What a layer of a kind turns queries and keys by.
    pub(super) fn rope(&self, kind: LayerKind) -> &RopeTables {
        let own = match kind {
            LayerKind { rotates: false, .. } => &self.unrotated,
            LayerKind { slides: true, .. } => &self.local_rope,
            _ => &None,
        };
        own.as_ref().unwrap_or(&self.rope)
    }

    /// What a layer of a kind sees.
    pub(super) fn visible(&self, kind: LayerKind) -> &Visible {
        if kind.slides { &self.sliding } else { &self.full }
    }
}

/// `cap * tanh(x / cap)`: nearly `x` where it is small, never beyond `cap`.
/// Source: Gemma Team, arXiv 2408.00118, section 2.
pub(super) fn soft_cap<const D: usize>(x: Tensor<D>, cap: f64) -> Tensor<D> {
    (x / cap).tanh() * cap
}
