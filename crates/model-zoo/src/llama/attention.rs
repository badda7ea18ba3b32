use burn::module::Module;
use burn::tensor::{DType, Tensor};
use fused_ops::{rope_heads, softmax_masked};
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::pass::Pass;
use crate::LlamaConfig;
use crate::cache::LayerCache;
use crate::parameters::ParameterSource;

/// Causal self-attention with rotary embeddings and grouped key-value heads.
///
/// `softmax(Q K^T / sqrt(head_dim) + mask) V`, with the softmax in f32. Query head `h` of `G` per
/// group uses key-value head `h / G`. Source: Ainslie et al., arXiv 2305.13245.
#[derive(Module, Debug)]
pub struct LlamaAttention<P: Projection> {
    /// Queries, `H -> num_heads * head_dim`.
    pub q_proj: P,
    /// Keys, `H -> num_key_value_heads * head_dim`.
    pub k_proj: P,
    /// Values, `H -> num_key_value_heads * head_dim`.
    pub v_proj: P,
    /// Output, `num_heads * head_dim -> H`.
    pub o_proj: P,
    num_key_value_heads: usize,
    head_dim: usize,
}

impl<P: Projection> LlamaAttention<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &LlamaConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let mut linear = |name: &str, inputs, outputs| {
            let path = format!("{path}.{name}");
            source.linear(&path, inputs, outputs, config.attention_bias).map(P::from_linear)
        };
        Ok(Self {
            q_proj: linear("q_proj", hidden, queries)?,
            k_proj: linear("k_proj", hidden, keys)?,
            v_proj: linear("v_proj", hidden, keys)?,
            o_proj: linear("o_proj", queries, hidden)?,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        })
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [b, s, _] = x.dims();
        let (groups, d) = (self.num_key_value_heads, self.head_dim);
        let q = self.q_proj.forward(x.clone(), Site::new(layer, "self_attn.q_proj"), tape);
        let k = self.k_proj.forward(x.clone(), Site::new(layer, "self_attn.k_proj"), tape);
        let v = self.v_proj.forward(x, Site::new(layer, "self_attn.v_proj"), tape);
        let heads = q.dims()[2] / d;
        let per_group = heads / groups;

        let q = rope_heads(q.reshape([b, s, heads, d]), &pass.rope.query);
        let k = rope_heads(k.reshape([b, s, groups, d]), &pass.rope.key);
        let v = v.reshape([b, s, groups, d]).swap_dims(1, 2);
        let [k, v] = match cache {
            Some(cache) => cache.append(k, v),
            None => [k, v],
        };
        let total = k.dims()[2];

        // The query heads of a group are rows of one product with its keys, so that no key or
        // value is repeated.
        let dtype = q.dtype();
        let shared = per_group > 1;
        let q = if shared { q.reshape([b, groups, per_group * s, d]) } else { q };
        let scores = q.matmul(k.transpose()).cast(DType::F32).reshape([b, heads, s, total]);
        let weights = softmax_masked(scores, pass.mask.clone()).cast(dtype);
        let y = weights.reshape([b, groups, per_group * s, total]).matmul(v);
        let y = if shared { y.reshape([b, heads, s, d]) } else { y };
        let y = y.swap_dims(1, 2).reshape([b, s, heads * d]);
        self.o_proj.forward(y, Site::new(layer, "self_attn.o_proj"), tape)
    }
}
