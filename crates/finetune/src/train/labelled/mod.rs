//! Telling classes apart, or predicting a number, by an encoder with a head.

mod batch;
mod image;
mod loss;
mod measures;
mod text;

pub use batch::LabelledBatch;
pub use image::{ImageSample, ImageTask};
pub use loss::{label_loss, probabilities};
pub use text::{TextSample, TextTask};
