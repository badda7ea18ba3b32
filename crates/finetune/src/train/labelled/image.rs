use burn::tensor::{Device, Tensor, TensorData};
use data::{ImageData, LabelSet, Target};
use fused_ops::sent;
use model_zoo::{ImageClassifier, ImageError, ImageProcessor};
use rayon::prelude::*;

use super::batch::{self, LabelledBatch};
use super::measures::Measures;
use crate::train::{
    BatchOutcome, Measurement, Pass, PassGradients, PassReport, TrainError, TrainingConfig,
    TrainingSample, TrainingTask,
};

/// An image with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSample {
    /// The image, not yet processed.
    pub image: ImageData,
    /// What is to be answered.
    pub target: Target,
    /// Task type, where the data has one.
    pub task_type: Option<u32>,
    /// The positions that the model makes of an image.
    pub positions: usize,
}

/// Classifying images, or predicting a number of each.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageTask {
    processor: ImageProcessor,
    measures: Measures,
}

impl ImageTask {
    /// The task of telling labels apart by images, each of which is processed as the model's folder
    /// says, whenever it is needed.
    pub fn new(labels: &LabelSet, processor: ImageProcessor) -> Self {
        Self { processor, measures: Measures(labels.clone()) }
    }

    /// The pixels of an image as a model of this shape reads them.
    fn process(&self, image: &ImageData, shape: [usize; 3]) -> Result<Vec<f32>, ImageError> {
        self.processor.process(image.load()?, shape)
    }

    /// The logits of a batch by a model off its autodiff device, row by row.
    pub fn logits<M: ImageClassifier>(
        &self,
        model: &M,
        batch: &LabelledBatch<Tensor<4>>,
    ) -> Vec<Vec<f64>> {
        batch::logits(model, batch)
    }
}

impl TrainingSample for ImageSample {
    fn tokens(&self) -> usize {
        self.positions
    }

    fn targets(&self) -> usize {
        self.target.terms()
    }

    fn task_type(&self) -> Option<u32> {
        self.task_type
    }

    fn describe(&self, write: &mut dyn FnMut(&[u8])) {
        let Self { image, target, task_type, positions: _ } = self;
        match image {
            ImageData::File(path) => write(path.as_os_str().as_encoded_bytes()),
            ImageData::Encoded(bytes) => write(bytes),
            ImageData::Pixels(image) => {
                image.shape().iter().for_each(|size| write(&(*size as u64).to_le_bytes()));
                write(image.data());
            }
        }
        target.numbers().iter().for_each(|number| write(&number.to_le_bytes()));
        write(&task_type.map_or(u64::MAX, u64::from).to_le_bytes());
    }
}

impl<M: ImageClassifier> TrainingTask<M> for ImageTask {
    type Sample = ImageSample;
    type Batch = LabelledBatch<Tensor<4>>;

    fn device(&self, model: &M) -> Device {
        model.device()
    }

    fn check(&self, training: &TrainingConfig) -> Result<(), TrainError> {
        batch::check(training)
    }

    fn batch(
        &self,
        model: &M,
        samples: &[ImageSample],
        indices: &[usize],
    ) -> Result<Self::Batch, TrainError> {
        let (device, shape) = (model.device(), model.image_shape());
        let [channels, height, width] = shape;
        let chosen: Vec<&ImageSample> = indices.iter().filter_map(|at| samples.get(*at)).collect();
        let pixels: Vec<Vec<f32>> = chosen
            .par_iter()
            .map(|sample| self.process(&sample.image, shape))
            .collect::<Result<_, _>>()?;
        let pixels = TensorData::new(pixels.concat(), [chosen.len(), channels, height, width]);
        Ok(LabelledBatch {
            input: Tensor::from_data(sent(pixels), &device),
            targets: chosen.iter().map(|of| of.target.clone()).collect(),
            task_types: batch::task_types(chosen.iter().map(|of| of.task_type), &device),
            token_count: chosen.iter().map(|of| of.positions).sum(),
        })
    }

    fn differentiate(
        &self,
        model: &M,
        batch: &Self::Batch,
        pass: &Pass<'_>,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError> {
        batch::differentiate(model, batch, pass, gradients)
    }

    fn evaluate(&self, model: &M, batch: &Self::Batch) -> Result<BatchOutcome, TrainError> {
        Ok(batch::evaluate(model, batch))
    }

    fn measures(&self) -> Vec<String> {
        self.measures.names()
    }

    fn measure(&self, _: f64, outcomes: &[BatchOutcome]) -> Vec<Measurement> {
        self.measures.of(outcomes)
    }
}
