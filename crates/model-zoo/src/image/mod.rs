//! From images to the pixels that a model reads, as the image processors of transformers do it.

mod error;
#[cfg(feature = "images")]
mod file;
mod geometry;
mod pixels;
mod processor;
mod read;
mod resample;
mod resize;

pub use error::ImageError;
pub use pixels::Image;
pub use processor::ImageProcessor;
pub use resample::Resample;
