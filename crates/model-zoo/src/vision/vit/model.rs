use burn::module::Module;
use burn::tensor::Tensor;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::{VitConfig, VitEmbeddings, VitLayer};
use crate::encoder::{DropoutRates, EncoderPaths, LayerNorm, dropout};
use crate::parameters::ParameterSource;

pub(super) const PATHS: EncoderPaths = EncoderPaths {
    layers: "vit.encoder.layer",
    attention: [
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
    ],
    mlp: ["intermediate.dense", "output.dense"],
};

/// The encoder without its head.
#[derive(Module, Debug)]
pub struct VitModel<P: Projection> {
    /// From pixels to hidden states.
    pub embeddings: VitEmbeddings,
    /// The layers.
    pub encoder: VitEncoder<P>,
    /// After the last layer.
    pub layernorm: LayerNorm,
}

/// The layers of an encoder.
#[derive(Module, Debug)]
pub struct VitEncoder<P: Projection> {
    /// In the order of the forward pass.
    pub layer: Vec<VitLayer<P>>,
}

impl<P: Projection> VitModel<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &VitConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let embeddings = VitEmbeddings::build(config, "vit.embeddings", source)?;
        let layer = (0..config.num_hidden_layers)
            .map(|i| VitLayer::build(config, i, source))
            .collect::<Result<_, _>>()?;
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        let layernorm = LayerNorm::build("vit.layernorm", hidden, eps, source)?;
        Ok(Self { embeddings, encoder: VitEncoder { layer }, layernorm })
    }

    /// The hidden states after the final norm, `[B, positions, H]`.
    pub(super) fn forward(
        &self,
        config: &VitConfig,
        pixel_values: Tensor<4>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let rates = DropoutRates {
            hidden: config.hidden_dropout_prob,
            attention: config.attention_probs_dropout_prob,
        };
        let x = self.embeddings.forward(pixel_values);
        let mut x = dropout(x, rates.hidden, Site::new(0, "embeddings"), tape);
        for (i, layer) in self.encoder.layer.iter().enumerate() {
            x = layer.forward(x, i, rates, tape);
        }
        self.layernorm.forward(x)
    }
}
