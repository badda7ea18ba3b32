use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::attention;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::mask::Visible;
use super::norm::RmsNorm;
use super::qkv::QkvProjections;
use super::rope::RopeTables;
use crate::cache::LayerCache;
use crate::parameters::ParameterSource;
use crate::{DecoderConfig, QkNorm};

const O: &str = "self_attn.o_proj";

/// Causal self-attention with rotary embeddings and grouped key-value heads.
///
/// `softmax(cap(Q K^T * scale) + mask) V`, with the softmax in f32; `cap` and the norms of queries
/// and keys only in families that have them. Query head `h` of `G` per group uses key-value head
/// `h / G`. Source: Ainslie et al., arXiv 2305.13245.
#[derive(Module, Debug)]
pub struct Attention<P: Projection> {
    /// Queries, keys and values.
    pub qkv: QkvProjections<P>,
    /// Output, `num_heads * head_dim -> H`.
    pub o_proj: P,
    /// Normalises the queries: each head, or all together.
    pub q_norm: Option<RmsNorm>,
    /// Normalises the keys in the same way.
    pub k_norm: Option<RmsNorm>,
    num_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    #[module(skip)]
    soft_cap: Option<f64>,
}

impl<P: Projection> Attention<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let d = config.head_dim;
        let qkv = QkvProjections::build(config, path, source)?;
        let inputs = config.num_attention_heads * d;
        let bias = config.attention_bias;
        let o_proj = source.projection(&format!("{path}.{O}"), inputs, config.hidden_size, bias)?;
        let mut norm = |name: &str, heads: usize| {
            let size = match config.family.traits().qk_norm {
                QkNorm::None => return Ok(None),
                QkNorm::Heads => d,
                QkNorm::Whole => heads * d,
            };
            RmsNorm::build(config, &format!("{path}.self_attn.{name}"), size, source).map(Some)
        };
        Ok(Self {
            qkv,
            o_proj: P::from_linear(o_proj),
            q_norm: norm("q_norm", config.num_attention_heads)?,
            k_norm: norm("k_norm", config.num_key_value_heads)?,
            num_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: d,
            soft_cap: config.attn_logit_softcapping,
        })
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        rope: &RopeTables,
        visible: &Visible,
        cache: Option<&mut LayerCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [b, s, _] = x.dims();
        let (heads, groups, d) = (self.num_heads, self.num_key_value_heads, self.head_dim);
        let [q, k, v] = self.qkv.forward(x, [heads * d, groups * d], layer, tape);

        let q = rope.queries(normed(&self.q_norm, q, [b, s, heads, d]));
        let k = rope.keys(normed(&self.k_norm, k, [b, s, groups, d]));
        let v = v.reshape([b, s, groups, d]).swap_dims(1, 2);
        let [k, v] = match cache {
            Some(LayerCache { paged: Some(blocks), .. }) => {
                let y = blocks.attend(q, [k, v], visible.window, self.soft_cap);
                let y = y.reshape([b, s, heads * d]);
                return self.o_proj.forward(y, Site::new(layer, O), tape);
            }
            Some(cache) => cache.append(k, v),
            None => [k, v],
        };
        let keys = k.dims()[2] - visible.first;
        let [k, v] = match visible.first {
            0 => [k, v],
            first => [k, v].map(|tensor| tensor.narrow(2, first, keys)),
        };

        // The tables of the queries have divided by the cap.
        let y = attention(q, k, v, &visible.mask, self.soft_cap).reshape([b, s, heads * d]);
        self.o_proj.forward(y, Site::new(layer, O), tape)
    }

    /// The projections in the order of the forward pass, with their paths inside the layer.
    pub(super) fn projections(&self) -> Vec<(&'static str, &P)> {
        let mut all = self.qkv.projections();
        all.push((O, &self.o_proj));
        all
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> Vec<(&'static str, &mut P)> {
        let mut all = self.qkv.projections_mut();
        all.push((O, &mut self.o_proj));
        all
    }
}

/// The heads of flat queries or keys, normalised one by one or all together.
fn normed(norm: &Option<RmsNorm>, flat: Tensor<3>, heads: [usize; 4]) -> Tensor<4> {
    match norm {
        None => flat.reshape(heads),
        Some(norm) if norm.weight.val().dims() == [heads[3]] => norm.forward(flat.reshape(heads)),
        Some(norm) => norm.forward(flat).reshape(heads),
    }
}
