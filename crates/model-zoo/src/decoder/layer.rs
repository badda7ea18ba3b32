use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::{AdapterError, Projection};
use router::RoutingTape;

use super::attention::Attention;
use super::feed_forward::FeedForward;
use super::norm::RmsNorm;
use super::pass::{LayerKind, LayerPass};
use super::sparse::SparseFeedForward;
use crate::cache::LayerCache;
use crate::parameters::ParameterSource;
use crate::{DecoderConfig, Norms};

/// One decoder layer: `h = x + m attention(norm(x))`, then `h + m mlp(norm(h))`.
///
/// Where a family normalises after them, it is `h = x + m norm(attention(x))`, and with norms
/// around them `h = x + m norm(attention(norm(x)))`; `m` is 1 but in Granite.
#[derive(Module, Debug)]
pub struct DecoderLayer<P: Projection> {
    /// Before attention, but in families that normalise only after it.
    pub input_layernorm: Option<RmsNorm>,
    /// Attention.
    pub self_attn: Attention<P>,
    /// After attention: before the feed-forward layer in families that normalise only before,
    /// else on the output of attention.
    pub post_attention_layernorm: RmsNorm,
    /// Before the feed-forward layer, in families with norms around it.
    pub pre_feedforward_layernorm: Option<RmsNorm>,
    /// On its output, in families that normalise after it.
    pub post_feedforward_layernorm: Option<RmsNorm>,
    /// The feed-forward layer, but for the one of the next field.
    pub mlp: Option<FeedForward<P>>,
    /// The feed-forward layer of Mixtral, whose files call it so.
    pub block_sparse_moe: Option<SparseFeedForward<P>>,
    #[module(skip)]
    residual_multiplier: f64,
    #[module(skip)]
    kind: LayerKind,
}

const INPUT: &str = "input_layernorm";
const POST_ATTENTION: &str = "post_attention_layernorm";
const PRE_FEED_FORWARD: &str = "pre_feedforward_layernorm";
const POST_FEED_FORWARD: &str = "post_feedforward_layernorm";

/// The feed-forward layer of Mixtral.
const MIXTRAL: &str = "block_sparse_moe";

