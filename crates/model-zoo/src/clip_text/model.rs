use std::path::Path;

use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use fused_ops::{AttentionMask, Causal};
use moe_adapter::BaseLinear;
use router::{BatchContext, RoutingTape};

use super::ClipTextConfig;
use crate::encoder::{DropoutRates, EncoderPaths, LayerNorm};
use crate::parameters::{LoadedParameters, ParameterSource};
use crate::vision::{ClipLayer, clip_paths, label_scores};
use crate::{LoadOptions, ModelError, PaddingSide, TokenInput, WeightError};

const PATHS: EncoderPaths = clip_paths("text_model.encoder.layers");

/// The text tower of CLIP with its projection into the space that images share, frozen.
///
/// Sources: Radford et al., arXiv 2103.00020; transformers' `CLIPTextModelWithProjection`.
#[derive(Debug, Clone)]
pub struct ClipText {
    token_embedding: Embedding,
    position_embedding: Embedding,
    layers: Vec<ClipLayer<BaseLinear>>,
    final_layer_norm: LayerNorm,
    text_projection: Linear,
    logit_scale: f32,
    config: ClipTextConfig,
}

impl ClipText {
    /// Loads the text tower of a Hugging Face folder of all of CLIP.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a CLIP that this crate can build, a tensor is
    /// missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = ClipTextConfig::from_folder(&folder)?;
        let mut source = options.open(folder)?;
        source.ignore(|name| {
            name.starts_with("vision_model.")
                || name.starts_with("visual_projection.")
                || name.ends_with("embeddings.position_ids")
        });
        let logit_scale = source.take_scalar("logit_scale")?;
        let model =
            Self::build(config, logit_scale, &mut LoadedParameters::new(&mut source, device))?;
        source.finish()?;
        Ok(model)
    }

    fn build(
        config: ClipTextConfig,
        logit_scale: f32,
        source: &mut LoadedParameters,
    ) -> Result<Self, WeightError> {
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        let mut embedding = |name: &str, rows| {
            source.embedding(&format!("text_model.embeddings.{name}"), rows, hidden)
        };
        let token_embedding = embedding("token_embedding", config.vocab_size)?;
        let position_embedding = embedding("position_embedding", config.max_position_embeddings)?;
        let layer = config.layer();
        let layers = (0..config.num_hidden_layers)
            .map(|i| ClipLayer::build(&layer, &PATHS, i, source))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            token_embedding,
            position_embedding,
            layers,
            final_layer_norm: LayerNorm::build("text_model.final_layer_norm", hidden, eps, source)?,
            text_projection: source.linear(
                "text_projection",
                hidden,
                config.projection_dim,
                false,
            )?,
            logit_scale,
            config,
        })
    }

    /// The shape of the tower.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// `exp(logit_scale)`, by which the cosine of an image and a text becomes a logit.
    pub fn scale(&self) -> f64 {
        f64::from(self.logit_scale).exp()
    }

    /// Embeds texts: `[texts, D]`, in f32 and not normalised.
    ///
    /// # Panics
    ///
    /// When there is no text, or one is longer than the model reads, has a token that is not in the
    /// vocabulary, or no [end](ClipTextConfig::end_of).
    pub fn embed(&self, texts: &[impl AsRef<[u32]>], device: &Device) -> Tensor<2> {
        let longest = texts.iter().map(|text| text.as_ref().len()).max().unwrap_or(0);
        let positions = self.config.max_position_embeddings;
        assert!(longest > 0, "no text to embed");
        assert!(longest <= positions, "{longest} tokens, but the model has {positions} positions");
        let ends = texts.iter().enumerate().map(|(row, text)| {
            let end = self.config.end_of(text.as_ref());
            assert!(end.is_some(), "text {row} has no end");
            (row * longest + end.unwrap_or(0)) as i64
        });
        let ends: Vec<i64> = ends.collect();
        // Nothing looks at what follows it, so that padding needs no mask.
        let ids = TokenInput::from_sequences(texts, 0, PaddingSide::Right, device).input_ids;
        let [batch, seq] = ids.dims();
        let positions = Tensor::<1, Int>::arange(0..seq as i64, device).unsqueeze::<2>();
        let mut x = self.token_embedding.forward(ids) + self.position_embedding.forward(positions);
        let causal = Causal { offset: 0, window: None };
        let mask = AttentionMask::new(Some(causal), None);
        let rates = DropoutRates { hidden: 0.0, attention: 0.0 };
        let mut tape = RoutingTape::new(BatchContext::new(batch, seq));
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, i, &PATHS, &mask, rates, &mut tape);
        }
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [batch]), device);
        let x = x.reshape([batch * seq, self.config.hidden_size]).select(0, ends);
        label_scores(&self.text_projection, self.final_layer_norm.forward(x))
    }
}
