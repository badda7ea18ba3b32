mod classifier;
mod config;
mod embeddings;
mod layer;
mod tower;
mod vision;

pub use classifier::ClipClassifier;
pub use config::ClipVisionConfig;
pub use embeddings::ClipVisionEmbeddings;
pub use layer::ClipLayer;
pub(crate) use layer::{ClipLayerConfig, paths};
pub use tower::{ClipVisionEncoder, ClipVisionTower};
pub use vision::{ClipVision, ClipVisionOutput};

/// Whether a tensor of a checkpoint of all of CLIP is none of the vision tower's; old ones also
/// store positions, which follow from the configuration.
fn of_other_towers(name: &str) -> bool {
    ["text_model.", "text_projection.", "logit_scale"].iter().any(|other| name.starts_with(other))
        || name.ends_with("embeddings.position_ids")
}
