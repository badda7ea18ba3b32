//! What encoders answer to requests: the logits of texts, of pairs of texts and of images.
//!
//! ```text
//! texts  --tokenizer-->       batches by length --classifier-->                  logits
//! images --image processor--> batches ----------classifier, or CLIP and labels--> logits
//! ```
//!
//! How samples are put together changes an answer by no more than f32 rounding: where a router's
//! decisions reach beyond a sample, each sample is computed alone.

mod batches;
mod error;
mod image;
mod options;
mod pixels;
mod text;
mod zero_shot;

pub use error::ClassificationError;
pub use image::ImageClassification;
pub use options::ClassificationOptions;
pub use text::{TextClassification, TextInput};
pub use zero_shot::ZeroShotImageClassification;
