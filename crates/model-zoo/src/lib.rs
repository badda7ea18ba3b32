//! Pretrained transformers from Hugging Face folders, whose linears can be adapted.
//!
//! [`Decoder`] reads decoders of every [`Family`] (`config.json`, one or many files of weights),
//! computes what transformers computes, and calls every linear of its layers through a
//! [`Projection`](moe_adapter::Projection): a trainable model is the same type as the base model.
//! What works for any decoder is written against [`CausalLm`]: [`generate`] for one prompt with
//! sampling and streaming, [`generate_batch`] for many prompts at once.
//!
//! ```
//! use moe_adapter::BaseLinear;
//! use burn::tensor::Device;
//! use model_zoo::{CausalLm, Decoder, DecoderConfig, PaddingSide, TokenInput};
//! use router::RoutingTape;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::flex();
//! let config = DecoderConfig::new(64, 16, 32, 2, 4);
//! let model = Decoder::<BaseLinear>::init_random(&config, 0, &device)?;
//! let input = TokenInput::from_sequences(&[vec![1, 5, 9], vec![1, 7]], 0, PaddingSide::Right, &device);
//! let mut tape = RoutingTape::new(input.context());
//! let hidden = model.hidden_states(&input, None, &mut tape);
//! assert_eq!(model.logits(hidden).dims(), [2, 3, 64]);
//! # Ok(())
//! # }
//! ```

mod any_model;
mod cache;
mod causal_lm;
mod clip_text;
mod config;
mod decoder;
mod encoder;
pub mod engine;
mod error;
mod generation;
mod hub;
mod image;
mod input;
mod paged;
mod parameters;
mod placement;
mod shaped_parameters;
mod token_tree;
mod tokenizer;
mod vision;
mod weights;

pub use any_model::AnyModel;
pub use cache::KvCache;
pub use causal_lm::{CausalLm, LengthDependence};
pub use clip_text::{ClipText, ClipTextConfig};
pub use config::{
    AnyModelConfig, ConfigError, DecoderConfig, ExpertNames, Family, FamilyTraits, LongRopeScaling,
    Norms, QkNorm, RopeConfig, RopeScaling, SparseConfig, Windows, YarnScaling,
};
pub use decoder::{
    Attention, Decoder, DecoderLayer, DecoderModel, Experts, FeedForward, FusedFeedForward,
    LayerPass, LoadOptions, MixtralExpert, QkvProjections, RmsNorm, SparseFeedForward, SplitQkv,
    TokenEmbedding,
};
pub use encoder::{
    Activation, ClassificationTask, Classifier, ImageClassifier, LayerNorm, Mlp, ProblemType,
    RobertaAttention, RobertaClassifier, RobertaConfig, RobertaEmbeddings, RobertaEncoder,
    RobertaHead, RobertaLayer, RobertaModel, RobertaNorm, SelfAttention, SequenceClassifier,
};
pub use error::ModelError;
pub use fused_ops::Documents;
pub use generation::{
    BatchGenerator, BatchPrompt, FinishReason, Generation, GenerationConfig, GenerationError,
    Sampler, StopMatcher, TextStream, generate, generate_batch,
};
pub use hub::{HubDataset, HubError, HubModel, resolve_model};
pub use image::{Image, ImageError, ImageProcessor, Resample};
pub use input::{PaddingSide, TokenInput};
pub use paged::{BlockTable, PagedCache};
pub use quantization::Quantization;
pub use token_tree::TokenTree;
pub use tokenizer::{ChatMessage, MarkedChat, TextTokenizer, TokenizerError};
pub use vision::{
    ClipClassifier, ClipLayer, ClipVision, ClipVisionConfig, ClipVisionEmbeddings,
    ClipVisionEncoder, ClipVisionOutput, ClipVisionTower, PatchEmbedding, VitClassifier, VitConfig,
    VitEmbeddings, VitEncoder, VitLayer, VitModel, VitPatchEmbeddings,
};
pub use weights::{
    Rounding, StoredQuantization, UnknownDType, WeightDType, WeightError, WeightSource,
    WeightWriter,
};
