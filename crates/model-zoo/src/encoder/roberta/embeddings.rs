use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};

use super::RobertaConfig;
use crate::encoder::LayerNorm;
use crate::parameters::ParameterSource;

/// Token, position and type embeddings, summed and normalised.
///
/// The position of a real token is `pad_token_id` plus its number among the real tokens, from 1
/// on; that of padding is `pad_token_id`. Real is what has another id than padding, as in
/// transformers; the attention mask does not matter here.
#[derive(Module, Debug)]
pub struct RobertaEmbeddings {
    /// `[V, H]`.
    pub word_embeddings: Embedding,
    /// `[max_position_embeddings, H]`.
    pub position_embeddings: Embedding,
    /// `[type_vocab_size, H]`; every token is of the first type.
    pub token_type_embeddings: Embedding,
    /// After the sum.
    pub LayerNorm: LayerNorm,
    pad_token_id: usize,
}

impl RobertaEmbeddings {
    pub(super) fn build<S: ParameterSource>(
        config: &RobertaConfig,
        path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let hidden = config.hidden_size;
        let mut embedding =
            |name: &str, rows| source.embedding(&format!("{path}.{name}"), rows, hidden);
        Ok(Self {
            word_embeddings: embedding("word_embeddings", config.vocab_size)?,
            position_embeddings: embedding("position_embeddings", config.max_position_embeddings)?,
            token_type_embeddings: embedding("token_type_embeddings", config.type_vocab_size)?,
            LayerNorm: LayerNorm::build(
                &format!("{path}.LayerNorm"),
                hidden,
                config.layer_norm_eps,
                source,
            )?,
            pad_token_id: config.pad_token_id as usize,
        })
    }

    /// `[B, S]` to `[B, S, H]`.
    pub(super) fn forward(&self, input_ids: Tensor<2, Int>) -> Tensor<3> {
        let pad = self.pad_token_id as i64;
        let real = input_ids.clone().not_equal_elem(pad).int();
        let positions = real.clone().cumsum(1) * real + pad;
        let types = self.token_type_embeddings.weight.val().narrow(0, 0, 1).unsqueeze();
        let x = self.word_embeddings.forward(input_ids)
            + types
            + self.position_embeddings.forward(positions);
        self.LayerNorm.forward(x)
    }
}
