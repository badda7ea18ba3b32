mod inputs;
mod outputs;

use anyhow::Result;
use lora_moe::burn::tensor::{Device, Tensor};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_any_model;
use lora_moe::model_zoo::{
    AnyModel, CausalLm, Classifier, ImageClassifier, SequenceClassifier, TokenInput,
};
use lora_moe::router::RoutingTape;

use self::inputs::{Inputs, Vocabulary};
use self::outputs::Outputs;
use crate::args::LogitsArgs;

/// Runs `lora-moe logits`.
pub fn run(args: &LogitsArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let inputs = Inputs::read(&args.inputs)?;
    let folder = args.model.folder()?;
    let model = load_any_model(&folder, args.adapter.as_deref(), &args.model.options(), &device)?;
    let outputs = match &model {
        AnyModel::Decoder(model) => {
            let vocabulary =
                Vocabulary { size: model.vocab_size(), max_positions: model.max_positions() };
            of_tokens(&inputs, &vocabulary, &device, |input, outputs| {
                let mut tape = RoutingTape::new(input.context());
                let hidden = model.hidden_states(&input, None, &mut tape);
                outputs.push("logits", model.logits(hidden))
            })
        }
        AnyModel::Roberta(model) => {
            let size = model.config().vocab_size;
            let vocabulary = Vocabulary { size, max_positions: model.max_positions() };
            of_tokens(&inputs, &vocabulary, &device, |input, outputs| {
                outputs.push("logits", scores(model, &input))
            })
        }
        AnyModel::Vit(model) => {
            of_images(&inputs, model.image_shape(), &device, |images, outputs| {
                outputs.push("logits", scores(model, &images))
            })
        }
        AnyModel::ClipClassifier(model) => {
            of_images(&inputs, model.image_shape(), &device, |images, outputs| {
                outputs.push("logits", scores(model, &images))
            })
        }
        AnyModel::ClipVision(model) => {
            let config = model.config();
            let shape = [config.num_channels, config.image_size, config.image_size];
            of_images(&inputs, shape, &device, |images, outputs| {
                let mut tape = RoutingTape::new(model.context(&images));
                let found = model.forward(&images, &mut tape);
                outputs.push("image_embeds", found.image_embeds)?;
                outputs.push("last_hidden_state", found.last_hidden_state)
            })
        }
    }?;
    outputs.write(&args.output)
}

fn scores<M: Classifier>(model: &M, input: &M::Input) -> Tensor<2> {
    model.logits(input, &mut RoutingTape::new(model.context(input)))
}

/// What a model of tokens gives for the samples of a file.
fn of_tokens(
    inputs: &Inputs,
    vocabulary: &Vocabulary,
    device: &Device,
    forward: impl Fn(TokenInput, &mut Outputs) -> Result<()>,
) -> Result<Outputs> {
    let mut outputs = Outputs::default();
    for batch in inputs.tokens(vocabulary, device)? {
        forward(batch, &mut outputs)?;
    }
    Ok(outputs)
}

/// What a model of images gives for those of a file.
fn of_images(
    inputs: &Inputs,
    shape: [usize; 3],
    device: &Device,
    forward: impl Fn(Tensor<4>, &mut Outputs) -> Result<()>,
) -> Result<Outputs> {
    let mut outputs = Outputs::default();
    for batch in inputs.images(shape, device)? {
        forward(batch, &mut outputs)?;
    }
    Ok(outputs)
}
