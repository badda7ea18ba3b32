use burn::tensor::Device;
use data::{ImageData, LabelSet, Target};
use model_zoo::{
    AnyModelConfig, ClassificationTask, ClipClassifier, Image, ModelError, RobertaClassifier,
    VitClassifier, resolve_model,
};
use moe_adapter::{Adaptable, AdaptedLinear, AdapterSize};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::dry_run::{held_bytes, optimizer_bytes, values_bytes};
use super::super::step_memory::{Points, StepParts};
use super::super::{DryData, DryMeasurement, DryRun, DryRunOptions, PeakMemory, RunConfig};
use super::inputs::target_of;
use super::labels::task_of;
use super::prepare::kept_head;
use super::{LabelledData, LabelledInputs, LabelledReport, LabelledRows};
use crate::bench::{TrainBench, TrainBenchResult, bench_task};
use crate::memory::resident_bytes;
use crate::train::{ImageSample, ImageTask, TextSample, TextTask, TrainError};

impl DryRun {
    /// As [`new`](Self::new), for an encoder.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_labelled(
        run: &RunConfig<LabelledData>,
        options: DryRunOptions,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let folder = resolve_model(&run.model.path, run.model.revision.as_deref())
            .map_err(ModelError::from)?;
        // A tokenizer, or what is done to images, is asked for only where something is read by it.
        let inputs = match options.without_data && !options.measure {
            true => None,
            false => {
                let max_length = run.data.max_length;
                Some(LabelledInputs::from_folder(&folder, run.data.task, max_length)?)
            }
        };
        let mut labels = match &run.data.labels {
            Some(names) => LabelSet::new(names.clone(), run.data.problem())?,
            None => LabelSet::regression(),
        };
        let mut data = None;
        if let Some(inputs) = inputs.as_ref().filter(|_| !options.without_data) {
            let head = kept_head(run, &folder, run.start.from.as_deref())?;
            let head = head.as_ref().map(|(task, path)| (task, path.as_path()));
            let rows = LabelledRows::read(run, head)?;
            labels = rows.labels;
            let (samples, cut) = inputs.samples(&rows.train, &target_of(&labels))?;
            let counted = samples.counted();
            let lengths: Vec<usize> = counted.iter().map(|(tokens, _)| *tokens).collect();
            let batches = run.training.plan(&lengths)?.batches_per_epoch();
            data = Some((LabelledReport::of(&labels, counted, cut), batches));
        }
        let config = AnyModelConfig::from_folder(&folder).map_err(ModelError::from)?;
        let shape = Shape { config, task: task_of(&labels), run, device };
        let size = shape.size()?;
        let parameters = shape.parameters();
        let batches = data.as_ref().map(|(_, batches)| *batches);
        let steps = match (batches, run.training.max_steps) {
            (Some(batches), _) => Some(run.training.total_steps(batches)),
            (None, 0) => None,
            (None, steps) => Some(steps),
        };
        let measured = match inputs.as_ref().filter(|_| options.measure) {
            None => None,
            Some(inputs) => {
                let seq_len = match (inputs, &data) {
                    (LabelledInputs::Text { .. }, Some((data, _))) => data.longest,
                    (LabelledInputs::Text { max_length, .. }, None) => *max_length,
                    (LabelledInputs::Image { positions, .. }, _) => *positions,
                };
                let batch_size = match run.training.max_tokens_per_batch {
                    0 => run.training.per_device_train_batch_size,
                    tokens => (tokens / seq_len.max(1)).max(1),
                };
                Some(shape.measure(inputs, &labels, [batch_size, seq_len])?)
            }
        };
        Ok(Self {
            parameters,
            linears: size.linears,
            experts: size.experts,
            routers: size.routers,
            whole: size.whole,
            weight_bytes: 4.0 * parameters as f64,
            adapter_bytes: values_bytes(&size),
            gradient_bytes: values_bytes(&size),
            optimizer_bytes: optimizer_bytes(&size, &run.training),
            data: data.map(|(report, batches)| DryData {
                samples: report.samples,
                batches,
                tokens: report.tokens,
                learned: report.samples,
                longest: report.longest,
                mixture: None,
                report: report.to_string(),
            }),
            steps,
            measured,
        })
    }
}

