use burn::tensor::{DType, Device, Tensor, TensorData};
use fused_ops::RotaryTables;

use crate::DecoderConfig;

/// Rotary position embeddings of the positions of one pass, shared by all layers.
///
/// Position `p` turns pair `i` of a head by `p * f_i`.
/// Source: Su et al., arXiv 2104.09864, equation 34.
#[derive(Debug)]
pub(super) struct RopeTables {
    /// For queries: times the scale of attention, over the soft cap of its scores.
    pub(super) query: RotaryTables,
    /// For keys.
    pub(super) key: RotaryTables,
}

impl RopeTables {
    /// The tables of positions: those of a row, or of all rows one after the other.
    pub(super) fn new(
        config: &DecoderConfig,
        positions: impl ExactSizeIterator<Item = usize>,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let head_dim = config.head_dim;
        let half = head_dim / 2;
        let frequencies = config.rope.inverse_frequencies(head_dim);
        let len = positions.len();
        let mut cos = vec![0.0f32; len * head_dim];
        let mut sin = vec![0.0f32; len * head_dim];
        for (row, position) in positions.enumerate() {
            let row = row * head_dim;
            for (i, frequency) in frequencies.iter().enumerate() {
                let (s, c) = (position as f32 * frequency).sin_cos();
                (cos[row + i], cos[row + half + i]) = (c, c);
                (sin[row + i], sin[row + half + i]) = (s, s);
            }
        }
        let scale = config.attention_scale() / config.attn_logit_softcapping.unwrap_or(1.0);
        let table = |values: &[f32], scale: f32| {
            let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
            let data = TensorData::new(values, [len, head_dim]);
            Tensor::<2>::from_data(data, (device, DType::F32)).cast(dtype)
        };
        let tables = |scale| RotaryTables::new(table(&cos, scale), table(&sin, scale));
        Self { query: tables(scale as f32), key: tables(1.0) }
    }
}
