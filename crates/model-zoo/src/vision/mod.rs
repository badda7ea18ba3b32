//! Encoders of images: ViT and the vision tower of CLIP.

mod clip;
mod layer;
mod patches;
mod vit;

pub use clip::{
    ClipClassifier, ClipLayer, ClipVision, ClipVisionConfig, ClipVisionEmbeddings,
    ClipVisionEncoder, ClipVisionOutput, ClipVisionTower,
};
pub use patches::PatchEmbedding;
pub use vit::{
    VitClassifier, VitConfig, VitEmbeddings, VitEncoder, VitLayer, VitModel, VitPatchEmbeddings,
};

pub(crate) use clip::{ClipLayerConfig, paths as clip_paths};
pub(crate) use layer::label_scores;
