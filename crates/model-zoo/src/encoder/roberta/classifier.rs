use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use moe_adapter::{Adaptable, AdaptedLinear, Projection};
use router::{BatchContext, RoutingTape, Site};

use super::model::PATHS;
use super::{RobertaConfig, RobertaHead, RobertaModel};
use crate::encoder::{
    Checkpoint, ClassificationTask, Classifier, SequenceClassifier, save, visit_layers,
    visit_layers_mut,
};
use crate::parameters::{ParameterSource, RandomParameters};
use crate::shaped_parameters::ShapedParameters;
use crate::{ConfigError, LoadOptions, ModelError, TokenInput};

/// A RoBERTa encoder with a head for classification or regression.
///
/// The six linears of each layer are projections `P`; embeddings, norms and head are not adapted
/// and have the module paths of Hugging Face checkpoints.
///
/// Sources: Liu et al., arXiv 1907.11692; transformers' `RobertaForSequenceClassification`.
#[derive(Module, Debug)]
pub struct RobertaClassifier<P: Projection = AdaptedLinear> {
    /// Everything below the head.
    pub roberta: RobertaModel<P>,
    /// The head.
    pub classifier: RobertaHead,
    #[module(skip)]
    config: RobertaConfig,
}

const CHECKPOINT: Checkpoint = Checkpoint {
    prefix: "roberta.",
    // Old checkpoints store positions, which follow from the configuration, and the pooler of
    // the bare encoder, which the head does not use.
    ignored: |name| name.ends_with("embeddings.position_ids") || name.contains("pooler."),
    ignored_with_new_head: |name| name.starts_with("lm_head.") || name.starts_with("classifier."),
};

impl<P: Projection> RobertaClassifier<P> {
    /// Loads a Hugging Face folder; all parameters are frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a RoBERTa classifier that this crate can build,
    /// a tensor is missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let config = RobertaConfig::from_folder(&folder)?;
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
        let config = RobertaConfig { task, ..RobertaConfig::from_folder(&folder)? };
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
        config: &RobertaConfig,
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
    pub fn shaped(config: &RobertaConfig, device: &Device) -> Result<Self, ConfigError> {
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
    pub fn config(&self) -> &RobertaConfig {
        &self.config
    }

    /// The hidden states after the last layer, `[B, S, H]`; at padding, finite and meaningless.
    ///
    /// # Panics
    ///
    /// When sequences are longer than [`RobertaConfig::max_positions`].
    pub fn hidden_states(&self, input: &TokenInput, tape: &mut RoutingTape) -> Tensor<3> {
        let [_, len] = input.input_ids.dims();
        let longest = self.config.max_positions();
        assert!(len <= longest, "{len} tokens, but the model has {longest} positions");
        self.roberta.forward(&self.config, input, tape)
    }

    fn build<S: ParameterSource>(config: &RobertaConfig, source: &mut S) -> Result<Self, S::Error> {
        Ok(Self {
            roberta: RobertaModel::build(config, source)?,
            classifier: RobertaHead::build(config, "classifier", source)?,
            config: config.clone(),
        })
    }
}

impl<P: Projection> Classifier for RobertaClassifier<P> {
    type Input = TokenInput;

    fn task(&self) -> &ClassificationTask {
        &self.config.task
    }

    fn device(&self) -> Device {
        self.classifier.dense.weight.lazy_device()
    }

    fn context(&self, input: &TokenInput) -> BatchContext {
        input.context()
    }

    fn logits(&self, input: &TokenInput, tape: &mut RoutingTape) -> Tensor<2> {
        let hidden = self.hidden_states(input, tape);
        let [batch, _, size] = hidden.dims();
        let first = hidden.narrow(1, 0, 1).reshape([batch, size]);
        let dtype = self.classifier.dense.weight.val().dtype();
        self.classifier.forward(first.cast(dtype), tape).cast(DType::F32)
    }
}

impl<P: Projection> SequenceClassifier for RobertaClassifier<P> {
    fn max_positions(&self) -> usize {
        self.config.max_positions()
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn pad_token_id(&self) -> u32 {
        self.config.pad_token_id
    }
}

impl<P: Projection> Adaptable for RobertaClassifier<P> {
    type Projection = P;

    fn task_type(&self) -> Option<&'static str> {
        Some("SEQ_CLS")
    }

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &P)) {
        let layers = self.roberta.encoder.layer.iter();
        visit_layers(&PATHS, layers.map(|l| (&l.attention.attention, &l.mlp)), visit);
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut P)) {
        let layers = self.roberta.encoder.layer.iter_mut();
        visit_layers_mut(&PATHS, layers.map(|l| (&mut l.attention.attention, &mut l.mlp)), visit);
    }
}
