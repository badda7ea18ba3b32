use std::path::{Path, PathBuf};

use adapter_arithmetic::train_router_only;
use adapter_formats::read_adapter;
use burn::tensor::Device;
use data::LabelSet;
use model_zoo::{AnyModel, ClassificationTask, LoadOptions, ModelError, resolve_model};
use moe_adapter::{
    Adaptable, AdaptedLinear, AttachOptions, StoredAdapter, attach_saved, attach_with,
    trainable_names, trainable_parameters,
};
use ranks::Ranks;
use svd_init::SvdCache;

use super::super::precision::{check_precision, choose_precision};
use super::super::prepare::checkpoint_of;
use super::super::{RunConfig, TrainedPart};
use super::inputs::target_of;
use super::labels::{file_of, read_labels, task_of};
use super::model::{LabelledModel, with_labelled_model};
use super::{
    LABELS_FILE, LabelledData, LabelledInputs, LabelledReport, LabelledRows, LabelledSamples,
    load_with_head,
};
use crate::train::{
    ImageTask, Resume, TextTask, TrainError, TrainObserver, TrainSummary, Trainer, TrainingTask,
    broken_checkpoint, check_adapter,
};

/// An encoder with its adapters attached, and the samples of a run.
pub struct PreparedLabelledRun {
    model: LabelledModel,
    inputs: LabelledInputs,
    train: LabelledSamples,
    validation: LabelledSamples,
    /// What it tells apart.
    pub labels: LabelSet,
    /// What became of the rows to train on.
    pub train_report: LabelledReport,
    /// What became of the rows to validate on.
    pub validation_report: LabelledReport,
    /// How many linears are adapted.
    pub adapted: usize,
    /// How many parameters are trained.
    pub trainable: usize,
}

