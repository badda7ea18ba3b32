use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::TokenInput;
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

    /// Makes room for so many more positions with the next one that is added, so that buffers need
    /// not grow step by step.
    pub fn reserve(&mut self, additional: usize) {
        for layer in &mut self.layers {
            layer.reserved = self.len + additional;
        }
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

    /// Makes the one sequence that was seen the beginning of a batch of `rows`.
    ///
    /// # Panics
    ///
    /// When more than one sequence was seen.
    pub fn repeat(&mut self, rows: usize) {
        let repeat = |buffer: Tensor<4>| {
            assert_eq!(buffer.dims()[0], 1, "repeat: a cache of one sequence");
            buffer.repeat_dim(0, rows)
        };
        for layer in &mut self.layers {
            layer.buffers = layer.buffers.take().map(|buffers| buffers.map(repeat));
        }
        self.padding = self.padding.take().map(|padding| padding.repeat_dim(0, rows));
        self.places = self.places.take().map(|places| vec![places[0].clone(); rows]);
    }

    /// Keeps only these sequences of the batch, in this order.
    pub fn select(&mut self, rows: &[usize], device: &Device) {
        let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let shape = [indices.len()];
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, shape), device);
        for layer in &mut self.layers {
            layer.buffers = layer
                .buffers
                .take()
                .map(|buffers| buffers.map(|buffer| buffer.select(0, indices.clone())));
        }
        self.padding = self.padding.take().map(|padding| padding.select(0, indices));
        self.places =
            self.places.take().map(|all| rows.iter().map(|row| all[*row].clone()).collect());
    }

    /// The rows of several caches in one, in the order given, without the padding between their
    /// tokens and with room for so many more.
    ///
    /// # Panics
    ///
    /// When the host does not know the places of one: it has padding that came as a mask.
    pub fn join(parts: Vec<(Self, Vec<usize>)>, room: usize) -> Self {
        // Of each row its part, its number there, and the ranges of its tokens.
        let mut rows = Vec::new();
        for (part, (cache, kept)) in parts.iter().enumerate() {
            rows.extend(kept.iter().map(|row| (part, *row, cache.ranges(*row))));
        }
        let len_of = |ranges: &[Range<usize>]| ranges.iter().map(Range::len).sum::<usize>();
        let lens: Vec<usize> = rows.iter().map(|(.., ranges)| len_of(ranges)).collect();
        let len = lens.iter().copied().max().unwrap_or(0);
        let capacity = (len + room).next_multiple_of(STEP);
        let place = |len_of: &usize| {
            let padding = std::iter::repeat_n(None, len - len_of);
            padding.chain((0..*len_of).map(Some)).collect()
        };
        let places = lens.iter().map(place).collect();
        let mut parts: Vec<_> = parts.into_iter().map(|(cache, _)| cache.layers).collect();
        let layers = (0..parts[0].len()).map(|layer| {
            let sources: Vec<_> = parts
                .iter_mut()
                .map(|layers| layers[layer].buffers.take().expect("a cache that saw tokens"))
                .collect();
            let buffers = [0, 1].map(|which| {
                let [_, heads, _, head_dim] = sources[0][which].dims();
                let like = (&sources[0][which].device(), sources[0][which].dtype());
                let mut buffer = Tensor::zeros([rows.len(), heads, capacity, head_dim], like);
                for (i, (part, row, ranges)) in rows.iter().enumerate() {
                    let mut at = len - lens[i];
                    for range in ranges {
                        let tokens = sources[*part][which].clone().slice([
                            *row..row + 1,
                            0..heads,
                            range.clone(),
                            0..head_dim,
                        ]);
                        let end = at + range.len();
                        buffer = buffer.slice_assign([i..i + 1, 0..heads, at..end], tokens);
                        at = end;
                    }
                }
                buffer
            });
            LayerCache { buffers: Some(buffers), len, reserved: capacity, shared: false }
        });
        let layers = layers.collect();
        Self { layers, len, padding: None, places: Some(places), shared: false }
    }

    /// The first `len` positions of the one sequence that was seen, which had no padding. They are
    /// shared with this cache, and copied when a position is added.
    ///
    /// # Panics
    ///
    /// When more than one sequence was seen, or fewer positions.
    pub fn beginning(&self, len: usize) -> Self {
        assert!(len <= self.len, "beginning: {len} of {} positions", self.len);
        let first = |buffer: &Tensor<4>| {
            assert_eq!(buffer.dims()[0], 1, "beginning: a cache of one sequence");
            buffer.clone().narrow(2, 0, len)
        };
        let layers = self.layers.iter().map(|layer| LayerCache {
            buffers: layer.buffers.as_ref().map(|buffers| [0, 1].map(|i| first(&buffers[i]))),
            len,
            ..LayerCache::default()
        });
        let places = self.places.as_ref().map(|places| vec![places[0][..len].to_vec()]);
        Self { layers: layers.collect(), len, padding: None, places, shared: false }
    }

    /// Puts a row of another cache in the place of one of this, at the end of what was seen;
    /// returns whether it fits, and leaves everything as it is where it does not.
    ///
    /// Where nothing else holds this cache, the other rows are not copied.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    pub fn put(&mut self, row: usize, other: &Self, other_row: usize) -> bool {
        let ranges = other.ranges(other_row);
        let count = ranges.iter().map(Range::len).sum::<usize>();
        if count > self.len || self.layers.iter().any(|layer| layer.buffers.is_none()) {
            return false;
        }
        let before = self.len - count;
        for (layer, from) in self.layers.iter_mut().zip(&other.layers) {
            let Some(from) = &from.buffers else { return false };
            let mut which = 0..2;
            layer.buffers = layer.buffers.take().map(|buffers| {
                buffers.map(|mut buffer| {
                    let from = &from[which.next().unwrap_or(0)];
                    let [_, heads, _, head_dim] = buffer.dims();
                    let mut at = before;
                    for range in &ranges {
                        let source =
                            [other_row..other_row + 1, 0..heads, range.clone(), 0..head_dim];
                        let end = at + range.len();
                        let place = [row..row + 1, 0..heads, at..end, 0..head_dim];
                        buffer = buffer.slice_assign(place, from.clone().slice(source));
                        at = end;
                    }
                    buffer
                })
            });
        }
        let places = std::iter::repeat_n(None, before).chain((0..count).map(Some)).collect();
        match &mut self.places {
            Some(all) => all[row] = places,
            None => {
                let mut all = vec![(0..self.len).map(Some).collect(); self.rows()];
                all[row] = places;
                self.places = Some(all);
            }
        }
        true
    }

    /// The number of sequences; 0 where none was seen.
    pub fn rows(&self) -> usize {
        let buffers = self.layers.first().and_then(|layer| layer.buffers.as_ref());
        buffers.map_or(0, |buffers| buffers[0].dims()[0])
    }

    /// The ranges of positions of a row that are not padding.
    fn ranges(&self, row: usize) -> Vec<Range<usize>> {
        match &self.places {
            Some(places) => ranges(&places[row]),
            None => {
                assert!(self.padding.is_none(), "a cache whose places are known");
                std::iter::once(0..self.len).collect()
            }
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

    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        assert!(index < self.layers.len(), "a cache that the model made, for all its passes");
        &mut self.layers[index]
    }

    /// Counts the positions that all layers have appended.
    pub(crate) fn advance(&mut self, new_len: usize) {
        if !self.shared {
            self.len += new_len;
        }
    }
}

