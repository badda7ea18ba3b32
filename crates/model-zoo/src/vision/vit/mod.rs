mod classifier;
mod config;
mod embeddings;
mod layer;
mod model;

pub use classifier::VitClassifier;
pub use config::VitConfig;
pub use embeddings::{VitEmbeddings, VitPatchEmbeddings};
pub use layer::VitLayer;
pub use model::{VitEncoder, VitModel};
