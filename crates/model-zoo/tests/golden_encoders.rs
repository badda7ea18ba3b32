//! The results of whole encoders against transformers, on any device, and the shapes of published
//! ones.

#![allow(clippy::unwrap_used)]

mod device;
mod encoder;

use std::path::{Path, PathBuf};

use device::{device, tolerance};
use encoder::{Parameters, Reference, golden, logits, relative_error, values};
use model_zoo::{
    ClassificationTask, Classifier, ClipClassifier, ClipVision, ClipVisionConfig, LoadOptions,
    ProblemType, RobertaClassifier, RobertaConfig, VitClassifier,
};
use moe_adapter::BaseLinear;
use router::RoutingTape;

fn close(name: &str, error: f32) {
    eprintln!("{name}: relative error {error:e}");
    assert!(error <= tolerance(), "{name}: relative error {error:e}");
}

#[test]
fn roberta_with_padding_matches_transformers() {
    let folder = golden("roberta_cls");
    let options = LoadOptions::default();
    let model = RobertaClassifier::<BaseLinear>::load(folder, &options, &device()).unwrap();
    let reference = Reference::read("roberta_cls");
    let input = reference.tokens_on(&device());
    let found = model.logits(&input, &mut RoutingTape::new(model.context(&input)));
    close("roberta_cls logits", reference.error("logits", found));
    assert_eq!(model.task().num_labels(), 3);
    assert_eq!(model.task().problem_type(), ProblemType::SingleLabelClassification);
    assert_eq!(Parameters::of(&model).count(), model.config().parameter_count());
}

#[test]
fn vit_matches_transformers() {
    let (folder, options) = (golden("vit_cls"), LoadOptions::default());
    let model = VitClassifier::<BaseLinear>::load(folder, &options, &device()).unwrap();
    let reference = Reference::read("vit_cls");
    let input = reference.images_on(&device());
    let found = model.logits(&input, &mut RoutingTape::new(model.context(&input)));
    close("vit_cls logits", reference.error("logits", found));
    assert_eq!(Parameters::of(&model).count(), model.config().parameter_count());
}

#[test]
fn the_vision_tower_of_clip_matches_transformers() {
    let (folder, options) = (golden("clip_vision"), LoadOptions::default());
    let model = ClipVision::<BaseLinear>::load(folder, &options, &device()).unwrap();
    let reference = Reference::read("clip_vision");
    let input = reference.images_on(&device());
    let found = model.forward(&input, &mut RoutingTape::new(model.context(&input)));
    close("clip_vision image_embeds", reference.error("image_embeds", found.image_embeds));
    let hidden = found.last_hidden_state;
    close("clip_vision last_hidden_state", reference.error("last_hidden_state", hidden));
    assert_eq!(Parameters::of(&model).count(), model.config().parameter_count());
}

/// What follows the hidden states, computed on the host from those of the reference.
#[test]
fn the_head_on_clip_reads_the_mean_of_the_patches() {
    let (task, options) = (ClassificationTask::with_num_labels(5), LoadOptions::default());
    let model = ClipClassifier::<BaseLinear>::load_with_new_head(
        golden("clip_vision"),
        task,
        3,
        &options,
        &device(),
    );
    let model = model.unwrap();
    let reference = Reference::read("clip_vision");
    let hidden = reference.floats("last_hidden_state");
    let [batch, positions, size] = reference.shape("last_hidden_state");
    let weight = values(model.classifier.weight.val());
    let mut expected = Vec::new();
    for image in 0..batch {
        let mean = |h: usize| {
            let state = |position| hidden[(image * positions + position) * size + h];
            (1..positions).map(state).sum::<f32>() / (positions - 1) as f32
        };
        for label in 0..5 {
            expected.push((0..size).map(|h| mean(h) * weight[h * 5 + label]).sum());
        }
    }
    let found = logits(&model, &reference.images_on(&device()));
    close("clip classifier", relative_error(&found, &expected));
}

/// A published configuration; `None`, with the reason printed, where it is absent.
fn published(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/material/configs/hf");
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not on this machine", path.display());
    None
}

/// fairseq's `examples/roberta/README.md` gives `roberta.large` 355 million parameters.
#[test]
fn roberta_large_has_its_published_size() {
    let Some(path) = published("roberta-large.json") else { return };
    let config = RobertaConfig::from_file(path).unwrap();
    assert_eq!(config.encoder_parameter_count(), 354_310_144);
    assert_eq!(config.parameter_count(), 355_361_794);
    assert_eq!(format!("{:.0}", config.parameter_count() as f64 / 1e6), "355");
    assert_eq!(config.max_positions(), 512);
    assert_eq!((config.layer_norm_eps, config.type_vocab_size), (1e-5, 1));
}

/// OpenCLIP's `docs/model_profile.csv` gives the image part of ViT-B-32 87.85 million parameters.
#[test]
fn clip_vit_base_patch32_has_its_published_size() {
    let Some(path) = published("clip-vit-base-patch32.json") else { return };
    let config = ClipVisionConfig::from_file(path).unwrap();
    assert_eq!(config, ClipVisionConfig::default());
    assert_eq!(config.parameter_count(), 87_849_216);
    assert_eq!(format!("{:.2}", config.parameter_count() as f64 / 1e6), "87.85");
}
