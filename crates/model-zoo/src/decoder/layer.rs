use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::Projection;
use router::RoutingTape;

use super::attention::Attention;
use super::feed_forward::FeedForward;
use super::norm::RmsNorm;
use super::pass::LayerPass;
use crate::DecoderConfig;
use crate::cache::LayerCache;
use crate::parameters::ParameterSource;

/// One decoder layer: `h = x + attention(norm(x))`, then `h + mlp(norm(h))`.
///
/// In families with post-norms: `h = x + norm(attention(norm(x)))`, then
/// `h + norm(mlp(norm(h)))`.
#[derive(Module, Debug)]
pub struct DecoderLayer<P: Projection> {
    /// Before attention.
    pub input_layernorm: RmsNorm,
    /// Attention.
    pub self_attn: Attention<P>,
    /// After attention: on its output in families with post-norms, else before the feed-forward
    /// layer.
    pub post_attention_layernorm: RmsNorm,
    /// Around the feed-forward layer, in families with post-norms.
    pub feedforward_layernorms: Option<FeedForwardNorms>,
    /// The feed-forward layer.
    pub mlp: FeedForward<P>,
    /// Whether attention is limited to a sliding window.
    slides: bool,
}

/// The norms around a feed-forward layer of a family with post-norms.
#[derive(Module, Debug)]
pub struct FeedForwardNorms {
    /// Before it.
    pub pre: RmsNorm,
    /// On its output.
    pub post: RmsNorm,
}

const INPUT: &str = "input_layernorm";
const POST_ATTENTION: &str = "post_attention_layernorm";
const PRE_FEED_FORWARD: &str = "pre_feedforward_layernorm";
const POST_FEED_FORWARD: &str = "post_feedforward_layernorm";

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
        let input_layernorm = norm(INPUT)?;
        let post_attention_layernorm = norm(POST_ATTENTION)?;
        let feedforward_layernorms = match config.family.traits().post_norms {
            true => {
                let (pre, post) = (norm(PRE_FEED_FORWARD)?, norm(POST_FEED_FORWARD)?);
                Some(FeedForwardNorms { pre, post })
            }
            false => None,
        };
        Ok(Self {
            input_layernorm,
            self_attn: Attention::build(config, &path, source)?,
            post_attention_layernorm,
            feedforward_layernorms,
            mlp: FeedForward::build(config, &path, source)?,
            slides: config.window(layer).is_some(),
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
        let visible = if self.slides { &pass.sliding } else { &pass.full };
        let h = self.input_layernorm.forward(x.clone());
        let h = self.self_attn.forward(h, layer, &pass.rope, visible, cache, tape);
        match &self.feedforward_layernorms {
            None => {
                let x = x + h;
                let h = self.post_attention_layernorm.forward(x.clone());
                x + self.mlp.forward(h, layer, tape)
            }
            Some(norms) => {
                let x = x + self.post_attention_layernorm.forward(h);
                let h = self.mlp.forward(norms.pre.forward(x.clone()), layer, tape);
                x + norms.post.forward(h)
            }
        }
    }

    /// The norms, with their paths inside the layer.
    pub(super) fn norms(&self) -> Vec<(&'static str, &RmsNorm)> {
        let mut all =
            vec![(INPUT, &self.input_layernorm), (POST_ATTENTION, &self.post_attention_layernorm)];
        if let Some(norms) = &self.feedforward_layernorms {
            all.extend([(PRE_FEED_FORWARD, &norms.pre), (POST_FEED_FORWARD, &norms.post)]);
        }
        let attention = &self.self_attn;
        all.extend(attention.q_norm.iter().map(|norm| ("self_attn.q_norm", norm)));
        all.extend(attention.k_norm.iter().map(|norm| ("self_attn.k_norm", norm)));
        all
    }

    /// The projections in the order of the forward pass, with their paths inside the layer.
    pub(super) fn projections(&self) -> impl Iterator<Item = (&'static str, &P)> {
        self.self_attn.projections().into_iter().chain(self.mlp.projections())
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut P)> {
        self.self_attn.projections_mut().into_iter().chain(self.mlp.projections_mut())
    }
}
