use std::path::Path;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moe_adapter::{Adaptable, AdaptedLinear, Projection};
use router::{BatchContext, RoutingTape, Site};

use super::model::PATHS;
use super::{VitConfig, VitModel};
use crate::encoder::{
    Checkpoint, ClassificationTask, Classifier, ImageClassifier, save, visit_layers,
    visit_layers_mut,
};
use crate::parameters::{ParameterSource, RandomParameters};
use crate::shaped_parameters::ShapedParameters;
use crate::vision::layer::{assert_image, label_scores};
use crate::{ConfigError, LoadOptions, ModelError};

/// A Vision Transformer with a classification head, which reads the state of the class token.
///
/// The six linears of each layer are projections `P`; embeddings, norms and head are not adapted
/// and have the module paths of Hugging Face checkpoints.
///
/// Sources: Dosovitskiy et al., arXiv 2010.11929; transformers' `ViTForImageClassification`.
#[derive(Module, Debug)]
pub struct VitClassifier<P: Projection = AdaptedLinear> {
    /// Everything below the head.
    pub vit: VitModel<P>,
    /// `H -> num_labels`.
    pub classifier: Linear,
    #[module(skip)]
    config: VitConfig,
}

const CHECKPOINT: Checkpoint = Checkpoint {
    prefix: "vit.",
    // The pooler of the bare encoder, which the head does not use.
    ignored: |name| name.contains("pooler."),
    ignored_with_new_head: |name| name.starts_with("classifier."),
};

impl<P: Projection> VitClassifier<P> {
    /// Loads a Hugging Face folder; all parameters are frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a ViT classifier that this crate can build, a
    /// tensor is missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = VitConfig::from_folder(&folder)?;
        let source = options.open(folder)?;
        CHECKPOINT.load(source, None, device, |source| Self::build(&config, source))
    }

    /// Loads the encoder of a Hugging Face folder, whatever its head, and gives it a new head for
    /// `task`: random from `seed`, trainable, in f32. Everything else is frozen.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_with_new_head(
        folder: impl AsRef<Path>,
        task: ClassificationTask,
        seed: u64,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = VitConfig { task, ..VitConfig::from_folder(&folder)? };
        config.check()?;
        let source = options.open(folder)?;
        let head = RandomParameters::new(seed, config.initializer_range, device);
        CHECKPOINT.load(source, Some(head), device, |source| Self::build(&config, source))
    }

    /// A classifier with random weights, all trainable: matrices from a normal distribution with
    /// standard deviation `initializer_range`, biases 0, norms 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `config` cannot work.
    pub fn init_random(
        config: &VitConfig,
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

    /// A classifier whose frozen parameters have shapes and no values, to be counted: nothing is
    /// allocated until one is asked for, which then is 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it cannot work.
    pub fn shaped(config: &VitConfig, device: &Device) -> Result<Self, ConfigError> {
        config.check()?;
        match Self::build(config, &mut ShapedParameters::new(device)) {
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
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// The hidden states after the final norm, `[B, positions, H]`; the first is the class token's.
    ///
    /// # Panics
    ///
    /// When images have another shape than the model's.
    pub fn hidden_states(&self, pixel_values: &Tensor<4>, tape: &mut RoutingTape) -> Tensor<3> {
        assert_image(pixel_values, self.image_shape());
        self.vit.forward(&self.config, pixel_values.clone(), tape)
    }

    fn build<S: ParameterSource>(config: &VitConfig, source: &mut S) -> Result<Self, S::Error> {
        let (hidden, labels) = (config.hidden_size, config.task.num_labels());
        Ok(Self {
            vit: VitModel::build(config, source)?,
            classifier: source.linear("classifier", hidden, labels, true)?,
            config: config.clone(),
        })
    }
}

impl<P: Projection> Classifier for VitClassifier<P> {
    type Input = Tensor<4>;

    fn task(&self) -> &ClassificationTask {
        &self.config.task
    }

    fn device(&self) -> Device {
        self.classifier.weight.lazy_device()
    }

    fn context(&self, pixel_values: &Tensor<4>) -> BatchContext {
        BatchContext::new(pixel_values.dims()[0], self.config.num_positions())
    }

    fn logits(&self, pixel_values: &Tensor<4>, tape: &mut RoutingTape) -> Tensor<2> {
        let hidden = self.hidden_states(pixel_values, tape);
        let [batch, _, size] = hidden.dims();
        label_scores(&self.classifier, hidden.narrow(1, 0, 1).reshape([batch, size]))
    }
}

impl<P: Projection> ImageClassifier for VitClassifier<P> {
    fn image_shape(&self) -> [usize; 3] {
        let size = self.config.image_size;
        [self.config.num_channels, size, size]
    }
}

impl<P: Projection> Adaptable for VitClassifier<P> {
    type Projection = P;

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &P)) {
        let layers = self.vit.encoder.layer.iter();
        visit_layers(&PATHS, layers.map(|l| (&l.attention, &l.mlp)), visit);
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut P)) {
        let layers = self.vit.encoder.layer.iter_mut();
        visit_layers_mut(&PATHS, layers.map(|l| (&mut l.attention, &mut l.mlp)), visit);
    }
}
