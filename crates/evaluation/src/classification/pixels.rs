use burn::tensor::{Device, Tensor, TensorData};
use eval_tasks::ImageSource;
use model_zoo::{Image, ImageProcessor};

use super::ClassificationError;

/// Reads images and makes them a batch, `[B, C, H, W]` with `shape` = `[C, H, W]`.
pub(super) fn pixel_values(
    images: &[&ImageSource],
    indices: &[usize],
    processor: &ImageProcessor,
    shape: [usize; 3],
    device: &Device,
) -> Result<Tensor<4>, ClassificationError> {
    let [channels, height, width] = shape;
    let mut values = Vec::with_capacity(indices.len() * channels * height * width);
    for index in indices {
        let image = match images[*index] {
            ImageSource::File(path) => Image::open(path),
            ImageSource::Pixels(value) => Image::from_numbers(value),
        };
        let pixels = image.and_then(|image| processor.process(image, shape));
        let refused = |source| ClassificationError::Image { index: *index, source };
        values.extend(pixels.map_err(refused)?);
    }
    let data = TensorData::new(values, [indices.len(), channels, height, width]);
    Ok(Tensor::from_data(data, device))
}
