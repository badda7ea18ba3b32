use std::ops::Range;

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use half::{bf16, f16};
use moe_adapter::Projection;
use router::RoutingTape;

use super::embedding::TokenEmbedding;
use super::layer::DecoderLayer;
use super::norm::RmsNorm;
use super::pass::LayerPass;
use super::rope_memory::RopeMemory;
use crate::parameters::ParameterSource;
use crate::placement::Placement;
use crate::{DecoderConfig, KvCache, TokenInput};

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct DecoderModel<P: Projection> {
    /// The embeddings of tokens.
    pub embed_tokens: TokenEmbedding,
    /// The decoder layers.
    pub layers: Vec<DecoderLayer<P>>,
    /// After the last layer.
    pub norm: RmsNorm,
    #[module(skip)]
    rope_memory: RopeMemory,
}

impl<P: Projection> DecoderModel<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let hidden = config.hidden_size;
        let embeddings = source.embedding("model.embed_tokens", config.vocab_size, hidden)?;
        let embed_tokens = TokenEmbedding::new(embeddings.weight);
        let layers = (0..config.num_hidden_layers)
            .map(|layer| DecoderLayer::build(config, layer, source))
            .collect::<Result<_, _>>()?;
        let norm = RmsNorm::build(config, "model.norm", hidden, source)?;
        Ok(Self { embed_tokens, layers, norm, rope_memory: RopeMemory::default() })
    }

    /// The element type of what flows from layer to layer: that of the norms.
    pub(super) fn activation_dtype(&self) -> DType {
        self.norm.weight.val().dtype()
    }

    pub(super) fn begin(
        &self,
        config: &DecoderConfig,
        input: &TokenInput,
        mut cache: Option<&mut KvCache>,
    ) -> (Tensor<3>, LayerPass) {
        let [batch_size, _] = input.input_ids.dims();
        let x = self.embed_tokens.forward(input.input_ids.clone());
        let mut x = x.cast(self.activation_dtype());
        if config.family.traits().scaled_embeddings {
            let scale = rounded((config.hidden_size as f64).sqrt(), x.dtype());
            x = x * scale;
        }
        if config.embedding_multiplier != 1.0 {
            x = x * config.embedding_multiplier;
        }
        let (device, memory) = (x.device(), &self.rope_memory);
        if let Some(rows) = cache.as_deref_mut().and_then(KvCache::paged_rows) {
            let pass = LayerPass::paged(config, memory, &rows, &device, x.dtype());
            return (x, pass);
        }
        let placement = match cache.as_deref_mut() {
            Some(cache) => cache.place(input),
            None if input.links.is_some() => Some(Placement::new(input, &vec![vec![]; batch_size])),
            None => None,
        };
        let pass = match (placement, &input.documents) {
            (Some(placement), _) => {
                LayerPass::placed(config, memory, &placement, &device, x.dtype())
            }
            (None, Some(documents)) if cache.is_none() => {
                LayerPass::packed(config, memory, documents, &device, x.dtype())
            }
            (None, _) => LayerPass::counted(config, memory, input, cache, &device, x.dtype()),
        };
        (x, pass)
    }

    pub(super) fn layers(
        &self,
        range: Range<usize>,
        mut x: Tensor<3>,
        pass: &LayerPass,
        mut cache: Option<&mut KvCache>,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        // The keys and values of a first pass come after those of the other.
        let first = if tape.is_first_pass() { self.layers.len() } else { 0 };
        for i in range {
            let cache = cache.as_deref_mut().map(|cache| cache.layer(first + i));
            x = self.layers[i].forward(x, i, pass, cache, tape);
        }
        x
    }
}

/// A factor as the element type holds it: transformers rounds it before it multiplies.
fn rounded(value: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f16::from_f64(value).to_f64(),
        DType::BF16 => bf16::from_f64(value).to_f64(),
        _ => f64::from(value as f32),
    }
}
