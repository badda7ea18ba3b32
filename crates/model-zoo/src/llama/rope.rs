use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::LlamaConfig;

/// Rotary position embeddings of the positions of one pass, shared by all layers.
///
/// Coordinates `i` and `i + d/2` of a head of size `d` form a pair (as Hugging Face checkpoints
/// order them), and position `p` turns it by `p * f_i`:
/// `rotate(x) = x * cos + (x R) * sin`, where `R` maps `(a, b)` to `(-b, a)`. `R` as a product
/// costs less on CPUs than slices and a concatenation, above all in the backward pass.
/// Source: Su et al., arXiv 2104.09864, equation 34.
#[derive(Debug)]
pub(super) struct RopeTables {
    /// For queries: cosine and sine over `sqrt(d)`, the scale of attention.
    query: [Tensor<4>; 2],
    /// For keys: cosine and sine, `[1, S, 1, d]`.
    key: [Tensor<4>; 2],
    /// `R`, `[d, d]`.
    quarter_turn: Tensor<2>,
}

impl RopeTables {
    /// The tables of `len` positions from `start` on.
    pub(super) fn new(
        config: &LlamaConfig,
        start: usize,
        len: usize,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let head_dim = config.head_dim;
        let half = head_dim / 2;
        let frequencies = config.rope.inverse_frequencies(head_dim);
        let mut cos = vec![0.0f32; len * head_dim];
        let mut sin = vec![0.0f32; len * head_dim];
        for position in 0..len {
            let row = position * head_dim;
            for (i, frequency) in frequencies.iter().enumerate() {
                let (s, c) = ((start + position) as f32 * frequency).sin_cos();
                (cos[row + i], cos[row + half + i]) = (c, c);
                (sin[row + i], sin[row + half + i]) = (s, s);
            }
        }
        let mut turn = vec![0.0f32; head_dim * head_dim];
        for i in 0..half {
            turn[(half + i) * head_dim + i] = -1.0;
            turn[i * head_dim + half + i] = 1.0;
        }
        let scale = (head_dim as f32).sqrt().recip();
        let table = |values: &[f32], scale: f32| {
            let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
            let data = TensorData::new(values, [1, len, 1, head_dim]);
            Tensor::<4>::from_data(data, (device, DType::F32)).cast(dtype)
        };
        let turn = TensorData::new(turn, [head_dim, head_dim]);
        Self {
            query: [table(&cos, scale), table(&sin, scale)],
            key: [table(&cos, 1.0), table(&sin, 1.0)],
            quarter_turn: Tensor::<2>::from_data(turn, (device, DType::F32)).cast(dtype),
        }
    }

    /// Turns queries `[B, S, heads, d]` and scales them for attention.
    pub(super) fn query(&self, x: Tensor<4>) -> Tensor<4> {
        self.rotate(x, &self.query)
    }

    /// Turns keys `[B, S, heads, d]`.
    pub(super) fn key(&self, x: Tensor<4>) -> Tensor<4> {
        self.rotate(x, &self.key)
    }

    fn rotate(&self, x: Tensor<4>, [cos, sin]: &[Tensor<4>; 2]) -> Tensor<4> {
        let [b, s, heads, d] = x.dims();
        let turned = x.clone().reshape([b * s * heads, d]).matmul(self.quarter_turn.clone());
        x * cos.clone() + turned.reshape([b, s, heads, d]) * sin.clone()
    }
}
