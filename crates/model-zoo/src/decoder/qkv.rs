use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use crate::DecoderConfig;
use crate::parameters::ParameterSource;

/// The linears that make queries, keys and values.
#[derive(Module, Debug)]
pub enum QkvProjections<P: Projection> {
    /// One linear each.
    Split(SplitQkv<P>),
    /// One linear for all: queries, then keys, then values.
    Fused(P),
}

/// One linear each for queries, keys and values.
#[derive(Module, Debug)]
pub struct SplitQkv<P: Projection> {
    /// Queries, `H -> num_heads * head_dim`.
    pub q_proj: P,
    /// Keys, `H -> num_key_value_heads * head_dim`.
    pub k_proj: P,
    /// Values, `H -> num_key_value_heads * head_dim`.
    pub v_proj: P,
}

const Q: &str = "self_attn.q_proj";
const K: &str = "self_attn.k_proj";
const V: &str = "self_attn.v_proj";
const QKV: &str = "self_attn.qkv_proj";

impl<P: Projection> QkvProjections<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let bias = config.qkv_bias();
        if config.fused_projections {
            let linear =
                source.projection(&format!("{path}.{QKV}"), hidden, queries + 2 * keys, bias)?;
            return Ok(Self::Fused(P::from_linear(linear)));
        }
        let [q_proj, k_proj, v_proj] = if config.family.traits().fused_projections {
            let sizes = [queries, keys, keys];
            source.projections(&format!("{path}.{QKV}"), hidden, sizes, bias)?
        } else {
            [
                source.projection(&format!("{path}.{Q}"), hidden, queries, bias)?,
                source.projection(&format!("{path}.{K}"), hidden, keys, bias)?,
                source.projection(&format!("{path}.{V}"), hidden, keys, bias)?,
            ]
        }
        .map(P::from_linear);
        Ok(Self::Split(SplitQkv { q_proj, k_proj, v_proj }))
    }

    /// `[B, S, H]` to the flat heads of queries, `[B, S, queries]`, and of keys and values,
    /// `[B, S, keys]` each.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        [queries, keys]: [usize; 2],
        layer: usize,
        tape: &mut RoutingTape,
    ) -> [Tensor<3>; 3] {
        match self {
            Self::Split(split) => {
                let siblings = [
                    (&split.q_proj, Site::new(layer, Q)),
                    (&split.k_proj, Site::new(layer, K)),
                    (&split.v_proj, Site::new(layer, V)),
                ];
                P::forward_siblings(siblings, x, tape)
            }
            Self::Fused(projection) => {
                let y = projection.forward(x, Site::new(layer, QKV), tape);
                [
                    y.clone().narrow(2, 0, queries),
                    y.clone().narrow(2, queries, keys),
                    y.narrow(2, queries + keys, keys),
                ]
            }
        }
    }

    /// The projections in the order of the forward pass, with their paths inside the layer.
    pub(super) fn projections(&self) -> Vec<(&'static str, &P)> {
        match self {
            Self::Split(split) => {
                vec![(Q, &split.q_proj), (K, &split.k_proj), (V, &split.v_proj)]
            }
            Self::Fused(projection) => vec![(QKV, projection)],
        }
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> Vec<(&'static str, &mut P)> {
        match self {
            Self::Split(split) => {
                vec![(Q, &mut split.q_proj), (K, &mut split.k_proj), (V, &mut split.v_proj)]
            }
            Self::Fused(projection) => vec![(QKV, projection)],
        }
    }
}
