use std::path::Path;

use burn::tensor::Device;
use eval_tasks::{ImageSource, Request, Response};
use model_zoo::{
    AnyModel, ClipClassifier, ClipText, ImageClassifier, ImageProcessor, LoadOptions,
    RobertaClassifier, TextTokenizer, VitClassifier,
};
use moe_adapter::AdaptedLinear;

use super::{Answer, AnswerError};
use crate::classification::{
    ClassificationError, ClassificationOptions, ImageClassification, TextClassification, TextInput,
    ZeroShotImageClassification,
};
use crate::scoring::Progress;

/// An encoder of texts or images that answers requests by logits of classes.
#[derive(Debug, Clone)]
pub struct EncoderModel<'a>(Kind<'a>);

#[derive(Debug, Clone)]
enum Kind<'a> {
    Text(Box<TextClassification<'a, RobertaClassifier>>),
    Vit(ImageClassification<'a, VitClassifier>),
    ClipHead(ImageClassification<'a, ClipClassifier>),
    ZeroShot(Box<ZeroShotImageClassification<'a, AdaptedLinear>>),
}

type Done<'a> = dyn FnMut(usize, Response, Progress) -> Result<(), AnswerError> + 'a;

impl<'a> EncoderModel<'a> {
    /// A model on `device`, with or without an adapter, and what the Hugging Face folder that it
    /// was loaded from has beside it: the tokenizer of RoBERTa and of CLIP, the image processor of
    /// ViT and of CLIP, and the text tower of a CLIP without a head.
    ///
    /// # Errors
    ///
    /// [`ClassificationError`] when something of this is missing or cannot be used, or the model is
    /// a language model.
    pub fn new(
        model: &'a AnyModel,
        folder: &Path,
        load: &LoadOptions,
        device: &Device,
        options: &ClassificationOptions,
    ) -> Result<Self, ClassificationError> {
        Ok(Self(match model {
            AnyModel::Decoder(_) => return Err(ClassificationError::LanguageModel),
            AnyModel::Roberta(model) => {
                let tokenizer = TextTokenizer::from_folder(folder)?;
                Kind::Text(Box::new(TextClassification::new(model, &tokenizer, options)?))
            }
            AnyModel::Vit(model) => {
                let processor = ImageProcessor::from_folder(folder)?;
                Kind::Vit(ImageClassification::new(model, processor, options))
            }
            AnyModel::ClipClassifier(model) => {
                let processor = ImageProcessor::from_folder(folder)?;
                Kind::ClipHead(ImageClassification::new(model, processor, options))
            }
            AnyModel::ClipVision(vision) => {
                let text = ClipText::load(folder, load, device)?;
                let tokenizer = TextTokenizer::from_folder(folder)?;
                let processor = ImageProcessor::from_folder(folder)?;
                let device = device.clone();
                Kind::ZeroShot(Box::new(ZeroShotImageClassification::new(
                    vision, text, tokenizer, processor, device, options,
                )?))
            }
        }))
    }
}

impl Answer for EncoderModel<'_> {
    fn answer(
        &self,
        requests: &[Request],
        known: &[bool],
        done: &mut Done<'_>,
    ) -> Result<(), AnswerError> {
        let mut keep = |index: usize, logits: Vec<f64>, progress: Progress| {
            done(index, Response::Logits(logits), progress)
        };
        match &self.0 {
            Kind::Text(model) => model.classify(&texts(requests)?, known, &mut keep),
            Kind::Vit(model) => with_head(model, requests, known, &mut keep),
            Kind::ClipHead(model) => with_head(model, requests, known, &mut keep),
            Kind::ZeroShot(model) => model.classify(&images(requests)?, known, &mut keep),
        }
    }
}

fn with_head<M: ImageClassifier>(
    model: &ImageClassification<'_, M>,
    requests: &[Request],
    known: &[bool],
    keep: &mut dyn FnMut(usize, Vec<f64>, Progress) -> Result<(), AnswerError>,
) -> Result<(), AnswerError> {
    let images = images(requests)?;
    let expected = model.num_labels();
    for (index, (_, labels)) in images.iter().enumerate() {
        let found = labels.len();
        if found != 0 && found != expected {
            return Err(ClassificationError::Labels { index, found, expected }.into());
        }
    }
    let images: Vec<_> = images.into_iter().map(|(image, _)| image).collect();
    model.classify(&images, known, keep)
}

fn texts(requests: &[Request]) -> Result<Vec<TextInput<'_>>, AnswerError> {
    let requests = requests.iter().enumerate().map(|(index, request)| match request {
        Request::SequenceClassification { text, text_pair } => {
            Ok(TextInput { text, text_pair: text_pair.as_deref() })
        }
        other => Err(unanswered(index, other, "texts")),
    });
    requests.collect()
}

type LabelledImage<'a> = (&'a ImageSource, &'a [String]);

fn images(requests: &[Request]) -> Result<Vec<LabelledImage<'_>>, AnswerError> {
    let requests = requests.iter().enumerate().map(|(index, request)| match request {
        Request::ImageClassification { image, labels } => Ok((image, labels.as_slice())),
        other => Err(unanswered(index, other, "images")),
    });
    requests.collect()
}

fn unanswered(index: usize, request: &Request, what: &str) -> AnswerError {
    let asked = match request {
        Request::LogLikelihood { .. } | Request::LogLikelihoodRolling { .. } => "a likelihood",
        Request::GenerateUntil { .. } => "a text",
        Request::SequenceClassification { .. } => "the class of a text",
        Request::ImageClassification { .. } => "the class of an image",
    };
    let message = format!("{asked} is asked for, but the model classifies {what}");
    AnswerError::Request { index, message }
}

impl From<ClassificationError> for AnswerError {
    fn from(error: ClassificationError) -> Self {
        match error.request() {
            Some(index) => Self::Request { index, message: error.to_string() },
            None => Self::Model(error.to_string()),
        }
    }
}
