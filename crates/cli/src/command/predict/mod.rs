mod write;

use anyhow::{Result, bail};
use lora_moe::data::{LabelledFile, read_labelled};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::{AnyRunConfig, LabelledData, Predictor, RunConfig};
use lora_moe::model_zoo::{ModelError, resolve_model};

use self::write::Form;
use crate::args::PredictArgs;

/// Runs `lora-moe predict`.
pub fn run(args: &PredictArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let form = Form::of(&args.output)?;
    let run = match AnyRunConfig::from_file(&args.config, &args.set)? {
        AnyRunConfig::Labelled(run) => run,
        AnyRunConfig::Causal(_) => bail!(
            "{}: `data.task` is \"causal_lm\", whose models predict no labels; use `lora-moe generate` \
             or `lora-moe eval`",
            args.config.display()
        ),
    };
    let files = files(&run, args)?;
    let rows = read_labelled(&files, run.data.task.input())?;
    let (folder, adapter) = match &args.model {
        Some(model) => (resolve_model(model, None), None),
        None => {
            let folder = resolve_model(&run.model.path, run.model.revision.as_deref());
            (folder, Some(args.adapter.as_deref().unwrap_or(&run.output_dir)))
        }
    };
    let folder = folder.map_err(ModelError::from)?;
    let data = &run.data;
    let predictor = Predictor::load(&folder, adapter, data.task, data.max_length, &device)?;
    let batch_size = args.batch_size.unwrap_or(run.training.per_device_eval_batch_size);
    let predictions = predictor.predict(&rows, batch_size)?;
    form.write(&predictions, &args.output)?;
    let measured: Vec<String> = predictions
        .measured
        .iter()
        .map(|of| format!("{} {:.4}", of.name.trim_start_matches("eval_"), of.value))
        .collect();
    if !measured.is_empty() {
        eprintln!("{}", measured.join(", "));
    }
    eprintln!("{} rows answered; they are in {}", rows.len(), args.output.display());
    Ok(())
}

/// The files to answer, read as the run reads its own.
fn files(run: &RunConfig<LabelledData>, args: &PredictArgs) -> Result<Vec<LabelledFile>> {
    let like = run.data.train.first().cloned().unwrap_or_default();
    match (&args.data[..], &run.data.validation[..]) {
        ([], []) => bail!("give files to answer by --data; the run has none to validate on"),
        ([], validation) => Ok(validation.to_vec()),
        (paths, _) => Ok(paths
            .iter()
            .map(|path| LabelledFile { path: path.clone(), ..like.clone() })
            .collect()),
    }
}
