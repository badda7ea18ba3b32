use adapter_arithmetic::train_router_only;
use adapter_formats::read_adapter;
use std::path::Path;

use burn::tensor::{DType, Device};
use model_zoo::{
    AnyModel, CausalLm, Decoder, LoadOptions, ModelError, TextTokenizer, resolve_model,
    with_any_model,
};
use moe_adapter::{
    ADAPTER_CONFIG_FILE, Adaptable, AdaptedLinear, AttachOptions, Projection, StoredAdapter,
    attach_saved, attach_with,
};
use svd_init::SvdCache;

use super::{DataConfig, RunConfig, TrainedPart};
use crate::calibrate::calibrate;
use crate::train::{Resume, TrainError, broken_checkpoint};
use data::{DataFile, EncodeConfig, EncodeReport, Sample, encode_records, read_records, split};

/// A model with its adapters attached, and the samples of a run.
pub struct PreparedRun {
    /// The adapted model.
    pub model: Decoder,
    /// Its tokenizer.
    pub tokenizer: TextTokenizer,
    /// The samples to train on.
    pub train: Vec<Sample>,
    /// The samples to validate on.
    pub validation: Vec<Sample>,
    /// What became of the training records.
    pub train_report: EncodeReport,
    /// How many linears are adapted.
    pub adapted: usize,
}

impl PreparedRun {
    /// Reads the model and the data of a run, and puts the adapter on the model: a fresh one, the
    /// saved one that the run starts from, or that of the checkpoint which it goes on from; the start
    /// of a saved one is not repeated. `progress` is told how many of the start's decompositions are
    /// done.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file at fault.
    pub fn new(
        run: &RunConfig,
        device: &Device,
        resume: &Resume,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, TrainError> {
        let checkpoint = resume.checkpoint(&run.output_dir)?;
        let folder = resolve_model(&run.model.path, run.model.revision.as_deref())
            .map_err(ModelError::from)?;
        let tokenizer = TextTokenizer::from_folder(&folder)?;
        let options = LoadOptions { split_fused: run.model.split_fused, ..LoadOptions::default() };
        let mut model = Decoder::load(&folder, &options, device)?;
        let max_length = run.data.max_length.min(model.max_positions());
        let (mut train, train_report) =
            load_samples(&run.data.train, &run.data, max_length, &tokenizer)?;
        let validation = if !run.data.validation.is_empty() {
            load_samples(&run.data.validation, &run.data, max_length, &tokenizer)?.0
        } else if let Some(hold_out) = run.data.validation_split {
            let (kept, held_out) = split(train, hold_out, run.training.seed)?;
            train = kept;
            held_out
        } else {
            Vec::new()
        };
        let resumed = checkpoint.is_some();
        let saved = |model: &mut Decoder, folder: &Path| -> Result<usize, TrainError> {
            let StoredAdapter { state, config, .. } = read_adapter(folder)?;
            if resumed && config != run.adapter {
                return Err(TrainError::OtherAdapter { path: folder.join(ADAPTER_CONFIG_FILE) });
            }
            Ok(attach_saved(model, &run.adapter, state, &folder.display().to_string())?)
        };
        let adapted = match (checkpoint, &run.start.from) {
            (Some(folder), _) => saved(&mut model, &folder)
                .map_err(|error| broken_checkpoint(&run.output_dir, &folder, error))?,
            (None, Some(folder)) => saved(&mut model, folder)?,
            (None, None) => {
                let few = &train[..train.len().min(run.training.calibration_samples)];
                let batch_size = run.training.per_device_train_batch_size;
                let cache = run.model.svd_cache.as_deref().map(SvdCache::new);
                let options = AttachOptions {
                    seed: run.training.seed,
                    statistics: calibrate(&model, &run.adapter, few, batch_size)?,
                    svd_cache: cache.as_ref(),
                    progress: Some(progress),
                };
                attach_with(&mut model, &run.adapter, options)?
            }
        };
        if run.start.train == TrainedPart::Router {
            train_router_only(&mut model)?;
        }
        Ok(Self { model, tokenizer, train, validation, train_report, adapted })
    }
}

/// Reads files and encodes their records.
///
/// # Errors
///
/// [`TrainError`] naming the file and record at fault.
pub fn load_samples(
    files: &[DataFile],
    data: &DataConfig,
    max_length: usize,
    tokenizer: &TextTokenizer,
) -> Result<(Vec<Sample>, EncodeReport), TrainError> {
    let config = EncodeConfig {
        template: data.template.clone(),
        max_length,
        train_on_prompt: data.train_on_prompt,
        chat: data.chat,
        ..EncodeConfig::default()
    };
    let records = read_records(files)?;
    Ok(encode_records(&records, tokenizer, &config)?)
}

/// Reads a model folder, and puts the adapter of another folder on it.
///
/// # Errors
///
/// [`TrainError`] naming the file, key or tensor at fault.
pub fn load_model(
    folder: &Path,
    adapter: Option<&Path>,
    options: &LoadOptions,
    device: &Device,
) -> Result<Decoder, TrainError> {
    let mut model = Decoder::load(folder, options, device)?;
    if let Some(adapter) = adapter {
        put_adapter(&mut model, adapter, options)?;
    }
    Ok(model)
}

/// As [`load_model`], for a model of any family.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_any_model(
    folder: &Path,
    adapter: Option<&Path>,
    options: &LoadOptions,
    device: &Device,
) -> Result<AnyModel, TrainError> {
    let mut model = AnyModel::load(folder, options, device)?;
    if let Some(adapter) = adapter {
        with_any_model!(&mut model, model => put_adapter(model, adapter, options))?;
    }
    Ok(model)
}

/// Puts the adapter of a folder on a model that was loaded with `options`.
fn put_adapter<M>(model: &mut M, adapter: &Path, options: &LoadOptions) -> Result<(), TrainError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    // Experts are f32, and there are no products of two element types.
    let mut all_f32 = true;
    model.visit_projections(&mut |_, _, projection| {
        all_f32 &= projection.linear().weight.val().dtype() == DType::F32;
    });
    if !all_f32 {
        return Err(TrainError::Value {
            key: "dtype".to_owned(),
            value: options.dtype.to_string(),
            allowed: "float32 where there is an adapter".to_owned(),
        });
    }
    let StoredAdapter { config, state, .. } = read_adapter(adapter)?;
    attach_saved(model, &config, state, &adapter.display().to_string())?;
    Ok(())
}
