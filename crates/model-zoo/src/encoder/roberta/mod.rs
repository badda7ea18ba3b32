// Some fields have names of checkpoints, which are no snake case.
#[allow(non_snake_case)]
mod attention;
mod classifier;
mod config;
#[allow(non_snake_case)]
mod embeddings;
mod head;
mod layer;
mod model;

pub use attention::{RobertaAttention, RobertaNorm};
pub use classifier::RobertaClassifier;
pub use config::RobertaConfig;
pub use embeddings::RobertaEmbeddings;
pub use head::RobertaHead;
pub use layer::RobertaLayer;
pub use model::{RobertaEncoder, RobertaModel};
