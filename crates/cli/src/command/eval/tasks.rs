use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use lora_moe::burn::tensor::Device;
use lora_moe::device::parse_device;
use lora_moe::eval_tasks::Limit;
use lora_moe::evaluation::classification::ClassificationOptions;
use lora_moe::evaluation::results::{EvaluationResults, TableStyle, results_table};
use lora_moe::evaluation::run::{
    Answer, EncoderModel, LanguageModel, Output, RunOptions, TaskRun, folder_hash,
};
use lora_moe::evaluation::scoring::{Progress, ScoringOptions};
use lora_moe::finetune::run::{load_any_model, load_tokenizer};
use lora_moe::model_zoo::{AnyModel, AnyModelConfig, TextTokenizer};
use serde_json::{Map, Value, json};

use crate::args::EvalArgs;
use crate::interrupt::Interrupt;
use crate::progress::bar;

/// Scores a model on tasks, without an adapter or with each of those given.
#[allow(clippy::print_stdout)]
pub fn run(args: &EvalArgs, model: &Path, device: &str, interrupt: &Interrupt) -> Result<()> {
    let output = args.output.as_deref().context("--output is missing")?;
    let device_name = device;
    let device = parse_device(device)?;
    let folder = args.load.folder(model)?;
    // Several adapters are asked the same, in the tokens of their model.
    let adapter = args.adapter.first().filter(|_| args.adapter.len() == 1).map(PathBuf::as_path);
    let tokenizer = match AnyModelConfig::from_folder(&folder)? {
        AnyModelConfig::Decoder(_) => Some(load_tokenizer(&folder, adapter)?),
        // Encoders bring what they read with; a model of images may have no tokenizer.
        _ => None,
    };
    let tokenizer = tokenizer.as_ref();
    let run = TaskRun::prepare(&options(args)?, tokenizer)?;
    eprintln!("{} requests", run.num_requests());
    let about = about(args, model, &folder, device_name)?;
    let target = Target { args, run: &run, tokenizer, folder: &folder, device, interrupt };
    interrupt.listen()?;
    match args.adapter.as_slice() {
        [] => println!("{}", target.evaluate(None, output, about)?),
        [adapter] => println!("{}", target.evaluate(Some(adapter), output, about)?),
        adapters => {
            for (adapter, name) in adapters.iter().zip(names(adapters)?) {
                println!("{}", adapter.display());
                let table = target.evaluate(Some(adapter), &output.join(name), about.clone())?;
                println!("{table}");
            }
        }
    }
    Ok(())
}

/// What all adapters are evaluated with.
struct Target<'a> {
    args: &'a EvalArgs,
    run: &'a TaskRun,
    tokenizer: Option<&'a TextTokenizer>,
    folder: &'a Path,
    device: Device,
    interrupt: &'a Interrupt,
}

impl Target<'_> {
    /// Evaluates the model with an adapter into a folder, and returns the table.
    fn evaluate(
        &self,
        adapter: Option<&Path>,
        output: &Path,
        mut about: Map<String, Value>,
    ) -> Result<String> {
        if let Some(adapter) = adapter {
            about.insert("adapter".to_owned(), json!(adapter.display().to_string()));
            about.insert("adapter_sha256".to_owned(), json!(folder_hash(adapter)?));
        }
        let model = load_any_model(self.folder, adapter, &self.args.load.options(), &self.device)?;
        let model = self.answering(&model)?;
        let mut bar = ScoringBar::new(self.run.num_requests());
        let output = Output { folder: output, resume: self.args.scores.resume };
        let results: EvaluationResults =
            self.run.evaluate(&*model, about, Some(output), &mut |progress| {
                bar.show(progress);
                match self.interrupt.asked() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })?;
        bar.bar.finish_and_clear();
        Ok(results_table(&results, TableStyle::Text))
    }

    /// The model as what answers: by likelihoods and texts, or by logits of classes.
    fn answering<'m>(&'m self, model: &'m AnyModel) -> Result<Box<dyn Answer + 'm>> {
        let scores = &self.args.scores;
        if let (AnyModel::Decoder(model), Some(tokenizer)) = (model, self.tokenizer) {
            let mut options = ScoringOptions::default();
            options.batch_tokens = scores.batch_tokens.unwrap_or(options.batch_tokens);
            let (bos, seed) = (scores.add_bos_token, scores.generation_seed);
            return Ok(Box::new(LanguageModel::new(model, tokenizer, options, bos, seed)?));
        }
        let mut options = ClassificationOptions::default();
        options.batch_tokens = scores.batch_tokens.unwrap_or(options.batch_tokens);
        let load = self.args.load.options();
        Ok(Box::new(EncoderModel::new(model, self.folder, &load, &self.device, &options)?))
    }
}

fn options(args: &EvalArgs) -> Result<RunOptions> {
    let scores = &args.scores;
    let limit = match scores.limit {
        None => Limit::All,
        Some(limit) if limit > 0.0 => Limit::of_number(limit),
        Some(limit) => bail!("--limit is {limit}, but must be above 0"),
    };
    Ok(RunOptions {
        include_path: args.include_path.clone(),
        data_dir: scores.data_dir.clone(),
        num_fewshot: scores.num_fewshot,
        limit,
        fewshot_seed: scores.fewshot_seed,
        apply_chat_template: scores.apply_chat_template,
        system_instruction: scores.system_instruction.clone(),
        fewshot_as_multiturn: scores.fewshot_as_multiturn.unwrap_or(true),
        bootstrap_iters: scores.bootstrap_iters,
        ..RunOptions::new(scores.tasks.clone())
    })
}

/// What the model is and what computes it, for the results.
fn about(args: &EvalArgs, model: &Path, folder: &Path, device: &str) -> Result<Map<String, Value>> {
    let about = json!({
        "model": model.display().to_string(),
        "model_sha256": folder_hash(folder)?,
        "dtype": args.load.dtype.to_string(),
        "quantization": args.load.quantization,
        "device": device,
        "add_bos_token": args.scores.add_bos_token,
        "generation_seed": args.scores.generation_seed,
        "batch_tokens": args.scores.batch_tokens,
        "lora_moe_version": env!("CARGO_PKG_VERSION"),
    });
    match about {
        Value::Object(about) => Ok(about),
        other => bail!("{other} is no object"),
    }
}

/// A name for each adapter's results: that of its folder.
fn names(adapters: &[PathBuf]) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    adapters
        .iter()
        .map(|adapter| {
            let name = adapter.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.with_context(|| format!("{} has no name", adapter.display()))?;
            if !seen.insert(name.clone()) {
                bail!(
                    "two adapters are in folders named `{name}`; evaluate them one by one, each \
                     with an --output of its own"
                );
            }
            Ok(name)
        })
        .collect()
}

/// Requests answered, tokens a second and the time left.
struct ScoringBar {
    bar: ProgressBar,
    started: Instant,
}

impl ScoringBar {
    fn new(requests: usize) -> Self {
        Self { bar: bar(requests, "scoring"), started: Instant::now() }
    }

    fn show(&mut self, progress: Progress) {
        let rate = progress.tokens as f64 / self.started.elapsed().as_secs_f64();
        self.bar.set_message(format!("{rate:.0} tokens/s"));
        self.bar.set_position(progress.requests as u64);
    }
}
