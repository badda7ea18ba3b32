use burn::tensor::{DType, Device, Int, Tensor, TensorData};

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
}

impl KvCache {
    /// An empty cache.
    pub fn new(num_layers: usize) -> Self {
        Self { layers: vec![LayerCache::default(); num_layers], len: 0, padding: None }
    }

    /// The number of positions seen, padding included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
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
        self.padding = match (self.padding.take(), new) {
            (None, None) => None,
            (old, new) if self.len == 0 => old.or(new),
            (old, new) => {
                let old = old.unwrap_or_else(|| real(self.len));
                let new = new.unwrap_or_else(|| real(new_len));
                Some(Tensor::cat(vec![old, new], 1))
            }
        };
        self.padding.clone()
    }

    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }

    /// Counts the positions that all layers have appended.
    pub(crate) fn advance(&mut self, new_len: usize) {
        self.len += new_len;
    }
}

/// The keys and values of one layer, `[B, heads, capacity, head_dim]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct LayerCache {
    buffers: Option<[Tensor<4>; 2]>,
    len: usize,
}

impl LayerCache {
    /// Appends keys and values `[B, heads, S, head_dim]`, and returns all so far.
    pub(crate) fn append(&mut self, keys: Tensor<4>, values: Tensor<4>) -> [Tensor<4>; 2] {
        let [batch_size, heads, new_len, _] = keys.dims();
        let (start, end) = (self.len, self.len + new_len);
        let [old_keys, old_values] = self.take_room_for(end, &keys);
        let place = [0..batch_size, 0..heads, start..end];
        let all_keys = old_keys.slice_assign(place.clone(), keys.clone());
        let all_values = old_values.slice_assign(place, values.clone());
        self.len = end;
        self.buffers = Some([all_keys.clone(), all_values.clone()]);
        if start == 0 {
            [keys, values]
        } else {
            [all_keys.narrow(2, 0, end), all_values.narrow(2, 0, end)]
        }
    }

    /// The buffers, with a capacity of at least `len` positions. They are taken out, because
    /// only a tensor with one owner is changed in place.
    fn take_room_for(&mut self, len: usize, like: &Tensor<4>) -> [Tensor<4>; 2] {
        let [batch_size, heads, _, head_dim] = like.dims();
        let (device, dtype) = (like.device(), like.dtype());
        let capacity = len.max(2 * self.len).next_multiple_of(STEP);
        let empty =
            || Tensor::<4>::zeros([batch_size, heads, capacity, head_dim], (&device, dtype));
        match self.buffers.take() {
            None => [empty(), empty()],
            Some(buffers) if buffers[0].dims()[2] >= len => buffers,
            Some(buffers) => buffers.map(|buffer| {
                let seen = buffer.narrow(2, 0, self.len);
                empty().slice_assign([0..batch_size, 0..heads, 0..self.len], seen)
            }),
        }
    }
}