/// What the model of a run looks like.
struct Shape<'a> {
    config: AnyModelConfig,
    task: ClassificationTask,
    run: &'a RunConfig<LabelledData>,
    device: &'a Device,
}

impl Shape<'_> {
    /// What the adapter trains of the model.
    fn size(&self) -> Result<AdapterSize, TrainError> {
        let adapter = &self.run.adapter;
        let config = self.with_layers(None);
        Ok(match &config {
            AnyModelConfig::Roberta(config) => {
                let model: RobertaClassifier =
                    RobertaClassifier::shaped(config, self.device).map_err(ModelError::from)?;
                AdapterSize::of(&model, adapter)?
            }
            AnyModelConfig::Vit(config) => {
                let model: VitClassifier =
                    VitClassifier::shaped(config, self.device).map_err(ModelError::from)?;
                AdapterSize::of(&model, adapter)?
            }
            AnyModelConfig::ClipVision(config) => {
                let model: ClipClassifier = ClipClassifier::shaped(config, &self.task, self.device)
                    .map_err(ModelError::from)?;
                AdapterSize::of(&model, adapter)?
            }
            _ => return Err(TrainError::NoSamples),
        })
    }

    /// The configuration with the labels of the run, and of so many layers.
    fn with_layers(&self, layers: Option<usize>) -> AnyModelConfig {
        let mut config = self.config.clone();
        match &mut config {
            AnyModelConfig::Roberta(config) => {
                config.task = self.task.clone();
                config.num_hidden_layers = layers.unwrap_or(config.num_hidden_layers);
            }
            AnyModelConfig::Vit(config) => {
                config.task = self.task.clone();
                config.num_hidden_layers = layers.unwrap_or(config.num_hidden_layers);
            }
            AnyModelConfig::ClipVision(config) => {
                config.num_hidden_layers = layers.unwrap_or(config.num_hidden_layers);
            }
            _ => {}
        }
        config
    }

    fn layers(&self) -> usize {
        match &self.config {
            AnyModelConfig::Roberta(config) => config.num_hidden_layers,
            AnyModelConfig::Vit(config) => config.num_hidden_layers,
            AnyModelConfig::ClipVision(config) => config.num_hidden_layers,
            _ => 0,
        }
    }

    fn parameters(&self) -> usize {
        self.with_layers(None).parameter_count()
    }

    /// Times micro-batches of models of two and three layers with random weights, and draws a line
    /// through both.
    fn measure(
        &self,
        inputs: &LabelledInputs,
        labels: &LabelSet,
        batch: [usize; 2],
    ) -> Result<DryMeasurement, TrainError> {
        let before = resident_bytes().unwrap_or(0.0);
        let mut points = Points::default();
        for layers in 2..=3 {
            let result = self.bench(layers, inputs, labels, batch)?;
            points.add(&result);
        }
        let weights = 4.0 * self.with_layers(None).parameter_count() as f64;
        let (size, training, layers) = (self.size()?, &self.run.training, self.layers());
        let held = weights + held_bytes(&size, training);
        let parts = StepParts::of(training.recompute, 1, (0.0, 0.0), &points, None);
        let step = parts.in_all(training.recompute, layers, (0.0, 0.0));
        let passes = training.gradient_accumulation_steps as f64;
        // Encoders have no matrix that loading would leave much of.
        let memory = || PeakMemory::new(held, step, 0.0, before + values_bytes(&size));
        Ok(DryMeasurement {
            step_s: Some(points.line(0, layers as f64) * passes),
            memory: points.counted(self.device).then(memory),
            batch,
            run: vec![batch[1]],
        })
    }

    fn bench(
        &self,
        layers: usize,
        inputs: &LabelledInputs,
        labels: &LabelSet,
        [batch_size, seq_len]: [usize; 2],
    ) -> Result<TrainBenchResult, TrainError> {
        let training = &self.run.training;
        let bench = TrainBench {
            batch_size,
            seq_len,
            steps: 2,
            warmup: 1,
            seed: training.seed,
            recompute: training.recompute,
        };
        let target = match labels.problem {
            model_zoo::ProblemType::Regression => Target::Value(0.0),
            model_zoo::ProblemType::SingleLabelClassification => Target::Class(0),
            model_zoo::ProblemType::MultiLabelClassification => {
                Target::Classes(vec![true; labels.names.len()])
            }
        };
        let mut adapter = self.run.adapter.clone();
        adapter.layers_to_transform = None;
        let config = self.with_layers(Some(layers));
        match (&config, inputs) {
            (AnyModelConfig::Roberta(config), LabelledInputs::Text { .. }) => {
                let model: RobertaClassifier =
                    frozen(RobertaClassifier::init_random(config, 0, self.device))?;
                let vocabulary = config.vocab_size as u32;
                let sample = |row: usize, rng: &mut ChaCha8Rng| TextSample {
                    input_ids: (0..seq_len).map(|_| rng.random_range(0..vocabulary)).collect(),
                    target: target.clone(),
                    task_type: Some((row % 2) as u32),
                };
                bench_task(TextTask::new(labels), model, &adapter, &bench, sample)
            }
            (AnyModelConfig::Vit(config), LabelledInputs::Image { processor, shape, .. }) => {
                let model: VitClassifier =
                    frozen(VitClassifier::init_random(config, 0, self.device))?;
                let task = ImageTask::new(labels, processor.clone());
                bench_task(task, model, &adapter, &bench, images(*shape, seq_len, &target)?)
            }
            (
                AnyModelConfig::ClipVision(config),
                LabelledInputs::Image { processor, shape, .. },
            ) => {
                let model: ClipClassifier =
                    frozen(ClipClassifier::init_random(config, &self.task, 0, self.device))?;
                let task = ImageTask::new(labels, processor.clone());
                bench_task(task, model, &adapter, &bench, images(*shape, seq_len, &target)?)
            }
            _ => Err(TrainError::NoSamples),
        }
    }
}

