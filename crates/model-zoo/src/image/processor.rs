use super::geometry::{TargetSize, center_crop};
use super::resize::resize;
use super::{Image, ImageError, Resample};

/// The most pixels of an image whose shorter edge has the size that is asked for.
const MAX_PIXELS: usize = 1 << 27;

/// What is done to an image before a model reads it: `preprocessor_config.json` of a Hugging Face
/// folder, of a ViT or a CLIP.
///
/// In this order, each where it is asked for: a change of size, the cut of the middle, `x *
/// rescale_factor`, and `(x - image_mean) / image_std` for each channel. The first two work on 8
/// bits and give exactly what Pillow gives.
///
/// Source: transformers' `ViTImageProcessor` and `CLIPImageProcessor`.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    pub(super) size: Option<(TargetSize, Resample)>,
    /// `[height, width]`.
    pub(super) crop_size: Option<[usize; 2]>,
    pub(super) rescale_factor: Option<f64>,
    pub(super) normalize: Option<Normalization>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Normalization {
    pub(super) mean: Vec<f64>,
    pub(super) std: Vec<f64>,
}

impl ImageProcessor {
    /// The pixels of an image as a model reads them, `shape` = `[channels, height, width]` in
    /// row-major order. A grey image has equal channels where the model reads three.
    ///
    /// # Errors
    ///
    /// [`ImageError`] when the image has more channels than the model reads, or another size after
    /// all this.
    pub fn process(&self, image: Image, shape: [usize; 3]) -> Result<Vec<f32>, ImageError> {
        let [channels, model_height, model_width] = shape;
        let image = image.with_channels(channels)?;
        let [height, width, _] = image.shape();
        let mut size = [height, width];
        if let Some((target, _)) = self.size {
            size = target.of(height, width);
        }
        let resized = size;
        size = self.crop_size.unwrap_or(size);
        let too_long = resized[0].saturating_mul(resized[1]) > MAX_PIXELS;
        if too_long || size != [model_height, model_width] {
            let [new_height, new_width] = if too_long { resized } else { size };
            return Err(ImageError::Size {
                height,
                width,
                new_height,
                new_width,
                model_height,
                model_width,
            });
        }
        let resample = self.size.map(|(_, resample)| resample);
        let mut data = match resample {
            Some(resample) => resize(image.data(), image.shape(), resized, resample),
            None => image.data().to_vec(),
        };
        if self.crop_size.is_some() {
            let [height, width] = resized;
            data = center_crop(&data, [height, width, channels], size);
        }
        let factor = self.rescale_factor.unwrap_or(1.0);
        let mut values = Vec::with_capacity(data.len());
        for channel in 0..channels {
            let (mean, std) = self.statistics(channel, channels)?;
            // An 8-bit value has 256 results.
            let table: Vec<f32> = (0..=255_u8)
                .map(|value| ((f64::from(value) * factor - mean) / std) as f32)
                .collect();
            let of_channel = data.iter().skip(channel).step_by(channels);
            values.extend(of_channel.map(|value| table[usize::from(*value)]));
        }
        Ok(values)
    }

    /// Mean and standard deviation of a channel.
    fn statistics(&self, channel: usize, channels: usize) -> Result<(f64, f64), ImageError> {
        let Some(Normalization { mean, std }) = &self.normalize else { return Ok((0.0, 1.0)) };
        let of = |values: &[f64]| match values {
            [one] => Ok(*one),
            _ if values.len() == channels => Ok(values[channel]),
            _ => Err(ImageError::Statistics { found: values.len(), expected: channels }),
        };
        Ok((of(mean)?, of(std)?))
    }
}
