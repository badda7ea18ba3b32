use burn::module::Module;
use burn::tensor::{DType, Tensor};
use fused_ops::{AttentionMask, attention, matmul, softmax_masked};
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::{EncoderPaths, dropout};
use crate::parameters::ParameterSource;

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
            source.projection(&path, hidden_size, hidden_size, bias).map(P::from_linear)
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

    /// `[B, S, H]` to the same; `dropout_rate` is that of attention weights, which then are held
    /// for all pairs.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        paths: &EncoderPaths,
        mask: &AttentionMask,
        dropout_rate: f64,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [b, s, hidden] = x.dims();
        let [query, key, value, output] = paths.attention.map(|path| Site::new(layer, path));
        let head_dim = hidden / self.num_heads;
        let heads = |x: Tensor<3>| x.reshape([b, s, self.num_heads, head_dim]).swap_dims(1, 2);
        let siblings = [(&self.query, query), (&self.key, key), (&self.value, value)];
        let [q, k, v] = P::forward_siblings(siblings, x, tape).map(heads);
        let q = q / (head_dim as f64).sqrt();

        let y = if dropout_rate > 0.0 && tape.context().training_seed.is_some() {
            let dtype = q.dtype();
            let bias = mask.bias(s, s, &q.device());
            let weights = softmax_masked(matmul(q, k.transpose()).cast(DType::F32), bias);
            let site = Site::new(layer, "attention.weights");
            let weights = dropout(weights, dropout_rate, site, tape).cast(dtype);
            matmul(weights, v).swap_dims(1, 2)
        } else {
            attention(q, k, v, mask, None)
        };
        let y = y.reshape([b, s, hidden]);
        self.output.forward(y, output, tape)
    }

    pub(crate) fn projections(&self) -> [&P; 4] {
        [&self.query, &self.key, &self.value, &self.output]
    }

    pub(crate) fn projections_mut(&mut self) -> [&mut P; 4] {
        [&mut self.query, &mut self.key, &mut self.value, &mut self.output]
    }
}
