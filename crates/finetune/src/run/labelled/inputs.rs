use std::path::Path;

use data::{ImageData, InputKind, LabelSet, LabelledRow, RowInput, Target};
use model_zoo::{
    AnyModelConfig, ImageError, ImageProcessor, ModelError, RobertaConfig, TextTokenizer,
};
use rayon::prelude::*;

use super::LabelledTask;
use crate::train::{ImageSample, TextSample, TrainError};

/// What makes samples of rows: what the folder of a model has beside its weights.
#[derive(Debug, Clone)]
pub enum LabelledInputs {
    /// Of texts, or of pairs of texts.
    Text {
        /// The tokenizer, whose post-processor joins pairs.
        tokenizer: Box<TextTokenizer>,
        /// The longest text or pair in tokens; longer ones are cut.
        max_length: usize,
    },
    /// Of images.
    Image {
        /// What is done to an image before the model reads it.
        processor: ImageProcessor,
        /// Channels, height and width of what the model reads.
        shape: [usize; 3],
        /// The positions that it makes of an image.
        positions: usize,
    },
}

impl LabelledInputs {
    /// Reads what the folder of a model has for a task; no weight is read.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the model is not for the task, `max_length` is more than it reads, or a
    /// file is at fault.
    pub fn from_folder(
        folder: &Path,
        task: LabelledTask,
        max_length: Option<usize>,
    ) -> Result<Self, TrainError> {
        let config = AnyModelConfig::from_folder(folder).map_err(ModelError::from)?;
        let family = config.family();
        match config {
            AnyModelConfig::Roberta(config) => {
                check_kind(task, InputKind::Text, family)?;
                let max_length = longest(max_length, &config)?;
                let tokenizer = Box::new(TextTokenizer::from_folder(folder)?);
                Ok(Self::Text { tokenizer, max_length })
            }
            AnyModelConfig::Vit(config) => {
                check_kind(task, InputKind::Image, family)?;
                let shape = [config.num_channels, config.image_size, config.image_size];
                Self::image(folder, shape, config.num_positions())
            }
            AnyModelConfig::ClipVision(config) => {
                check_kind(task, InputKind::Image, family)?;
                let shape = [config.num_channels, config.image_size, config.image_size];
                Self::image(folder, shape, config.num_positions())
            }
            _ => {
                let allowed = format!(
                    "\"causal_lm\" for {family}, the model in {}: RoBERTa, ViT and CLIP classify",
                    folder.display()
                );
                Err(TrainError::value("data.task", format!("{:?}", task.name()), allowed))
            }
        }
    }

    fn image(folder: &Path, shape: [usize; 3], positions: usize) -> Result<Self, TrainError> {
        let processor = ImageProcessor::from_folder(folder).map_err(ModelError::from)?;
        Ok(Self::Image { processor, shape, positions })
    }

    /// The samples of rows, and how many of them were cut. What `target` says of a row is what it
    /// is to be answered.
    ///
    /// Each image is read once here, so that one that cannot be used is found before anything is
    /// trained.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the row, and what `target` returns.
    pub fn samples(
        &self,
        rows: &[LabelledRow],
        target: &(dyn Fn(&LabelledRow) -> Result<Target, TrainError> + Sync),
    ) -> Result<(LabelledSamples, usize), TrainError> {
        match self {
            Self::Text { tokenizer, max_length } => {
                let (samples, cut) = texts(rows, target, tokenizer, *max_length)?;
                Ok((LabelledSamples::Texts(samples), cut))
            }
            Self::Image { processor, shape, positions } => {
                let samples = rows.par_iter().map(|row| {
                    let image = image_of(row, processor, *shape)?;
                    let (task_type, positions) = (row.task_type, *positions);
                    Ok(ImageSample { image, target: target(row)?, task_type, positions })
                });
                let samples = samples.collect::<Result<_, TrainError>>()?;
                Ok((LabelledSamples::Images(samples), 0))
            }
        }
    }
}

