use std::path::Path;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moe_adapter::{Adaptable, AdaptedLinear, Projection};
use router::{BatchContext, RoutingTape, Site};
use serde_json::{Value, json};

use super::{ClipVisionConfig, ClipVisionTower, of_other_towers};
use crate::encoder::{
    Checkpoint, ClassificationTask, Classifier, ImageClassifier, Keys, read_config, save,
};
use crate::parameters::{ParameterSource, RandomParameters};
use crate::shaped_parameters::ShapedParameters;
use crate::vision::layer::label_scores;
use crate::{ConfigError, LoadOptions, ModelError};

/// The vision tower of CLIP with a classification head, which reads the mean of the states of the
/// patches.
///
/// The six linears of each layer are projections `P`; embeddings, norms and head are not adapted
/// and have the module paths of Hugging Face checkpoints. The tower's last norm is kept for its
/// checkpoints: the head does not use it.
///
/// Sources: Radford et al., arXiv 2103.00020; transformers' `CLIPForImageClassification`.
#[derive(Module, Debug)]
pub struct ClipClassifier<P: Projection = AdaptedLinear> {
    /// The tower.
    pub vision_model: ClipVisionTower<P>,
    /// `H -> num_labels`.
    pub classifier: Linear,
    #[module(skip)]
    config: ClipVisionConfig,
    #[module(skip)]
    task: ClassificationTask,
}

const CHECKPOINT: Checkpoint = Checkpoint {
    prefix: "vision_model.",
    ignored: of_other_towers,
    ignored_with_new_head: |name| {
        name.starts_with("classifier.") || name.starts_with("visual_projection.")
    },
};

impl<P: Projection> ClipClassifier<P> {
    /// Loads a Hugging Face folder; all parameters are frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a classifier that this crate can build, a
    /// tensor is missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let path = folder.as_ref().join("config.json");
        let (value, origin) = (read_config(&path)?, path.display().to_string());
        let config = ClipVisionConfig::from_json(&value, &origin)?;
        let keys = Keys::new(&value, &origin)?;
        let task = ClassificationTask::read(&keys)?;
        task.check(&keys)?;
        let source = options.open(folder)?;
        CHECKPOINT.load(source, None, device, |source| Self::build(&config, &task, source))
    }

    /// Loads the vision tower of a Hugging Face folder of all of CLIP or of the tower, and gives
    /// it a new head for `task`: random from `seed`, trainable, in f32. Everything else is frozen.
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
        let config = ClipVisionConfig::from_folder(&folder)?;
        task.check(&Keys::of("ClassificationTask"))?;
        let source = options.open(folder)?;
        let head = RandomParameters::new(seed, config.initializer_range, device);
        CHECKPOINT.load(source, Some(head), device, |source| Self::build(&config, &task, source))
    }

    /// A classifier with random weights, all trainable: matrices from a normal distribution with
    /// standard deviation `initializer_range`, biases 0, norms 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `config` or `task` cannot work.
    pub fn init_random(
        config: &ClipVisionConfig,
        task: &ClassificationTask,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        task.check(&Keys::of("ClassificationTask"))?;
        let mut source = RandomParameters::new(seed, config.initializer_range, device);
        match Self::build(config, task, &mut source) {
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
    pub fn shaped(
        config: &ClipVisionConfig,
        task: &ClassificationTask,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        task.check(&Keys::of("ClassificationTask"))?;
        match Self::build(config, task, &mut ShapedParameters::new(device)) {
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
        save(self, self.to_json(), folder.as_ref(), None).map(|_| ())
    }

    /// The shape of the tower.
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut config = json!({
            "architectures": ["CLIPForImageClassification"],
            "model_type": "clip",
            "projection_dim": self.config.projection_dim,
            "vision_config": self.config.to_json(),
        });
        if let Some(object) = config.as_object_mut() {
            self.task.write(object);
        }
        config
    }

    fn build<S: ParameterSource>(
        config: &ClipVisionConfig,
        task: &ClassificationTask,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        let (hidden, labels) = (config.hidden_size, task.num_labels());
        Ok(Self {
            vision_model: ClipVisionTower::build(config, source)?,
            classifier: source.linear("classifier", hidden, labels, true)?,
            config: config.clone(),
            task: task.clone(),
        })
    }
}

impl<P: Projection> Classifier for ClipClassifier<P> {
    type Input = Tensor<4>;

    fn task(&self) -> &ClassificationTask {
        &self.task
    }

    fn device(&self) -> Device {
        self.classifier.weight.lazy_device()
    }

    fn context(&self, pixel_values: &Tensor<4>) -> BatchContext {
        BatchContext::new(pixel_values.dims()[0], self.config.num_positions())
    }

    fn logits(&self, pixel_values: &Tensor<4>, tape: &mut RoutingTape) -> Tensor<2> {
        let hidden = self.vision_model.forward(&self.config, pixel_values, tape);
        let [batch, positions, size] = hidden.dims();
        let patches = hidden.narrow(1, 1, positions - 1).mean_dim(1);
        label_scores(&self.classifier, patches.reshape([batch, size]))
    }
}

impl<P: Projection> ImageClassifier for ClipClassifier<P> {
    fn image_shape(&self) -> [usize; 3] {
        let size = self.config.image_size;
        [self.config.num_channels, size, size]
    }
}

impl<P: Projection> Adaptable for ClipClassifier<P> {
    type Projection = P;

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &P)) {
        self.vision_model.visit_projections(visit);
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut P)) {
        self.vision_model.visit_projections_mut(visit);
    }
}
