use adapter_arithmetic::train_router_only;
use adapter_formats::read_adapter;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use model_zoo::{
    AnyModel, AnyModelConfig, CausalLm, Decoder, LoadOptions, ModelError, TextTokenizer,
    TokenizerError, WeightDType, with_any_model,
};
use moe_adapter::{
    Adaptable, AdaptedLinear, AttachOptions, StoredAdapter, attach_saved, attach_with, check_fit,
    trainable_names,
};
use ranks::{Ranks, agree};
use svd_init::SvdCache;

use super::base::Base;
use super::labelled::{load_with_head, new_head};
use super::precision::{check_precision, check_rounded, choose_precision};
use super::samples::RunSamples;
use super::{ModelConfig, Preparation, RunConfig, TrainedPart};
use crate::calibrate::calibrate_over;
use crate::train::{Resume, TrainError, broken_checkpoint, check_adapter};
use data::{EncodeReport, Mixture, Samples};

/// A model with its adapters attached, and the samples of a run.
pub struct PreparedRun {
    /// The adapted model.
    pub model: Decoder,
    /// Its tokenizer.
    pub tokenizer: TextTokenizer,
    /// The samples to train on; with packing in rows of several.
    pub train: Samples,
    /// The samples to validate on.
    pub validation: Samples,
    /// What became of the training records.
    pub train_report: EncodeReport,
    /// How often samples are drawn, where an epoch does not have every one once.
    pub mixture: Option<Mixture>,
    /// How many linears are adapted.
    pub adapted: usize,
}

impl PreparedRun {
    /// Reads the model and the data of a run, and puts the adapter on the model: a fresh one, the
    /// saved one that the run starts from, or that of the checkpoint which it goes on from; the start
    /// of a saved one is not repeated. `ranks` that prepare the same run share what a start takes:
    /// decompositions and calibration. `progress` is told how far it has come.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file at fault, and when ranks cannot go on together.
    pub fn new(
        run: &RunConfig,
        device: &Device,
        resume: &Resume,
        ranks: &dyn Ranks,
        progress: &(dyn Fn(Preparation) + Sync),
    ) -> Result<Self, TrainError> {
        // What cannot be resumed is told before the model is read.
        resume.checkpoint(&run.output_dir)?;
        choose_precision(&run.training);
        Self::on(&Base::load(&run.model, device)?, run, resume, ranks, progress)
    }

    /// As [`new`](Self::new), on a model that was read before, as `run.model` says.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn on(
        base: &Base,
        run: &RunConfig,
        resume: &Resume,
        ranks: &dyn Ranks,
        progress: &(dyn Fn(Preparation) + Sync),
    ) -> Result<Self, TrainError> {
        let checkpoint = checkpoint_of(ranks, resume, &run.output_dir)?;
        let Base { tokenizer, mut model } = base.clone();
        if !run.model.new_tokens.is_empty() {
            model.resize_embeddings(tokenizer.vocab_size(), run.training.seed);
        }
        // What does not fit is told before data is read and matrices are decomposed.
        if checkpoint.is_none() && run.start.from.is_none() {
            check_fit(&model, &run.adapter)?;
        }
        let max_length = run.data.longest(model.max_positions());
        let RunSamples { train, validation, mixture, report: train_report } =
            RunSamples::read(run, max_length, &tokenizer, &|records| {
                progress(Preparation::Records(records));
            })?;
        let resumed = checkpoint.is_some();
        let saved = |model: &mut Decoder, folder: &Path| -> Result<usize, TrainError> {
            let StoredAdapter { state, config, .. } = read_adapter(folder)?;
            if resumed {
                check_adapter(&config, &run.adapter, folder)?;
            }
            Ok(attach_saved(model, &run.adapter, state, &folder.display().to_string())?)
        };
        let adapted = match (checkpoint, &run.start.from) {
            (Some(folder), _) => saved(&mut model, &folder)
                .map_err(|error| broken_checkpoint(&run.output_dir, &folder, error))?,
            (None, Some(folder)) => saved(&mut model, folder)?,
            (None, None) => {
                let few = train.first(run.training.calibration_samples)?;
                let batch_size = run.training.per_device_train_batch_size;
                let cache = run.model.svd_cache.as_deref().map(SvdCache::new);
                let options = AttachOptions {
                    seed: run.training.seed,
                    statistics: calibrate_over(ranks, &model, &run.adapter, &few, batch_size)?,
                    svd_cache: cache.as_ref(),
                    progress: Some(&|done, total| {
                        progress(Preparation::Decompositions { done, total });
                    }),
                    ranks: Some(ranks),
                };
                attach_with(&mut model, &run.adapter, options)?
            }
        };
        if !run.model.new_tokens.is_empty() {
            check_embeddings(&mut model, &tokenizer, &run.model.new_tokens)?;
        }
        if run.start.train == TrainedPart::Router {
            train_router_only(&mut model)?;
        }
        Ok(Self { model, tokenizer, train, validation, train_report, mixture, adapted })
    }
}

/// The checkpoint that a run goes on from, the same on all ranks.
pub(super) fn checkpoint_of(
    ranks: &dyn Ranks,
    resume: &Resume,
    output_dir: &Path,
) -> Result<Option<PathBuf>, TrainError> {
    let checkpoint = resume.checkpoint(output_dir)?;
    if ranks.size() > 1 {
        agree(ranks, &[("the checkpoint to go on from", format!("{checkpoint:?}"))])?;
    }
    Ok(checkpoint)
}