impl PreparedLabelledRun {
    /// Reads the model and the data of a run, and puts the adapter on the model: a fresh one with a
    /// new head, the saved one that the run starts from, or that of the checkpoint which it goes on
    /// from. `ranks` that prepare the same run share the start's decompositions. `progress` is told how
    /// many of these are done.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, the row or the key at fault, and when ranks cannot go on
    /// together.
    pub fn new(
        run: &RunConfig<LabelledData>,
        device: &Device,
        resume: &Resume,
        ranks: &dyn Ranks,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, TrainError> {
        let checkpoint = checkpoint_of(ranks, resume, &run.output_dir)?;
        let folder = resolve_model(&run.model.path, run.model.revision.as_deref())
            .map_err(ModelError::from)?;
        let inputs = LabelledInputs::from_folder(&folder, run.data.task, run.data.max_length)?;
        let saved = checkpoint.as_deref().or(run.start.from.as_deref());
        let head = kept_head(run, &folder, saved)?;
        let head = head.as_ref().map(|(task, path)| (task, path.as_path()));
        let LabelledRows { train, validation, labels } = LabelledRows::read(run, head)?;
        let target = target_of(&labels);
        let (train, cut) = inputs.samples(&train, &target)?;
        let train_report = LabelledReport::of(&labels, train.counted(), cut);
        let (validation, cut) = inputs.samples(&validation, &target)?;
        let validation_report = LabelledReport::of(&labels, validation.counted(), cut);
        drop(target);

        let options = LoadOptions::default();
        choose_precision(&run.training);
        check_precision(options.dtype.computed(), options.quantization, device)?;
        let model = match saved.is_none() && run.model.new_head == Some(false) {
            true => AnyModel::load(&folder, &options, device)?,
            false => {
                let seed = run.training.seed;
                load_with_head(&folder, task_of(&labels), seed, &options, device)?
            }
        };
        let mut model = LabelledModel::of(model, folder.display())?;
        let (adapted, trainable) = with_labelled_model!(&mut model, model => {
            let adapted = put_adapter(model.as_mut(), run, checkpoint.as_deref(), (ranks, progress))?;
            (adapted, trainable_parameters(model.as_ref()))
        });
        Ok(Self {
            model,
            inputs,
            train,
            validation,
            labels,
            train_report,
            validation_report,
            adapted,
            trainable,
        })
    }

    /// Trains it as its run says, from the start or from a checkpoint.
    ///
    /// # Errors
    ///
    /// As [`Trainer::run`].
    pub fn train(
        self,
        run: &RunConfig<LabelledData>,
        resume: &Resume,
        ranks: &dyn Ranks,
        observer: &mut dyn TrainObserver,
    ) -> Result<TrainSummary, TrainError> {
        use {LabelledInputs as Inputs, LabelledModel as Model, LabelledSamples as Samples};
        let labels = file_of(&self.labels);
        let how = (run, resume, ranks, labels.as_str());
        match (self.model, self.inputs, self.train, self.validation) {
            (Model::Roberta(model), _, Samples::Texts(one), Samples::Texts(other)) => {
                train(*model, TextTask::new(&self.labels), [&one, &other], how, observer)
            }
            (
                Model::Vit(model),
                Inputs::Image { processor, .. },
                Samples::Images(one),
                Samples::Images(other),
            ) => {
                let task = ImageTask::new(&self.labels, processor);
                train(*model, task, [&one, &other], how, observer)
            }
            (
                Model::Clip(model),
                Inputs::Image { processor, .. },
                Samples::Images(one),
                Samples::Images(other),
            ) => {
                let task = ImageTask::new(&self.labels, processor);
                train(*model, task, [&one, &other], how, observer)
            }
            // The samples are what the model's own folder makes of rows.
            _ => Err(TrainError::NoSamples),
        }
    }
}

type How<'a> = (&'a RunConfig<LabelledData>, &'a Resume, &'a dyn Ranks, &'a str);

fn train<M, T>(
    model: M,
    task: T,
    samples: [&[T::Sample]; 2],
    (run, resume, ranks, labels): How<'_>,
    observer: &mut dyn TrainObserver,
) -> Result<TrainSummary, TrainError>
where
    M: Adaptable<Projection = AdaptedLinear>,
    T: TrainingTask<M>,
{
    let (adapter, training) = (&run.adapter, &run.training);
    let trainer = Trainer::for_task(task, model, adapter, training, samples, &run.output_dir)?
        .with_base_model(run.model.path.display().to_string())
        .with_file(LABELS_FILE, labels)
        .with_ranks(ranks);
    Ok(trainer.run(resume, observer)?.1)
}

/// What the head tells apart that a run keeps, and the file that says so: that of a saved adapter, or
/// of the model itself.
pub(super) fn kept_head(
    run: &RunConfig<LabelledData>,
    folder: &Path,
    saved: Option<&Path>,
) -> Result<Option<(ClassificationTask, PathBuf)>, TrainError> {
    if let Some(saved) = saved {
        let task = read_labels(saved)?;
        return Ok(task.map(|task| (task, saved.join(LABELS_FILE))));
    }
    if run.model.new_head != Some(false) {
        return Ok(None);
    }
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let value = serde_json::from_str(&text)
        .map_err(|error| TrainError::State { path: path.clone(), message: error.to_string() })?;
    let task = ClassificationTask::from_json(&value, &path.display().to_string());
    Ok(Some((task.map_err(ModelError::from)?, path)))
}

/// Puts the adapter of a run on its model; how many linears are adapted.
fn put_adapter<M>(
    model: &mut M,
    run: &RunConfig<LabelledData>,
    checkpoint: Option<&Path>,
    (ranks, progress): (&dyn Ranks, &(dyn Fn(usize, usize) + Sync)),
) -> Result<usize, TrainError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    // What is trained is for the adapter to say.
    *model = model.clone().no_grad();
    let saved = |model: &mut M, folder: &Path| -> Result<usize, TrainError> {
        let StoredAdapter { state, config, .. } = read_adapter(folder)?;
        if checkpoint.is_some() {
            check_adapter(&config, &run.adapter, folder)?;
        }
        Ok(attach_saved(model, &run.adapter, state, &folder.display().to_string())?)
    };
    let adapted = match (checkpoint, &run.start.from) {
        (Some(folder), _) => saved(model, folder)
            .map_err(|error| broken_checkpoint(&run.output_dir, folder, error))?,
        (None, Some(folder)) => saved(model, folder)?,
        (None, None) => {
            if run.adapter.needs_statistics() {
                let allowed = "a start that does not look at data, for encoders";
                return Err(TrainError::value("adapter.init", run.adapter.init.name(), allowed));
            }
            let cache = run.model.svd_cache.as_deref().map(SvdCache::new);
            let options = AttachOptions {
                seed: run.training.seed,
                svd_cache: cache.as_ref(),
                progress: Some(progress),
                ranks: Some(ranks),
                ..AttachOptions::default()
            };
            attach_with(model, &run.adapter, options)?
        }
    };
    if !trainable_names(model).iter().any(|name| name.starts_with("classifier.")) {
        let allowed = "such that the head, `classifier`, is trained and saved too";
        return Err(TrainError::value("adapter.modules_to_save", "without it", allowed));
    }
    if run.start.train == TrainedPart::Router {
        train_router_only(model)?;
    }
    Ok(adapted)
}
