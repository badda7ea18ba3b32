use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use lora_moe::adapter_arithmetic::{
    FixedRouting, MERGE_RECORD_FILE, MergeRecord, fixed_routing, mean_routing, merge_adapters,
};
use lora_moe::burn::tensor::{DType, Int, Tensor};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::{load_any_model, load_tokenizer, read_labels};
use lora_moe::model_zoo::{
    AnyModel, CausalLm, Decoder, Rounding, TextTokenizer, TokenInput, WeightDType, WeightSource,
    with_any_model,
};
use lora_moe::moe_adapter::named_state;
use lora_moe::router::RoutingTape;

use super::besides::copy_besides;
use super::output::OutputFolder;
use crate::args::MergeArgs;

/// Runs `lora-moe merge`.
pub fn run(args: &MergeArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let output = OutputFolder::of_model(&args.output)?;
    let (folder, options) = (args.model.folder()?, args.model.options_to_write());
    let mut model = load_any_model(&folder, Some(&args.adapter), &options, &device)?;
    let routing = match (&model, &args.prompt) {
        (AnyModel::Decoder(decoder), Some(prompt)) => {
            routing_of(decoder, &load_tokenizer(&folder, Some(&args.adapter))?, prompt)?
        }
        (_, Some(_)) => bail!("--prompt is for models that generate text; use --weights"),
        (_, None) if args.weights.is_empty() => FixedRouting::new(),
        (model, None) => with_any_model!(model, model => fixed_routing(model, &args.weights))?,
    };
    let mut record = with_any_model!(&mut model, model => merge_adapters(model, &routing))?;
    if read_labels(&args.adapter)?.is_some() {
        // The base model's own head is for other labels, or there is none: this one stays.
        let is_head = |name: &&String| name.starts_with("classifier.");
        let head: BTreeSet<String> = record.replaced.iter().filter(is_head).cloned().collect();
        record.base.extend(with_any_model!(&model, model => named_state(model, &head)));
        record.replaced.retain(|name| !head.contains(name));
    }
    if !record.replaced.is_empty() {
        let base = load_any_model(&folder, None, &options, &device)?;
        with_any_model!(&base, base => record.complete(base));
    }
    let dtype = output_dtype(args.output_dtype, &folder)?;
    let mut rounding = Rounding::default();
    output.fill(|to| {
        // A merged model without its record could not be unmerged, or only into something else.
        match record.implied {
            true => MergeRecord::remove(to)?,
            false => record.write(to)?,
        }
        copy_besides(&folder, to)?;
        // Where the adapter has a tokenizer of its own, it has more tokens.
        copy_besides(&args.adapter, to)?;
        rounding = model.save_in(to, Some(dtype))?;
        Ok(())
    })?;
    let changed = if record.updates.is_empty() {
        format!("{} parameters replaced", record.replaced.len())
    } else {
        format!("{} adapters merged", record.updates.len())
    };
    let written = written(dtype, rounding);
    eprintln!("{changed}; the model is in {}{written}", args.output.display());
    if !record.implied {
        eprintln!("{MERGE_RECORD_FILE} says what was changed, for `lora-moe unmerge`");
    }
    Ok(())
}

/// The element type that a model is written in.
pub(super) fn output_dtype(wanted: WeightDType, folder: &Path) -> Result<DType> {
    Ok(match wanted.dtype() {
        Some(dtype) => dtype,
        None => WeightSource::open(folder, WeightDType::AsStored)?.stored_dtype(),
    })
}

/// What rounding to it lost, where it is not f32.
pub(super) fn written(dtype: DType, rounding: Rounding) -> String {
    match WeightDType::of(dtype) {
        WeightDType::F32 => String::new(),
        half => format!(
            " in {half}, which rounds the weights by {:.1e} of their norm",
            rounding.relative_error()
        ),
    }
}

/// What a text routes to.
fn routing_of(model: &Decoder, tokenizer: &TextTokenizer, prompt: &str) -> Result<FixedRouting> {
    let ids: Vec<i64> = tokenizer.encode(prompt, true)?.into_iter().map(i64::from).collect();
    let device = model.model.embed_tokens.weight.val().device();
    let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &device);
    let input = TokenInput::new(ids.unsqueeze());
    let mut tape = RoutingTape::recording(input.context());
    model.hidden_states(&input, None, &mut tape);
    Ok(mean_routing(&tape))
}
