//! Adapters learn on frozen encoders, whose weights stay as they are.

#![allow(clippy::unwrap_used)]

mod encoder;

use std::path::Path;

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use encoder::{Tensors, golden, logits, tensors};
use model_zoo::{
    ClassificationTask, Classifier, ClipClassifier, LoadOptions, ModelError, RobertaClassifier,
    TokenInput, VitClassifier,
};
use moe_adapter::{Adaptable, AdaptedLinear, Preset, TargetModules, adapter_state, attach};
use router::RoutingTape;

const LABELS: [i64; 8] = [0, 1, 1, 0, 1, 0, 0, 1];

/// Eight sequences; those of label 1 have an 11 somewhere, the others a 12.
fn sequences(device: &Device) -> TokenInput {
    let mut ids: Vec<i64> = (0..8 * 10).map(|i| 20 + (i * 37) % 60).collect();
    for (i, label) in LABELS.iter().enumerate() {
        ids[i * 10] = 0;
        ids[i * 10 + 1 + (i * 3) % 8] = 12 - label;
    }
    TokenInput::new(Tensor::<2, Int>::from_data(TensorData::new(ids, [8, 10]), device))
}

/// Eight images; those of label 1 are brighter above, the others below.
fn images(device: &Device) -> Tensor<4> {
    let mut pixels = Vec::new();
    for (i, label) in LABELS.iter().enumerate() {
        for row in 0..3 * 16 {
            let bright = (row % 16 < 8) == (*label == 1);
            let noise = |column: usize| ((i * 769 + row * 31 + column * 17) as f32).sin();
            let level = if bright { 0.5 } else { -0.5 };
            pixels.extend((0..16).map(|column| level + 0.5 * noise(column)));
        }
    }
    Tensor::from_data(TensorData::new(pixels, [8, 3, 16, 16]), device)
}

/// Cross-entropy before and after `steps` of AdamW, and the labels found at the end.
fn train<M>(
    model: M,
    inputs: impl Fn(&Device) -> M::Input,
    steps: usize,
    learning_rate: f64,
) -> (M, [f32; 2], Vec<i64>)
where
    M: Classifier,
{
    let mut model = model.train();
    let device = model.device();
    let input = inputs(&device);
    let labels = Tensor::<1, Int>::from_data(LABELS, &device).reshape([8, 1]);
    let mut optimizer = AdamWConfig::new().init();
    let mut losses = Vec::new();
    for step in 0..steps {
        let context = model.context(&input).with_training(step as u64);
        let logits = model.logits(&input, &mut RoutingTape::new(context));
        let loss = -log_softmax(logits, 1).gather(1, labels.clone()).mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(learning_rate, model, gradients);
    }
    let model = model.valid();
    let found = logits(&model, &inputs(&model.device()));
    let width = found.len() / 8;
    let best = |row: &[f32]| (0..width).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as i64;
    let predictions = found.chunks_exact(width).map(best).collect();
    (model, [losses[0], losses[steps - 1]], predictions)
}

fn adapt<M: Adaptable<Projection = AdaptedLinear>>(model: &mut M, targets: &[&str]) {
    let mut config = Preset::LoramoePaper.config();
    config.target_modules = TargetModules::Names(targets.iter().map(|t| t.to_string()).collect());
    assert_eq!(attach(model, &config, 3).unwrap(), 2 * targets.len());
}

/// Every second factor started at 0.
fn every_adapter_moved<M: Adaptable<Projection = AdaptedLinear>>(model: &M) {
    for (name, data) in adapter_state(model) {
        if name.contains("lora_B") {
            let moved = data.try_to_vec::<f32>().unwrap().iter().any(|value| *value != 0.0);
            assert!(moved, "{name}");
        }
    }
}

/// All tensors of the base model have the bits of the folder that it was loaded from.
fn base_is_unchanged(save: impl FnOnce(&Path) -> Result<(), ModelError>, name: &str, head: &str) {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path()).unwrap();
    let base = |folder: &Path| -> Tensors {
        let mut all = tensors(&folder.join("model.safetensors"));
        all.retain(|name, _| !name.starts_with(head));
        all
    };
    let (found, mut expected) = (base(folder.path()), base(&golden(name)));
    expected.retain(|name, _| name != "visual_projection.weight");
    assert!(found.len() > 30);
    assert_eq!(found, expected);
}

fn options() -> LoadOptions {
    LoadOptions::default()
}

fn two_labels() -> ClassificationTask {
    ClassificationTask::new(["absent", "present"])
}

#[test]
fn roberta_learns_with_a_mixture_and_a_new_head() {
    let device = Device::flex();
    let folder = golden("roberta_cls");
    let mut model =
        RobertaClassifier::load_with_new_head(folder, two_labels(), 1, &options(), &device)
            .unwrap();
    adapt(&mut model, &["query", "value", "intermediate.dense"]);
    let (model, [first, last], found) = train(model, sequences, 80, 1e-2);
    eprintln!("roberta: {first} -> {last}");
    assert!(last < 0.2 * first, "{first} -> {last}");
    assert_eq!(found, LABELS);
    every_adapter_moved(&model);
    base_is_unchanged(|folder| model.save(folder), "roberta_cls", "classifier.");
}

/// Nothing but the adapter is trainable: the head is that of the base model.
#[test]
fn vit_learns_with_a_mixture_alone() {
    let device = Device::flex();
    let mut model = VitClassifier::load(golden("vit_cls"), &options(), &device).unwrap();
    adapt(&mut model, &["query", "value", "intermediate.dense"]);
    let (model, [first, last], found) = train(model, images, 40, 1e-2);
    eprintln!("vit: {first} -> {last}");
    assert!(last < 0.2 * first, "{first} -> {last}");
    assert_eq!(found, LABELS);
    every_adapter_moved(&model);
    base_is_unchanged(|folder| model.save(folder), "vit_cls", "no head");
}

#[test]
fn clip_learns_with_a_mixture_and_a_new_head() {
    let device = Device::flex();
    let folder = golden("clip_vision");
    let mut model =
        ClipClassifier::load_with_new_head(folder, two_labels(), 1, &options(), &device).unwrap();
    adapt(&mut model, &["q_proj", "v_proj", "fc1"]);
    let (model, [first, last], found) = train(model, images, 40, 1e-2);
    eprintln!("clip: {first} -> {last}");
    assert!(last < 0.2 * first, "{first} -> {last}");
    assert_eq!(found, LABELS);
    every_adapter_moved(&model);
    base_is_unchanged(|folder| model.save(folder), "clip_vision", "classifier.");
}
