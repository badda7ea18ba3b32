use burn::module::Module;
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use fused_ops::softmax_masked;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::{EncoderPaths, dropout};
use crate::parameters::ParameterSource;

/// Added to the scores of padding. Finite, so that a row of nothing but padding gives a uniform
/// distribution and not NaN.
const HIDDEN: f64 = -1e30;

/// Self-attention that sees in both directions.
///
/// `softmax(Q K^T / sqrt(head_dim) + mask) V` for each head, with the softmax in f32.
/// Source: Vaswani et al., arXiv 1706.03762, equation 1.
#[derive(Module, Debug)]
pub struct SelfAttention<P: Projection> {
    /// Queries, `H -> H`.
    pub query: P,
    /// Keys, `H -> H`.
    pub key: P,
    /// Values, `H -> H`.
    pub value: P,
    /// Output, `H -> H`.
    pub output: P,
    num_heads: usize,
}

impl<P: Projection> SelfAttention<P> {
    pub(crate) fn build<S: ParameterSource>(
        paths: &EncoderPaths,
        layer: usize,
        hidden_size: usize,
        num_heads: usize,
        qkv_bias: bool,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let mut linear = |name: &str, bias| {
            let path = format!("{}.{layer}.{name}", paths.layers);
            source.linear(&path, hidden_size, hidden_size, bias).map(P::from_linear)
        };
        let [query, key, value, output] = paths.attention;
        Ok(Self {
            query: linear(query, qkv_bias)?,
            key: linear(key, qkv_bias)?,
            value: linear(value, qkv_bias)?,
            output: linear(output, true)?,
            num_heads,
        })
    }

    /// `[B, S, H]` to the same; `mask` is added to the scores, `dropout_rate` is that of attention
    /// weights.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        paths: &EncoderPaths,
        mask: Option<&Tensor<4>>,
        dropout_rate: f64,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [b, s, hidden] = x.dims();
        let [query, key, value, output] = paths.attention.map(|path| Site::new(layer, path));
        let head_dim = hidden / self.num_heads;
        let heads = |x: Tensor<3>| x.reshape([b, s, self.num_heads, head_dim]).swap_dims(1, 2);
        let q = heads(self.query.forward(x.clone(), query, tape)) / (head_dim as f64).sqrt();
        let k = heads(self.key.forward(x.clone(), key, tape));
        let v = heads(self.value.forward(x, value, tape));

        let dtype = q.dtype();
        let scores = q.matmul(k.transpose()).cast(DType::F32);
        let weights = softmax_masked(scores, mask.cloned());
        let weights = dropout(weights, dropout_rate, Site::new(layer, "attention.weights"), tape);
        let y = weights.cast(dtype).matmul(v).swap_dims(1, 2).reshape([b, s, hidden]);
        self.output.forward(y, output, tape)
    }

    pub(crate) fn projections(&self) -> [&P; 4] {
        [&self.query, &self.key, &self.value, &self.output]
    }

    pub(crate) fn projections_mut(&mut self) -> [&mut P; 4] {
        [&mut self.query, &mut self.key, &mut self.value, &mut self.output]
    }
}

/// What hides padding in scores `[B, heads, S, S]`; `token_mask` is `[B, S]`, true for a real
/// token.
pub(crate) fn padding_mask(token_mask: Tensor<2, Bool>) -> Tensor<4> {
    let zeros = Tensor::<2>::zeros(token_mask.shape(), (&token_mask.device(), DType::F32));
    zeros.mask_fill(token_mask.bool_not(), HIDDEN).unsqueeze_dims(&[1, 2])
}

/// What hides later tokens in scores `[B, heads, S, S]`: `[1, 1, S, S]`.
pub(crate) fn causal_mask(seq_len: usize, device: &Device) -> Tensor<4> {
    let hidden = (0..seq_len).flat_map(|query| {
        (0..seq_len).map(move |key| if key > query { HIDDEN as f32 } else { 0.0 })
    });
    let data = TensorData::new(hidden.collect::<Vec<_>>(), [1, 1, seq_len, seq_len]);
    Tensor::from_data(data, (device, DType::F32))
}
