use burn::module::Module;
use burn::tensor::Tensor;
use fused_ops::AttentionMask;
use moe_adapter::Projection;
use router::{RoutingTape, Site};

use super::{RobertaConfig, RobertaEmbeddings, RobertaLayer};
use crate::TokenInput;
use crate::encoder::{DropoutRates, EncoderPaths, dropout};
use crate::parameters::ParameterSource;

pub(super) const PATHS: EncoderPaths = EncoderPaths {
    layers: "roberta.encoder.layer",
    attention: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ],
    mlp: ["intermediate.dense", "output.dense"],
};

/// The encoder without its head.
#[derive(Module, Debug)]
pub struct RobertaModel<P: Projection> {
    /// From tokens to hidden states.
    pub embeddings: RobertaEmbeddings,
    /// The layers.
    pub encoder: RobertaEncoder<P>,
}

/// The layers of an encoder.
#[derive(Module, Debug)]
pub struct RobertaEncoder<P: Projection> {
    /// In the order of the forward pass.
    pub layer: Vec<RobertaLayer<P>>,
}

impl<P: Projection> RobertaModel<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &RobertaConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let embeddings = RobertaEmbeddings::build(config, "roberta.embeddings", source)?;
        let layer = (0..config.num_hidden_layers)
            .map(|i| RobertaLayer::build(config, i, source))
            .collect::<Result<_, _>>()?;
        Ok(Self { embeddings, encoder: RobertaEncoder { layer } })
    }

    /// The hidden states after the last layer, `[B, S, H]`.
    pub(super) fn forward(
        &self,
        config: &RobertaConfig,
        input: &TokenInput,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let rates = DropoutRates {
            hidden: config.hidden_dropout_prob,
            attention: config.attention_probs_dropout_prob,
        };
        let padding = input.attention_mask.clone().map(AttentionMask::padding_bias);
        let mask = AttentionMask::new(None, padding);
        let x = self.embeddings.forward(input.input_ids.clone());
        let mut x = dropout(x, rates.hidden, Site::new(0, "embeddings"), tape);
        for (i, layer) in self.encoder.layer.iter().enumerate() {
            x = layer.forward(x, i, &mask, rates, tape);
        }
        x
    }
}