/// The ranges of positions that are not padding.
fn ranges(places: &[Option<usize>]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (i, _) in places.iter().enumerate().filter(|(_, place)| place.is_some()) {
        match ranges.last_mut() {
            Some(range) if range.end == i => range.end = i + 1,
            _ => ranges.push(i..i + 1),
        }
    }
    ranges
}

/// The keys and values of one layer, `[B, heads, capacity, head_dim]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerCache {
    buffers: Option<[Tensor<4>; 2]>,
    len: usize,
    /// The capacity to have when the buffers grow.
    reserved: usize,
    shared: bool,
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
        let [old_keys, old_values] = self.with_room(buffers, start, end);
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

    /// The buffers, which hold `seen` positions, with a capacity of at least `len`. They come by
    /// value, because only a tensor with one owner is changed in place.
    fn with_room(&self, buffers: [Tensor<4>; 2], seen: usize, len: usize) -> [Tensor<4>; 2] {
        let [batch_size, heads, capacity, head_dim] = buffers[0].dims();
        if capacity >= len {
            return buffers;
        }
        let wanted = if self.reserved >= len { self.reserved } else { len.max(2 * seen) };
        let capacity = wanted.next_multiple_of(STEP);
        buffers.map(|buffer| {
            let like = (&buffer.device(), buffer.dtype());
            let empty = Tensor::<4>::zeros([batch_size, heads, capacity, head_dim], like);
            empty.slice_assign([0..batch_size, 0..heads, 0..seen], buffer.narrow(2, 0, seen))
        })
    }
}
