use burn::tensor::{Device, Tensor};
use moe_adapter::Adaptable;
use router::{BatchContext, RoutingTape};

use crate::{ClassificationTask, TokenInput};

/// An encoder with a classification head: what training and evaluation need of one.
///
/// A step of fine-tuning, with an adapter on a frozen encoder and a new head:
///
/// ```
/// use burn::module::Module;
/// use burn::optim::{AdamWConfig, GradientsParams};
/// use burn::tensor::activation::log_softmax;
/// use burn::tensor::{Device, Int, Tensor};
/// use model_zoo::{
///     ClassificationTask, Classifier, LoadOptions, PaddingSide, RobertaClassifier,
///     SequenceClassifier, TokenInput,
/// };
/// use moe_adapter::{Preset, TargetModules, attach};
/// use router::RoutingTape;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/roberta_cls");
/// let task = ClassificationTask::new(["unacceptable", "acceptable"]);
/// let options = LoadOptions::default();
/// let mut model: RobertaClassifier =
///     RobertaClassifier::load_with_new_head(folder, task, 0, &options, &Device::flex())?;
/// let mut config = Preset::LoramoePaper.config();
/// config.target_modules = TargetModules::Names(vec!["query".into(), "value".into()]);
/// attach(&mut model, &config, 0)?;
///
/// let mut model = model.train();
/// let mut optimizer = AdamWConfig::new().init();
/// let (device, pad) = (model.device(), model.pad_token_id());
/// let sentences = [vec![0, 23, 81, 2], vec![0, 35, 2]];
/// let input = TokenInput::from_sequences(&sentences, pad, PaddingSide::Right, &device);
/// let labels = Tensor::<2, Int>::from_data([[1], [0]], &device);
///
/// let mut tape = RoutingTape::new(model.context(&input).with_training(0));
/// let loss = -log_softmax(model.logits(&input, &mut tape), 1).gather(1, labels).mean();
/// let gradients = GradientsParams::from_grads(loss.backward(), &model);
/// model = optimizer.step(1e-4, model, gradients);
/// # Ok(())
/// # }
/// ```
pub trait Classifier: Adaptable {
    /// A batch: tokens, or images.
    type Input;

    /// What it tells apart.
    fn task(&self) -> &ClassificationTask;

    /// Where the model computes.
    fn device(&self) -> Device;

    /// What routers and losses may know of a batch; training is left to the caller.
    fn context(&self, input: &Self::Input) -> BatchContext;

    /// The scores of all labels, `[B, num_labels]`, in f32. `tape` describes the same batch.
    fn logits(&self, input: &Self::Input, tape: &mut RoutingTape) -> Tensor<2>;
}

/// Classifies sequences of tokens.
pub trait SequenceClassifier: Classifier<Input = TokenInput> {
    /// The longest sequence that the model can read, in tokens. Longer ones have no positions, and
    /// the model panics: cut them first.
    fn max_positions(&self) -> usize;

    /// The number of tokens that the model knows.
    fn vocab_size(&self) -> usize;

    /// The token of padding. Positions are counted by it, so batches must be padded with it.
    fn pad_token_id(&self) -> u32;
}

/// Classifies images, `pixel_values` `[B, C, H, W]`, already scaled and normalised.
pub trait ImageClassifier: Classifier<Input = Tensor<4>> {
    /// Channels, height and width of an image.
    fn image_shape(&self) -> [usize; 3];
}
