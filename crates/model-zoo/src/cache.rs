use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor};
use fused_ops::PagedRow;

use crate::TokenInput;
use crate::paged::PagedLayer;
use crate::placement::Placement;

/// Buffers grow in steps of at least so many positions.
const STEP: usize = 64;

/// The keys and values of the tokens that a decoder has seen, so that a pass needs only new ones.
///
/// Belongs to one batch of sequences. Which positions are padding is remembered too.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
    /// `[B, len]`, what is added to the attention scores of each position: 0 for a real token.
    /// `None` when no position is padding.
    padding: Option<Tensor<2>>,
    /// Of each row, the place of each position in its sequence (`None` for padding): where the
    /// host knows them, which it then does of all.
    places: Option<Vec<Vec<Option<usize>>>>,
    /// Whether it is a beginning that passes read and leave as it is.
    shared: bool,
}

impl KvCache {
    /// An empty cache.
    pub fn new(num_layers: usize) -> Self {
        let layers = vec![LayerCache::default(); num_layers];
        Self { layers, len: 0, padding: None, places: None, shared: false }
    }

    /// An empty cache for a model that makes two passes over every token: the first has keys and
    /// values of its own.
    pub fn with_first_pass(num_layers: usize) -> Self {
        Self::new(2 * num_layers)
    }

    /// The number of positions seen, padding included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes the one sequence that was seen the beginning of every row of the passes to come, which
    /// may have any number of rows and are not remembered.
    ///
    /// # Panics
    ///
    /// When more than one sequence was seen.
    pub fn share(&mut self) {
        self.shared = true;
        for layer in &mut self.layers {
            let rows = layer.buffers.as_ref().map_or(1, |buffers| buffers[0].dims()[0]);
            assert_eq!(rows, 1, "share: a cache of one sequence");
            layer.shared = true;
        }
    }

    /// The placement of a pass that adds `input`; `None` where positions are counted along the
    /// rows.
    pub(crate) fn place(&mut self, input: &TokenInput) -> Option<Placement> {
        if input.links.is_none() && self.places.is_none() {
            return None;
        }
        assert!(self.padding.is_none(), "rows of trees after padding that the host does not know");
        let [rows, _] = input.input_ids.dims();
        let counted = || vec![(0..self.len).map(Some).collect(); rows];
        let placement = match &self.places {
            Some(past) => Placement::new(input, past),
            None => Placement::new(input, &counted()),
        };
        if !self.shared {
            self.places = Some(placement.rows().map(<[_]>::to_vec).collect());
        }
        Some(placement)
    }

    /// The padding of everything seen and of `new_len` more positions, whose padding is `new`.
    pub(crate) fn extended_padding(
        &mut self,
        batch_size: usize,
        new_len: usize,
        new: Option<Tensor<2>>,
        device: &Device,
    ) -> Option<Tensor<2>> {
        let real = |len| Tensor::<2>::zeros([batch_size, len], (device, DType::F32));
        let old = if self.shared { self.padding.clone() } else { self.padding.take() };
        let padding = match (old, new) {
            (None, None) => None,
            (old, new) if self.len == 0 => old.or(new),
            (old, new) => {
                let old = old.unwrap_or_else(|| real(self.len));
                let new = new.unwrap_or_else(|| real(new_len));
                Some(Tensor::cat(vec![old, new], 1))
            }
        };
        if !self.shared {
            self.padding = padding.clone();
        }
        padding
    }

    /// The cache for rows whose keys and values lie in blocks.
    pub(crate) fn into_paged(mut self) -> Self {
        self.layers.iter_mut().for_each(|layer| layer.paged = Some(PagedLayer::default()));
        self
    }

    /// The layers of a cache of blocks; none of another.
    pub(crate) fn paged_layers(&mut self) -> impl Iterator<Item = &mut PagedLayer> {
        self.layers.iter_mut().filter_map(|layer| layer.paged.as_mut())
    }

    /// The rows of the pass that runs, in a cache of blocks.
    pub(crate) fn paged_rows(&mut self) -> Option<Arc<[PagedRow]>> {
        self.paged_layers().next().map(|layer| layer.rows())
    }

    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        assert!(index < self.layers.len(), "a cache that the model made, for all its passes");
        &mut self.layers[index]
    }

    /// Counts the positions that all layers have appended.
    pub(crate) fn advance(&mut self, new_len: usize) {
        if !self.shared && self.paged_layers().next().is_none() {
            self.len += new_len;
        }
    }
}

/// The keys and values of one layer, `[B, heads, capacity, head_dim]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerCache {
    buffers: Option<[Tensor<4>; 2]>,
    len: usize,
    shared: bool,
    /// In place of the buffers, where rows lie in blocks.
    pub(crate) paged: Option<PagedLayer>,
}

impl LayerCache {
    /// Appends keys and values `[B, heads, S, head_dim]`, and returns all so far.
    pub(crate) fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> [Tensor<4>; 2] {
        let [batch_size, heads, new_len, _] = keys.dims();
        if self.shared {
            return self.after_shared([keys, values]);
        }
        let (start, end) = (self.len, self.len + new_len);
        self.len = end;
        // Many caches see one pass only, so the first costs no copy.
        let Some(buffers) = self.buffers.take() else {
            self.buffers = Some([keys.clone(), values.clone()]);
            return [keys, values];
        };
        let place = [0..batch_size, 0..heads, start..end];
        let [old_keys, old_values] = with_room(buffers, start, end);
        let all_keys = old_keys.slice_assign(place.clone(), keys);
        let all_values = old_values.slice_assign(place, values);
        self.buffers = Some([all_keys.clone(), all_values.clone()]);
        [all_keys.narrow(2, 0, end), all_values.narrow(2, 0, end)]
    }

    /// The shared beginning before each row of `new`.
    fn after_shared(&self, new: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let Some(buffers) = &self.buffers else { return new };
        let mut buffers = buffers.iter();
        new.map(|new| match buffers.next() {
            Some(buffer) => {
                let [rows, heads, _, head_dim] = new.dims();
                let start = buffer.clone().narrow(2, 0, self.len);
                Tensor::cat(vec![start.expand([rows, heads, self.len, head_dim]), new], 2)
            }
            None => new,
        })
    }
}

/// The buffers, which hold `seen` positions, with a capacity of at least `len`. They come by
/// value, because only a tensor with one owner is changed in place.
fn with_room(buffers: [Tensor<4>; 2], seen: usize, len: usize) -> [Tensor<4>; 2] {
    let [batch_size, heads, capacity, head_dim] = buffers[0].dims();
    if capacity >= len {
        return buffers;
    }
    let capacity = len.max(2 * seen).next_multiple_of(STEP);
    buffers.map(|buffer| {
        let like = (&buffer.device(), buffer.dtype());
        let empty = Tensor::<4>::zeros([batch_size, heads, capacity, head_dim], like);
        empty.slice_assign([0..batch_size, 0..heads, 0..seen], buffer.narrow(2, 0, seen))
    })
}
