use std::path::PathBuf;
use std::sync::Arc;

use model_zoo::{Image, ImageError};

/// An image, or the file of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageData {
    /// A file, which is read each time it is needed.
    File(PathBuf),
    /// The bytes of a file, which are decoded each time they are needed.
    Encoded(Arc<[u8]>),
    /// The pixels themselves.
    Pixels(Image),
}

impl ImageData {
    /// The image.
    ///
    /// # Errors
    ///
    /// [`ImageError`] when the file cannot be read.
    pub fn load(&self) -> Result<Image, ImageError> {
        match self {
            Self::File(path) => Image::open(path),
            Self::Encoded(bytes) => Image::decode(bytes),
            Self::Pixels(image) => Ok(image.clone()),
        }
    }
}