/// The tokenizer of a model, with the tokens that its runs add.
pub(super) fn run_tokenizer(
    config: &ModelConfig,
    folder: &Path,
) -> Result<TextTokenizer, TokenizerError> {
    let mut tokenizer = TextTokenizer::from_folder(folder)?;
    tokenizer.add_special_tokens(&config.new_tokens)?;
    Ok(tokenizer)
}

/// Reads the folder of a model that is to have an adapter.
///
/// # Errors
///
/// [`TrainError`] naming the file, key or tensor at fault.
pub fn load_base(
    folder: &Path,
    config: &ModelConfig,
    device: &Device,
) -> Result<Decoder, TrainError> {
    check_precision(config.dtype, config.quantization, device)?;
    let options = LoadOptions {
        dtype: config.dtype,
        split_fused: config.split_fused,
        quantization: config.quantization,
    };
    let mut model = Decoder::load(folder, &options, device)?;
    check_rounded(&model)?;
    check_activations(&model, config.dtype)?;
    if config.untie_head {
        model.untie_head();
    }
    Ok(model)
}

/// Reads the tokenizer of a model: the one in the folder of its adapter, where there is one, which
/// may have more tokens.
///
/// # Errors
///
/// [`TokenizerError`] naming the file at fault.
pub fn load_tokenizer(
    folder: &Path,
    adapter: Option<&Path>,
) -> Result<TextTokenizer, TokenizerError> {
    match adapter.filter(|adapter| adapter.join("tokenizer.json").exists()) {
        // An adapter has no `config.json`, whose special tokens the model's own has.
        Some(adapter) => TextTokenizer::from_folders(adapter, Some(folder)),
        None => TextTokenizer::from_folder(folder),
    }
}

/// Refuses rows of new tokens that nothing trains, and no adapter would hold.
fn check_embeddings(
    model: &mut Decoder,
    tokenizer: &TextTokenizer,
    new_tokens: &[String],
) -> Result<(), TrainError> {
    let trained = trainable_names(model);
    let ids: Vec<usize> =
        new_tokens.iter().filter_map(|token| Some(tokenizer.token_id(token)? as usize)).collect();
    let mut needed = Vec::new();
    let mut all = true;
    model.visit_token_modules_mut(&mut |path, module| {
        let rows = module.rows.as_ref().map_or(&[][..], |rows| rows.token_indices());
        all &=
            trained.contains(&format!("{path}.weight")) || ids.iter().all(|id| rows.contains(id));
        needed.push(path.rsplit('.').next().unwrap_or(path).to_owned());
    });
    match all {
        true => Ok(()),
        false => Err(TrainError::NewTokens { needed: format!("{needed:?}"), ids }),
    }
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
    check_precision(options.dtype, options.quantization, device)?;
    let mut model = Decoder::load(folder, options, device)?;
    check_rounded(&model)?;
    if let Some(adapter) = adapter {
        check_activations(&model, options.dtype)?;
        put_adapter(&mut model, adapter)?;
    }
    Ok(model)
}

/// As [`load_model`], for a model of any family. An adapter that brings a head along puts it in the
/// place of the model's, which need not have one.
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
    let config = AnyModelConfig::from_folder(folder).map_err(ModelError::from)?;
    let decoder = matches!(config, AnyModelConfig::Decoder(_));
    let dtype = if decoder { options.dtype } else { options.dtype.computed() };
    check_precision(dtype, options.quantization, device)?;
    // What cannot have an adapter is refused whatever the adapter is.
    if !decoder && adapter.is_some() && dtype != WeightDType::F32 {
        return Err(half_activations(dtype));
    }
    let mut model = decoder.then(|| AnyModel::load(folder, options, device)).transpose()?;
    if let Some(AnyModel::Decoder(model)) = &model {
        check_rounded(model)?;
        if adapter.is_some() {
            check_activations(model, dtype)?;
        }
    }
    let Some(path) = adapter else {
        return Ok(match model {
            Some(model) => model,
            None => AnyModel::load(folder, options, device)?,
        });
    };
    let StoredAdapter { config, state, .. } = read_adapter(path)?;
    let mut model = match (model.take(), new_head(folder, path, &state)?) {
        (Some(model), _) => model,
        (None, Some(task)) => load_with_head(folder, task, 0, options, device)?,
        (None, None) => AnyModel::load(folder, options, device)?,
    };
    let origin = path.display().to_string();
    with_any_model!(&mut model, model => attach_saved(model, &config, state, &origin))?;
    Ok(model)
}

/// Refuses an adapter, whose experts are f32, on a model that computes in a half type.
fn check_activations(model: &Decoder, dtype: WeightDType) -> Result<(), TrainError> {
    match model.activation_dtype() {
        DType::F32 => Ok(()),
        _ => Err(half_activations(dtype)),
    }
}

fn half_activations(dtype: WeightDType) -> TrainError {
    TrainError::Value {
        key: "dtype".to_owned(),
        value: dtype.to_string(),
        allowed: "float32 where there is an adapter, but for decoders on a CPU".to_owned(),
    }
}

/// Puts the adapter of a folder on a model.
fn put_adapter<M>(model: &mut M, adapter: &Path) -> Result<(), TrainError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let StoredAdapter { config, state, .. } = read_adapter(adapter)?;
    attach_saved(model, &config, state, &adapter.display().to_string())?;
    Ok(())
}
