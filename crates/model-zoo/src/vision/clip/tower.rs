use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::AttentionMask;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::layer::paths;
use super::{ClipLayer, ClipVisionConfig, ClipVisionEmbeddings};
use crate::encoder::{DropoutRates, EncoderPaths, LayerNorm, visit_layers, visit_layers_mut};
use crate::parameters::ParameterSource;
use crate::vision::layer::assert_image;

const PATHS: EncoderPaths = paths("vision_model.encoder.layers");

/// The vision tower of CLIP without what follows it.
///
/// Source: Radford et al., arXiv 2103.00020, section 2.4.
#[derive(Module, Debug)]
pub struct ClipVisionTower<P: Projection> {
    /// From pixels to hidden states.
    pub embeddings: ClipVisionEmbeddings,
    /// Before the first layer; its name has been misspelt since the first checkpoints.
    pub pre_layrnorm: LayerNorm,
    /// The layers.
    pub encoder: ClipVisionEncoder<P>,
    /// Of the class token after the last layer.
    pub post_layernorm: LayerNorm,
}

/// The layers of a tower.
#[derive(Module, Debug)]
pub struct ClipVisionEncoder<P: Projection> {
    /// In the order of the forward pass.
    pub layers: Vec<ClipLayer<P>>,
}

impl<P: Projection> ClipVisionTower<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &ClipVisionConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        let embeddings = ClipVisionEmbeddings::build(config, "vision_model.embeddings", source)?;
        let pre_layrnorm = LayerNorm::build("vision_model.pre_layrnorm", hidden, eps, source)?;
        let layer = config.layer();
        let layers = (0..config.num_hidden_layers)
            .map(|i| ClipLayer::build(&layer, &PATHS, i, source))
            .collect::<Result<_, _>>()?;
        let post_layernorm = LayerNorm::build("vision_model.post_layernorm", hidden, eps, source)?;
        let encoder = ClipVisionEncoder { layers };
        Ok(Self { embeddings, pre_layrnorm, encoder, post_layernorm })
    }

    /// The hidden states after the last layer, not normalised: `[B, positions, H]`.
    pub(super) fn forward(
        &self,
        config: &ClipVisionConfig,
        pixel_values: &Tensor<4>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let size = config.image_size;
        assert_image(pixel_values, [config.num_channels, size, size]);
        let rates = DropoutRates { hidden: 0.0, attention: config.attention_dropout };
        let mut x = self.pre_layrnorm.forward(self.embeddings.forward(pixel_values.clone()));
        let mask = AttentionMask::default();
        for (i, layer) in self.encoder.layers.iter().enumerate() {
            x = layer.forward(x, i, &PATHS, &mask, rates, tape);
        }
        x
    }

    pub(super) fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &P)) {
        let layers = self.encoder.layers.iter();
        visit_layers(&PATHS, layers.map(|l| (&l.self_attn, &l.mlp)), visit);
    }

    pub(super) fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut P)) {
        let layers = self.encoder.layers.iter_mut();
        visit_layers_mut(&PATHS, layers.map(|l| (&mut l.self_attn, &mut l.mlp)), visit);
    }
}
