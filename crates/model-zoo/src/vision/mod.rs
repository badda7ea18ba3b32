//! Encoders of images: ViT and the vision tower of CLIP.

mod clip;
mod layer;
mod patches;
mod vit;

pub use clip::{
    ClipClassifier, ClipVision, ClipVisionConfig, ClipVisionEmbeddings, ClipVisionEncoder,
    ClipVisionLayer, ClipVisionOutput, ClipVisionTower,
};
pub use patches::PatchEmbedding;
pub use vit::{
    VitClassifier, VitConfig, VitEmbeddings, VitEncoder, VitLayer, VitModel, VitPatchEmbeddings,
};

pub(crate) use layer::{PreNorm, label_scores};
