use anyhow::{Context, Result, bail};
use lora_moe::burn::tensor::Tensor;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_model;
use lora_moe::model_zoo::{CausalLm, TextTokenizer, TokenInput};
use lora_moe::moe_adapter::{
    FixedRouting, MERGE_RECORD_FILE, fixed_routing, mean_routing, merge_adapters,
};
use lora_moe::router::RoutingTape;

use crate::args::MergeArgs;

/// Runs `lora-moe merge`.
pub fn run(args: &MergeArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    if args.output.join("config.json").exists() {
        bail!("{} already holds a model; choose another --output", args.output.display());
    }
    let folder = args.model.folder()?;
    let tokenizer = TextTokenizer::from_folder(&folder)?;
    let mut model = load_model(&folder, Some(&args.adapter), &args.model.options(), &device)?;
    let routing = match &args.prompt {
        None if args.weights.is_empty() => FixedRouting::new(),
        None => fixed_routing(&model, &args.weights)?,
        Some(prompt) => {
            let ids: Vec<i64> =
                tokenizer.encode(prompt, true)?.into_iter().map(i64::from).collect();
            let ids = Tensor::<1, lora_moe::burn::tensor::Int>::from_data(ids.as_slice(), &device);
            let input = TokenInput::new(ids.unsqueeze());
            let mut tape = RoutingTape::recording(input.context());
            model.hidden_states(&input, None, &mut tape);
            mean_routing(&tape)
        }
    };
    let mut record = merge_adapters(&mut model, &routing)?;
    if !record.replaced.is_empty() {
        record.complete(&load_model(&folder, None, &args.model.options(), &device)?);
    }
    model.save(&args.output)?;
    tokenizer.save(&args.output).context("cannot write the tokenizer")?;
    let changed = if record.updates.is_empty() {
        format!("{} parameters replaced", record.replaced.len())
    } else {
        format!("{} adapters merged", record.updates.len())
    };
    eprintln!("{changed}; the model is in {}", args.output.display());
    if !record.implied {
        record.write(&args.output)?;
        eprintln!("{MERGE_RECORD_FILE} says what was changed, for `lora-moe unmerge`");
    }
    Ok(())
}
