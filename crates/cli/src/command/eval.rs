use anyhow::Result;
use lora_moe::device::parse_device;
use lora_moe::finetune::data::{DataFile, encode_prompt, read_records};
use lora_moe::finetune::run::{DataConfig, load_model, load_samples};
use lora_moe::finetune::train::evaluate;
use lora_moe::model_zoo::{CausalLm, Decoder, TextTokenizer, generate_batch};
use serde_json::json;

use crate::args::EvalArgs;
use crate::command::template::template;

/// Runs `lora-moe eval`: one JSON object on standard output.
#[allow(clippy::print_stdout)]
pub fn run(args: &EvalArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let folder = args.model.folder()?;
    let tokenizer = TextTokenizer::from_folder(&folder)?;
    let model = load_model(&folder, args.adapter.as_deref(), &args.model.options(), &device)?;
    let data = DataConfig {
        train: args.data.iter().map(DataFile::new).collect(),
        validation: Vec::new(),
        validation_split: None,
        template: template(&args.template),
        max_length: args.max_length,
        train_on_prompt: false,
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
        result["exact_match"] = json!(exact_match(args, &data, &model, &tokenizer)?);
    }
    println!("{result}");
    Ok(())
}

/// The share of records whose greedy answer is the reference's, apart from white space around it.
fn exact_match(
    args: &EvalArgs,
    data: &DataConfig,
    model: &Decoder,
    tokenizer: &TextTokenizer,
) -> Result<f64> {
    let records = read_records(&data.train)?;
    let eos: Vec<u32> = match tokenizer.eos_token_id() {
        Some(id) => vec![id],
        None => model.eos_token_ids().to_vec(),
    };
    let mut right = 0;
    for chunk in records.chunks(args.batch_size) {
        let prompts = chunk
            .iter()
            .map(|record| encode_prompt(record, tokenizer, &data.template))
            .collect::<Result<Vec<_>, _>>()?;
        let answers = generate_batch(model, &prompts, args.max_new_tokens, &eos)?;
        for (record, answer) in chunk.iter().zip(answers) {
            let answer = tokenizer.decode(&answer, true)?;
            right += usize::from(answer.trim() == record.answer().trim());
        }
    }
    Ok(right as f64 / records.len() as f64)
}