/// Samples of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelledSamples {
    /// Of texts.
    Texts(Vec<TextSample>),
    /// Of images.
    Images(Vec<ImageSample>),
}

impl LabelledSamples {
    /// The tokens and the target of each.
    pub fn counted(&self) -> Vec<(usize, &Target)> {
        match self {
            Self::Texts(samples) => {
                samples.iter().map(|of| (of.input_ids.len(), &of.target)).collect()
            }
            Self::Images(samples) => samples.iter().map(|of| (of.positions, &of.target)).collect(),
        }
    }
}

/// What a row is to be answered by its label.
pub(super) fn target_of(
    labels: &LabelSet,
) -> impl Fn(&LabelledRow) -> Result<Target, TrainError> + Sync + '_ {
    |row| Ok(labels.target(row)?)
}

fn texts(
    rows: &[LabelledRow],
    target: &dyn Fn(&LabelledRow) -> Result<Target, TrainError>,
    tokenizer: &TextTokenizer,
    max_length: usize,
) -> Result<(Vec<TextSample>, usize), TrainError> {
    let cutting = tokenizer.clone().with_truncation(max_length)?;
    let mut cut = 0;
    let mut samples = Vec::with_capacity(rows.len());
    for row in rows {
        let RowInput::Text { text, text_pair } = &row.input else { return Err(other_input(row)) };
        let mut input_ids = tokenizer.encode_pair(text, text_pair.as_deref())?;
        if input_ids.len() > max_length {
            input_ids = cutting.encode_pair(text, text_pair.as_deref())?;
            cut += 1;
        }
        if input_ids.is_empty() {
            return Err(TrainError::value(row.origin.to_string(), "empty", "at least one token"));
        }
        samples.push(TextSample { input_ids, target: target(row)?, task_type: row.task_type });
    }
    Ok((samples, cut))
}

fn image_of(
    row: &LabelledRow,
    processor: &ImageProcessor,
    shape: [usize; 3],
) -> Result<ImageData, TrainError> {
    let RowInput::Image(image) = &row.input else { return Err(other_input(row)) };
    let tried = image.load().and_then(|image| processor.process(image, shape));
    match (tried, image) {
        (Ok(_), _) => Ok(image.clone()),
        // These name the file.
        (
            Err(
                error @ (ImageError::Read { .. }
                | ImageError::File { .. }
                | ImageError::NoFiles { .. }),
            ),
            _,
        ) => Err(error.into()),
        (Err(source), ImageData::File(path)) => {
            Err(TrainError::ImageOf { origin: path.display().to_string(), source })
        }
        (Err(source), ImageData::Encoded(_) | ImageData::Pixels(_)) => {
            Err(TrainError::ImageOf { origin: row.origin.to_string(), source })
        }
    }
}

fn other_input(row: &LabelledRow) -> TrainError {
    TrainError::value(row.origin.to_string(), "of another kind", "a row of the task")
}

/// The longest text in tokens.
fn longest(max_length: Option<usize>, config: &RobertaConfig) -> Result<usize, TrainError> {
    let most = config.max_positions();
    let longest = max_length.unwrap_or(most);
    match (1..=most).contains(&longest) {
        true => Ok(longest),
        false => {
            let allowed = format!("at least 1 and at most {most}, what the model reads");
            Err(TrainError::value("data.max_length", longest, allowed))
        }
    }
}

/// Refuses a task of other rows than a model reads.
fn check_kind(task: LabelledTask, wanted: InputKind, family: &str) -> Result<(), TrainError> {
    if task.input() == wanted {
        return Ok(());
    }
    let allowed = match wanted {
        InputKind::Text => "\"sequence_classification\" or \"regression\"",
        InputKind::Image => "\"image_classification\"",
    };
    let allowed = format!("{allowed} for {family}");
    Err(TrainError::value("data.task", format!("{:?}", task.name()), allowed))
}
