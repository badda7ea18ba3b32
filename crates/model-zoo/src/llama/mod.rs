mod attention;
mod block;
mod lm;
mod mask;
mod mlp;
mod model;
mod norm;
mod options;
mod pass;
mod rope;
mod storage;

pub use attention::LlamaAttention;
pub use block::LlamaDecoderLayer;
pub use lm::Llama;
pub use model::LlamaModel;
pub use norm::RmsNorm;
pub use options::LoadOptions;
