use eval_tasks::ImageSource;
use model_zoo::{ImageClassifier, ImageProcessor};
use router::RoutingTape;

use super::batches::{in_order, rows};
use super::pixels::pixel_values;
use super::{ClassificationError, ClassificationOptions};
use crate::scoring::Progress;

/// Classifies images by a model with a head, as transformers' pipeline of that name does.
#[derive(Debug, Clone)]
pub struct ImageClassification<'a, M: ImageClassifier> {
    model: &'a M,
    processor: ImageProcessor,
    batch_images: usize,
}

impl<'a, M: ImageClassifier> ImageClassification<'a, M> {
    /// A model off its autodiff device, with its image processor.
    pub fn new(model: &'a M, processor: ImageProcessor, options: &ClassificationOptions) -> Self {
        Self { model, processor, batch_images: options.batch_images }
    }

    /// The number of classes.
    pub fn num_labels(&self) -> usize {
        self.model.task().num_labels()
    }

    /// The logits of all images, in their order. `done` is given those of each with its index as
    /// soon as they are known; passes all of whose images are `known` are left out.
    ///
    /// # Errors
    ///
    /// [`ClassificationError`] naming the image, and what `done` returns.
    pub fn classify<E: From<ClassificationError>>(
        &self,
        images: &[&ImageSource],
        known: &[bool],
        done: &mut dyn FnMut(usize, Vec<f64>, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        let (shape, device) = (self.model.image_shape(), self.model.device());
        let mut progress = Progress::default();
        for batch in in_order(images.len(), self.batch_images, self.model.reach()) {
            progress.requests += batch.len();
            if batch.iter().all(|index| known[*index]) {
                continue;
            }
            let pixels = pixel_values(images, &batch, &self.processor, shape, &device)?;
            let context = self.model.context(&pixels);
            progress.tokens += context.num_tokens();
            progress.computed = progress.tokens;
            let logits = rows(self.model.logits(&pixels, &mut RoutingTape::new(context)))?;
            for (index, logits) in batch.iter().zip(logits) {
                if logits.iter().any(|logit| !logit.is_finite()) {
                    return Err(ClassificationError::NotFinite { index: *index }.into());
                }
                done(*index, logits, progress)?;
            }
        }
        Ok(())
    }
}
