use std::collections::BTreeMap;

use burn::tensor::Device;
use eval_tasks::ImageSource;
use model_zoo::{ClipText, ClipVision, ImageProcessor, TextTokenizer};
use moe_adapter::{Adaptable, Projection};
use router::RoutingTape;

use super::batches::{in_order, rows};
use super::pixels::pixel_values;
use super::{ClassificationError, ClassificationOptions};
use crate::scoring::Progress;

/// Classifies images by comparing them with the texts of classes: the logit of image `v` and text
/// `t` is `exp(logit_scale) v·t / (|v| |t|)`.
///
/// Source: Radford et al., arXiv 2103.00020, section 3.1; transformers' `CLIPModel`.
#[derive(Debug, Clone)]
pub struct ZeroShotImageClassification<'a, P: Projection> {
    vision: &'a ClipVision<P>,
    text: ClipText,
    tokenizer: TextTokenizer,
    processor: ImageProcessor,
    device: Device,
    batch_images: usize,
    batch_tokens: usize,
}

impl<'a, P: Projection> ZeroShotImageClassification<'a, P> {
    /// The two towers of a model on one device, with its tokenizer and image processor. Labels are
    /// cut to the longest text that the model reads.
    ///
    /// # Errors
    ///
    /// [`ClassificationError`] when the tokenizer cannot be used so.
    pub fn new(
        vision: &'a ClipVision<P>,
        text: ClipText,
        tokenizer: TextTokenizer,
        processor: ImageProcessor,
        device: Device,
        options: &ClassificationOptions,
    ) -> Result<Self, ClassificationError> {
        let allowed = text.config().max_position_embeddings;
        let max_length = options.max_length.unwrap_or(allowed);
        if !(1..=allowed).contains(&max_length) {
            return Err(ClassificationError::MaxLength { found: max_length, allowed });
        }
        let tokenizer = tokenizer.with_truncation(max_length)?;
        let (batch_images, batch_tokens) = (options.batch_images, options.batch_tokens);
        Ok(Self { vision, text, tokenizer, processor, device, batch_images, batch_tokens })
    }

    /// The logits of all images, each for its texts of classes (`a photo of a cat`), in their
    /// order. The texts of a list are computed once. `done` and `known` are those of
    /// [`ImageClassification`](super::ImageClassification::classify).
    ///
    /// # Errors
    ///
    /// [`ClassificationError`] naming the image, and what `done` returns.
    pub fn classify<E: From<ClassificationError>>(
        &self,
        images: &[(&ImageSource, &[String])],
        known: &[bool],
        done: &mut dyn FnMut(usize, Vec<f64>, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut lists = BTreeMap::new();
        for (index, (_, labels)) in images.iter().enumerate() {
            if !lists.contains_key(labels) {
                lists.insert(*labels, self.directions_of(index, labels)?);
            }
        }
        let config = self.vision.config();
        let shape = [config.num_channels, config.image_size, config.image_size];
        let sources: Vec<_> = images.iter().map(|(source, _)| *source).collect();
        let scale = self.text.scale();
        let mut progress = Progress::default();
        for batch in in_order(images.len(), self.batch_images, self.vision.reach()) {
            progress.requests += batch.len();
            if batch.iter().all(|index| known[*index]) {
                continue;
            }
            let pixels = pixel_values(&sources, &batch, &self.processor, shape, &self.device)?;
            let context = self.vision.context(&pixels);
            progress.tokens += context.num_tokens();
            progress.computed = progress.tokens;
            let found = self.vision.forward(&pixels, &mut RoutingTape::new(context));
            for (index, image) in batch.iter().zip(rows(found.image_embeds)?) {
                let image = direction(image);
                let logit = |text: &Vec<f64>| {
                    scale * image.iter().zip(text).map(|(a, b)| a * b).sum::<f64>()
                };
                let logits: Vec<_> = lists[images[*index].1].iter().map(logit).collect();
                if logits.iter().any(|logit| !logit.is_finite()) {
                    return Err(ClassificationError::NotFinite { index: *index }.into());
                }
                done(*index, logits, progress)?;
            }
        }
        Ok(())
    }

    /// Where the texts of a list of classes point; `index` is a request that has it.
    fn directions_of(
        &self,
        index: usize,
        labels: &[String],
    ) -> Result<Vec<Vec<f64>>, ClassificationError> {
        if labels.is_empty() {
            return Err(ClassificationError::NoLabels { index });
        }
        let config = self.text.config();
        let mut texts = Vec::with_capacity(labels.len());
        for label in labels {
            let tokens = self.tokenizer.encode(label, true)?;
            let vocab_size = config.vocab_size;
            if let Some(token) = tokens.iter().copied().find(|id| *id as usize >= vocab_size) {
                return Err(ClassificationError::TokenOutOfRange { index, token, vocab_size });
            }
            if config.end_of(&tokens).is_none() {
                return Err(ClassificationError::NoEnd { index, label: label.clone() });
            }
            texts.push(tokens);
        }
        let longest = texts.iter().map(Vec::len).max().unwrap_or(1);
        let mut directions = Vec::with_capacity(texts.len());
        for texts in texts.chunks((self.batch_tokens / longest).max(1)) {
            directions
                .extend(rows(self.text.embed(texts, &self.device))?.into_iter().map(direction));
        }
        Ok(directions)
    }
}

/// A vector of length 1.
fn direction(vector: Vec<f64>) -> Vec<f64> {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.into_iter().map(|x| x / length).collect()
}
