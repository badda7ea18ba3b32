use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::Tensor;
use moe_adapter::Projection;
use router::RoutingTape;

use super::block::LlamaDecoderLayer;
use super::mask::{attention_mask, padding_bias};
use super::norm::RmsNorm;
use super::pass::Pass;
use super::rope::RopeTables;
use crate::parameters::ParameterSource;
use crate::{KvCache, LlamaConfig, TokenInput};

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct LlamaModel<P: Projection> {
    /// `[V, H]`.
    pub embed_tokens: Embedding,
    /// The decoder layers.
    pub layers: Vec<LlamaDecoderLayer<P>>,
    /// After the last layer.
    pub norm: RmsNorm,
}

impl<P: Projection> LlamaModel<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &LlamaConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let hidden = config.hidden_size;
        let embed_tokens = source.embedding("model.embed_tokens", config.vocab_size, hidden)?;
        let layers = (0..config.num_hidden_layers)
            .map(|i| LlamaDecoderLayer::build(config, &format!("model.layers.{i}"), source))
            .collect::<Result<_, _>>()?;
        let weight = source.norm("model.norm", hidden)?;
        Ok(Self { embed_tokens, layers, norm: RmsNorm { weight, eps: config.rms_norm_eps } })
    }

    pub(super) fn forward(
        &self,
        config: &LlamaConfig,
        input: &TokenInput,
        mut cache: Option<&mut KvCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [batch_size, len] = input.input_ids.dims();
        let mut x = self.embed_tokens.forward(input.input_ids.clone());
        let device = x.device();
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let padding = input.attention_mask.clone().map(padding_bias);
        let padding = match cache.as_deref_mut() {
            Some(cache) => cache.extended_padding(batch_size, len, padding, &device),
            None => padding,
        };
        // Positions count padding too: only their differences matter to rotary embeddings.
        let pass = Pass {
            rope: RopeTables::new(config, past, len, &device, x.dtype()),
            mask: attention_mask(len, past, padding, &device),
        };
        for (i, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| cache.layer(i));
            x = layer.forward(x, i, &pass, cache, tape);
        }
        if let Some(cache) = cache {
            cache.advance(len);
        }
        self.norm.forward(x)
    }
}
