use std::path::Path;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moe_adapter::{Adaptable, AdaptedLinear, Projection};
use router::{BatchContext, RoutingTape, Site};

use super::{ClipVisionConfig, ClipVisionTower, of_other_towers};
use crate::encoder::{Checkpoint, save};
use crate::parameters::{ParameterSource, RandomParameters};
use crate::vision::layer::label_scores;
use crate::{ConfigError, LoadOptions, ModelError};

/// The vision tower of CLIP with its projection into the space that texts share.
///
/// The six linears of each layer are projections `P`; embeddings, norms and the projection of the
/// result are not adapted and have the module paths of Hugging Face checkpoints.
///
/// Sources: Radford et al., arXiv 2103.00020; transformers' `CLIPVisionModelWithProjection`.
#[derive(Module, Debug)]
pub struct ClipVision<P: Projection = AdaptedLinear> {
    /// The tower.
    pub vision_model: ClipVisionTower<P>,
    /// `H -> D`, without a bias.
    pub visual_projection: Linear,
    #[module(skip)]
    config: ClipVisionConfig,
}

/// What [`ClipVision`] computes.
#[derive(Debug, Clone)]
pub struct ClipVisionOutput {
    /// The projected state of the class token, `[B, D]`, in f32 and not normalised.
    pub image_embeds: Tensor<2>,
    /// The states after the last layer, `[B, positions, H]`, not normalised.
    pub last_hidden_state: Tensor<3>,
}

const CHECKPOINT: Checkpoint = Checkpoint {
    prefix: "vision_model.",
    ignored: of_other_towers,
    ignored_with_new_head: |_| false,
};

impl<P: Projection> ClipVision<P> {
    /// Loads a Hugging Face folder of all of CLIP or of its vision tower; all parameters are
    /// frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a vision tower that this crate can build, a
    /// tensor is missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = ClipVisionConfig::from_folder(&folder)?;
        let source = options.open(folder)?;
        CHECKPOINT.load(source, None, device, |source| Self::build(&config, source))
    }

    /// A tower with random weights, all trainable: matrices from a normal distribution with
    /// standard deviation `initializer_range`, biases 0, norms 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `config` cannot work.
    pub fn init_random(
        config: &ClipVisionConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut source = RandomParameters::new(seed, config.initializer_range, device);
        match Self::build(config, &mut source) {
            Ok(model) => Ok(model),
            Err(never) => match never {},
        }
    }

    /// Writes a folder that this crate and transformers load: `config.json` and
    /// `model.safetensors`. Projections are written as the linears of the base model.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), ModelError> {
        save(self, self.config.to_json(), folder.as_ref(), None).map(|_| ())
    }

    /// The shape of the model.
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    /// What routers and losses may know of a batch of images; training is left to the caller.
    pub fn context(&self, pixel_values: &Tensor<4>) -> BatchContext {
        BatchContext::new(pixel_values.dims()[0], self.config.num_positions())
    }

    /// Embeds images, `[B, C, H, W]`.
    ///
    /// # Panics
    ///
    /// When images have another shape than the model's.
    pub fn forward(&self, pixel_values: &Tensor<4>, tape: &mut RoutingTape) -> ClipVisionOutput {
        let hidden = self.vision_model.forward(&self.config, pixel_values, tape);
        let [batch, _, size] = hidden.dims();
        let class = hidden.clone().narrow(1, 0, 1).reshape([batch, size]);
        let class = self.vision_model.post_layernorm.forward(class);
        let image_embeds = label_scores(&self.visual_projection, class);
        ClipVisionOutput { image_embeds, last_hidden_state: hidden }
    }

    fn build<S: ParameterSource>(
        config: &ClipVisionConfig,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, size) = (config.hidden_size, config.projection_dim);
        Ok(Self {
            vision_model: ClipVisionTower::build(config, source)?,
            visual_projection: source.linear("visual_projection", hidden, size, false)?,
            config: config.clone(),
        })
    }
}

impl<P: Projection> Adaptable for ClipVision<P> {
    type Projection = P;

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &P)) {
        self.vision_model.visit_projections(visit);
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut P)) {
        self.vision_model.visit_projections_mut(visit);
    }
}
