use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use lora_moe::data::{DataFile, read_records};
use lora_moe::device::parse_device;
use lora_moe::evaluation::{ExactMatch, evaluate};
use lora_moe::finetune::run::{DataConfig, load_model, load_samples, load_tokenizer};
use lora_moe::model_zoo::CausalLm;
use serde_json::json;

use crate::args::EvalArgs;
use crate::command::template::template;

/// Measures the loss on data: one JSON object on standard output.
#[allow(clippy::print_stdout)]
pub fn run(args: &EvalArgs, model: &Path, device: &str) -> Result<()> {
    if args.adapter.len() > 1 {
        bail!("--data takes at most one --adapter");
    }
    let device = parse_device(device)?;
    let folder = args.load.folder(model)?;
    let adapter = args.adapter.first().map(PathBuf::as_path);
    let tokenizer = load_tokenizer(&folder, adapter)?;
    let model = load_model(&folder, adapter, &args.load.options(), &device)?;
    let args = &args.loss;
    let data = DataConfig {
        template: template(&args.template),
        max_length: args.max_length,
        ..DataConfig::new(args.data.iter().map(DataFile::new).collect())
    };
    let max_length = args.max_length.min(model.max_positions());
    let (samples, report) = load_samples(&data.train, &data, max_length, &tokenizer)?;
    eprintln!("data: {report}");
    let evaluation = evaluate(&model, &samples, args.batch_size)?;
    let mut result = json!({
        "samples": samples.len(),
        "targets": evaluation.targets,
        "loss": evaluation.loss,
        "perplexity": evaluation.perplexity(),
    });
    if args.exact_match {
        let exact_match = ExactMatch {
            template: &data.template,
            max_new_tokens: args.max_new_tokens,
            batch_size: args.batch_size,
        };
        let records = read_records(&data.train)?;
        result["exact_match"] = json!(exact_match.share(&model, &tokenizer, &records)?);
    }
    println!("{result}");
    Ok(())
}
