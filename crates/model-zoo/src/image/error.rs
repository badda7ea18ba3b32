use std::path::PathBuf;

use thiserror::Error;

/// An image that cannot be read, or not be made what a model reads.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be opened.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no image of a known kind.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The bytes of a file hold no image of a known kind.
    #[error("the bytes of an image file: {message}")]
    Encoded {
        /// What is wrong with them.
        message: String,
    },
    /// The program was built without decoders of image files.
    #[error(
        "{}: this program reads no image files; build it with the feature `images`, or give the \
         pixels as arrays of numbers",
        path.display()
    )]
    NoFiles {
        /// The file.
        path: PathBuf,
    },
    /// A value is no array of an image.
    #[error("an image is {found}, but must be {allowed}")]
    Value {
        /// What it is.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The model reads another number of channels.
    #[error("an image has {found} channels, but the model reads {expected}")]
    Channels {
        /// Those of the image.
        found: usize,
        /// Those of the model.
        expected: usize,
    },
    /// `image_mean` and `image_std` are for another number of channels.
    #[error(
        "`image_mean` and `image_std` of the image processor have {found} values, but the model \
         reads {expected} channels"
    )]
    Statistics {
        /// The number of values.
        found: usize,
        /// The channels of the model.
        expected: usize,
    },
    /// The processor gives images of another size than the model reads.
    #[error(
        "the image processor makes an image of {height} x {width} pixels {new_height} x \
         {new_width}, but the model reads {model_height} x {model_width}; see `size` and \
         `crop_size` in its preprocessor_config.json"
    )]
    Size {
        /// Of the image.
        height: usize,
        /// Of the image.
        width: usize,
        /// After the processor.
        new_height: usize,
        /// After the processor.
        new_width: usize,
        /// Of the model.
        model_height: usize,
        /// Of the model.
        model_width: usize,
    },
}
