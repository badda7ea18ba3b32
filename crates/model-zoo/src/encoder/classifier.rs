use burn::tensor::{Device, Tensor};
use moe_adapter::Adaptable;
use router::{BatchContext, RoutingTape};

use crate::{ClassificationTask, TokenInput};

/// An encoder with a classification head: what training and evaluation need of one.
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

    /// The token of padding. Positions are counted by it, so batches must be padded with it.
    fn pad_token_id(&self) -> u32;
}

/// Classifies images, `pixel_values` `[B, C, H, W]`, already scaled and normalised.
pub trait ImageClassifier: Classifier<Input = Tensor<4>> {
    /// Channels, height and width of an image.
    fn image_shape(&self) -> [usize; 3];
}
