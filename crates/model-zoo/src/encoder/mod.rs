//! What encoders of texts and of images are made of, and RoBERTa.

mod activation;
mod attention;
mod checkpoint;
mod classifier;
mod dropout;
mod keys;
mod mlp;
mod norm;
mod paths;
mod roberta;
mod save;
mod task;

pub use activation::Activation;
pub use attention::SelfAttention;
pub use classifier::{Classifier, ImageClassifier, SequenceClassifier};
pub use mlp::Mlp;
pub use norm::LayerNorm;
pub use roberta::{
    RobertaAttention, RobertaClassifier, RobertaConfig, RobertaEmbeddings, RobertaEncoder,
    RobertaHead, RobertaLayer, RobertaModel, RobertaNorm,
};
pub use task::{ClassificationTask, ProblemType};

pub(crate) use checkpoint::Checkpoint;
pub(crate) use dropout::{DropoutRates, dropout};
pub(crate) use keys::{Keys, read_config};
pub(crate) use paths::{EncoderPaths, visit_layers, visit_layers_mut};
pub(crate) use save::save;