impl<P: Projection> DecoderLayer<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        layer: usize,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let path = format!("model.layers.{layer}");
        let mut norm = |name: &str| {
            RmsNorm::build(config, &format!("{path}.{name}"), config.hidden_size, source)
        };
        let place = config.family.traits().norms;
        let before = match place {
            Norms::After => None,
            Norms::Before | Norms::Around => Some(norm(INPUT)?),
        };
        let post_attention_layernorm = norm(POST_ATTENTION)?;
        let pre = match place {
            Norms::Around => Some(norm(PRE_FEED_FORWARD)?),
            Norms::Before | Norms::After => None,
        };
        let post = match place {
            Norms::Before => None,
            Norms::Around | Norms::After => Some(norm(POST_FEED_FORWARD)?),
        };
        let self_attn = Attention::build(config, &path, source)?;
        let (mut mlp, mut block_sparse_moe) = (None, None);
        match (&config.family.traits().experts, config.layer_experts(layer)) {
            (Some(names), Some(experts)) => {
                let block = SparseFeedForward::build(config, names, experts, &path, source)?;
                match names.block {
                    MIXTRAL if !config.fused_experts => block_sparse_moe = Some(block),
                    _ => mlp = Some(FeedForward::Sparse(block)),
                }
            }
            _ => mlp = Some(FeedForward::build(config, &path, source)?),
        }
        Ok(Self {
            input_layernorm: before,
            self_attn,
            post_attention_layernorm,
            pre_feedforward_layernorm: pre,
            post_feedforward_layernorm: post,
            mlp,
            block_sparse_moe,
            residual_multiplier: config.residual_multiplier,
            kind: LayerKind {
                slides: config.window(layer).is_some(),
                rotates: config.layer_rope(layer).is_some(),
            },
        })
    }

    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        layer: usize,
        pass: &LayerPass,
        cache: Option<&mut LayerCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let h = self.attention_half(x, layer, pass, cache, tape);
        self.feed_forward_half(h, layer, tape)
    }

    /// `h` of `x`.
    pub(super) fn attention_half(
        &self,
        x: Tensor<3>,
        layer: usize,
        pass: &LayerPass,
        cache: Option<&mut LayerCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let (rope, visible) = (pass.rope(self.kind), pass.visible(self.kind));
        let h = normed(&self.input_layernorm, x.clone());
        let h = self.self_attn.forward(h, layer, rope, visible, cache, tape);
        x + self.residual(match &self.post_feedforward_layernorm {
            None => h,
            Some(_) => self.post_attention_layernorm.forward(h),
        })
    }

    /// What leaves the layer, of `h`.
    pub(super) fn feed_forward_half(
        &self,
        x: Tensor<3>,
        layer: usize,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let h = match &self.post_feedforward_layernorm {
            None => {
                let h = self.post_attention_layernorm.forward(x.clone());
                self.feed_forward(h, layer, tape)
            }
            Some(last) => {
                let h = normed(&self.pre_feedforward_layernorm, x.clone());
                last.forward(self.feed_forward(h, layer, tape))
            }
        };
        x + self.residual(h)
    }

    /// Whether the second half is dense and has no router for the whole of it.
    pub(super) fn feed_forward_is_dense(&self) -> bool {
        let dense = self.mlp.as_ref().filter(|_| self.sparse().is_none());
        dense.is_some_and(|block| block.gated().is_none_or(|block| block.router.is_none()))
    }

    fn feed_forward(&self, h: Tensor<3>, layer: usize, tape: &mut RoutingTape) -> Tensor<3> {
        match (&self.mlp, &self.block_sparse_moe) {
            (Some(block), _) => block.forward(h, layer, tape),
            (None, Some(block)) => block.forward(h, layer, tape),
            (None, None) => h,
        }
    }

    fn residual(&self, h: Tensor<3>) -> Tensor<3> {
        if self.residual_multiplier == 1.0 { h } else { h * self.residual_multiplier }
    }

    /// The norms, with their paths inside the layer.
    pub(super) fn norms(&self) -> Vec<(&'static str, &RmsNorm)> {
        let mut all = vec![(POST_ATTENTION, &self.post_attention_layernorm)];
        for (path, norm) in [
            (INPUT, &self.input_layernorm),
            (PRE_FEED_FORWARD, &self.pre_feedforward_layernorm),
            (POST_FEED_FORWARD, &self.post_feedforward_layernorm),
            ("self_attn.q_norm", &self.self_attn.q_norm),
            ("self_attn.k_norm", &self.self_attn.k_norm),
        ] {
            all.extend(norm.iter().map(|norm| (path, norm)));
        }
        all
    }

    /// The feed-forward layer where it is a mixture of experts.
    pub(super) fn sparse(&self) -> Option<&SparseFeedForward<P>> {
        match &self.mlp {
            Some(FeedForward::Sparse(block)) => Some(block),
            _ => self.block_sparse_moe.as_ref(),
        }
    }

    /// Fuses the experts where the feed-forward layer is a mixture, which then is `mlp` in every family.
    pub(super) fn fuse_experts(&mut self) -> Result<(), AdapterError> {
        let Some(fused) = self.sparse().map(SparseFeedForward::fused) else { return Ok(()) };
        self.mlp = Some(FeedForward::Sparse(fused?));
        self.block_sparse_moe = None;
        Ok(())
    }

    /// The projections in the order of the forward pass, with their paths inside the layer.
    pub(super) fn projections(&self) -> impl Iterator<Item = (&'static str, &P)> {
        let dense = self.mlp.iter().flat_map(FeedForward::projections);
        let sparse = self.block_sparse_moe.iter().flat_map(SparseFeedForward::projections);
        self.self_attn.projections().into_iter().chain(dense).chain(sparse)
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut P)> {
        let dense = self.mlp.iter_mut().flat_map(FeedForward::projections_mut);
        let sparse = self.block_sparse_moe.iter_mut().flat_map(SparseFeedForward::projections_mut);
        self.self_attn.projections_mut().into_iter().chain(dense).chain(sparse)
    }
}

fn normed(norm: &Option<RmsNorm>, x: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}
