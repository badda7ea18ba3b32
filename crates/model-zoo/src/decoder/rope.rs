use burn::tensor::{DType, Device, Tensor, TensorData};
use fused_ops::{RotaryTables, rope_heads, sent};

use crate::{DecoderConfig, RopeConfig};

/// Rotary position embeddings of the positions of one pass, shared by all layers of a kind.
///
/// Position `p` turns pair `i` of a head by `p * f_i`.
/// Source: Su et al., arXiv 2104.09864, equation 34.
#[derive(Debug)]
pub(super) struct RopeTables {
    /// For queries: times the scale of attention, over the soft cap of its scores.
    query: RotaryTables,
    /// For keys.
    key: RotaryTables,
    /// The number of coordinates of a head that are turned.
    turned: usize,
    /// What the rest of a query is multiplied by.
    scale: f64,
}

/// The positions of a pass: those of a row, or of all rows one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) each: Vec<usize>,
    /// The length of the sequence that ends with this pass.
    pub(super) seq_len: usize,
}

impl RopeTables {
    /// The tables of a kind of layer; without `rope` nothing is turned.
    pub(super) fn new(
        config: &DecoderConfig,
        rope: Option<&RopeConfig>,
        positions: &Positions,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let (head_dim, max_positions) = (config.head_dim, config.max_position_embeddings);
        let (turned, frequencies, factor) = match rope {
            Some(rope) => (
                rope.rotary_dim(head_dim),
                rope.inverse_frequencies(head_dim, max_positions, positions.seq_len),
                rope.attention_factor(max_positions) as f32,
            ),
            None => (head_dim, vec![0.0; head_dim / 2], 1.0),
        };
        let half = turned / 2;
        let len = positions.each.len();
        let mut cos = vec![0.0f32; len * turned];
        let mut sin = vec![0.0f32; len * turned];
        for (row, position) in positions.each.iter().enumerate() {
            let row = row * turned;
            for (i, frequency) in frequencies.iter().enumerate() {
                let (s, c) = (*position as f32 * frequency).sin_cos();
                let (s, c) = (s * factor, c * factor);
                (cos[row + i], cos[row + half + i]) = (c, c);
                (sin[row + i], sin[row + half + i]) = (s, s);
            }
        }
        let scale = Self::query_scale(config);
        let table = |values: &[f32], scale: f32| {
            let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
            let data = TensorData::new(values, [len, turned]);
            Tensor::<2>::from_data(sent(data), (device, DType::F32)).cast(dtype)
        };
        let tables = |scale| RotaryTables::new(table(&cos, scale), table(&sin, scale));
        Self { query: tables(scale as f32), key: tables(1.0), turned, scale }
    }

    /// What queries are multiplied by.
    pub(super) fn query_scale(config: &DecoderConfig) -> f64 {
        config.attention_scale() / config.attn_logit_softcapping.unwrap_or(1.0)
    }

    /// Turns and scales queries, `[B, S, heads, head_dim]` to `[B, heads, S, head_dim]`.
    pub(super) fn queries(&self, x: Tensor<4>) -> Tensor<4> {
        self.turn(x, &self.query, Some(self.scale))
    }

    /// Turns keys, in the same shapes.
    pub(super) fn keys(&self, x: Tensor<4>) -> Tensor<4> {
        self.turn(x, &self.key, None)
    }

    fn turn(&self, x: Tensor<4>, tables: &RotaryTables, scale: Option<f64>) -> Tensor<4> {
        let [.., head_dim] = x.dims();
        if head_dim == self.turned {
            return rope_heads(x, tables);
        }
        let rest = x.clone().narrow(3, self.turned, head_dim - self.turned).swap_dims(1, 2);
        let rest = match scale {
            Some(scale) => rest * scale,
            None => rest,
        };
        Tensor::cat(vec![rope_heads(x.narrow(3, 0, self.turned), tables), rest], 3)
    }
}