/// A model of random weights whose base is frozen.
fn frozen<M: Adaptable<Projection = AdaptedLinear>>(
    model: Result<M, model_zoo::ConfigError>,
) -> Result<M, TrainError> {
    Ok(model.map_err(ModelError::from)?.no_grad())
}

/// Makes samples of black images.
fn images(
    [channels, height, width]: [usize; 3],
    positions: usize,
    target: &Target,
) -> Result<impl FnMut(usize, &mut ChaCha8Rng) -> ImageSample + use<>, TrainError> {
    let image = Image::new([height, width, channels], vec![0; channels * height * width])?;
    let (image, target) = (ImageData::Pixels(image), target.clone());
    Ok(move |row: usize, _: &mut ChaCha8Rng| ImageSample {
        image: image.clone(),
        target: target.clone(),
        task_type: Some((row % 2) as u32),
        positions,
    })
}

#[cfg(test)]
mod tests {
    use model_zoo::RobertaConfig;

    use super::*;
    use crate::run::AnyRunConfig;

    #[test]
    fn a_shape_has_the_layers_of_its_configuration_or_those_that_are_asked_for() {
        let text = "[model]\npath = \"m\"\n[adapter]\nr = 2\nlora_alpha = 4\n\
                    target_modules = \"all-linear\"\n[data]\ntask = \"regression\"\n\
                    train = [{ path = \"a.csv\" }]\n[training]\noutput_dir = \"o\"\n";
        let Ok(AnyRunConfig::Labelled(run)) = AnyRunConfig::from_toml(text, "run.toml", &[]) else {
            panic!("a run with labels")
        };
        let task = ClassificationTask::with_num_labels(1);
        let config = RobertaConfig::new(50, 16, 24, 3, 2, task.clone());
        let (config, device) = (AnyModelConfig::Roberta(config), Device::flex());
        let shape = Shape { config: config.clone(), task, run: &run, device: &device };
        assert_eq!(shape.layers(), 3);
        assert_eq!(shape.parameters(), config.parameter_count());
        let one = Shape { config: shape.with_layers(Some(1)), task: shape.task.clone(), ..shape };
        assert_eq!(one.layers(), 1);
    }
}
