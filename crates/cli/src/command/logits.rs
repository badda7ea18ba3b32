use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use lora_moe::burn::tensor::{Device, Int, Tensor, TensorData};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_model;
use lora_moe::model_zoo::{CausalLm, Decoder, TokenInput};
use lora_moe::moe_adapter::write_atomically;
use lora_moe::router::RoutingTape;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::args::LogitsArgs;

/// The samples of one forward pass.
const BATCH: usize = 8;

/// Runs `lora-moe logits`.
pub fn run(args: &LogitsArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let path = &args.inputs;
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is no safetensors file", path.display()))?;
    let (ids, [batch, seq]) = int64(&file, "input_ids", path)?
        .with_context(|| format!("{}: tensor `input_ids` is missing", path.display()))?;
    let mask = int64(&file, "attention_mask", path)?;
    if let Some((mask, shape)) = &mask {
        ensure!(
            *shape == [batch, seq],
            "{}: `attention_mask` is {shape:?}, but `input_ids` is {:?}",
            path.display(),
            [batch, seq]
        );
        if let Some(value) = mask.iter().find(|value| !(0..=1).contains(*value)) {
            bail!(
                "{}: `attention_mask` holds {value}, but only 0 and 1 are allowed",
                path.display()
            );
        }
    }
    let model =
        load_model(&args.model.folder()?, args.adapter.as_deref(), &args.model.options(), &device)?;
    let vocabulary = model.vocab_size();
    if let Some(id) = ids.iter().find(|id| **id < 0 || **id >= vocabulary as i64) {
        bail!(
            "{}: `input_ids` holds {id}, but the model's vocabulary is 0 to {}",
            path.display(),
            vocabulary - 1
        );
    }
    ensure!(
        seq <= model.max_positions(),
        "{}: {seq} positions, but the model has {}",
        path.display(),
        model.max_positions()
    );

    let mut logits: Vec<u8> = Vec::with_capacity(4 * batch * seq * vocabulary);
    for row in (0..batch).step_by(BATCH) {
        let rows = row * seq..(row + BATCH).min(batch) * seq;
        let mask = mask.as_ref().map(|(mask, _)| &mask[rows.clone()]);
        for value in forward(&model, &ids[rows.clone()], mask, seq, &device)? {
            logits.extend_from_slice(&value.to_le_bytes());
        }
    }
    let view = TensorView::new(Dtype::F32, vec![batch, seq, vocabulary], &logits)?;
    let bytes = safetensors::serialize([("logits", view)], None)?;
    write_atomically(&args.output, &bytes)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    eprintln!("logits [{batch}, {seq}, {vocabulary}] in {}", args.output.display());
    Ok(())
}

fn forward(
    model: &Decoder,
    ids: &[i64],
    mask: Option<&[i64]>,
    seq: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let shape = [ids.len() / seq, seq];
    let ids: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids.to_vec(), shape), device);
    let mut input = TokenInput::new(ids);
    if let Some(mask) = mask.filter(|mask| mask.contains(&0)) {
        let mask: Vec<bool> = mask.iter().map(|value| *value == 1).collect();
        input = input.with_attention_mask(Tensor::from_data(TensorData::new(mask, shape), device));
    }
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    let data = model.logits(hidden).into_data();
    data.try_to_vec::<f32>().map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// A tensor of int64 `[batch, seq]`, where the file has it.
fn int64(
    file: &SafeTensors<'_>,
    name: &str,
    path: &Path,
) -> Result<Option<(Vec<i64>, [usize; 2])>> {
    let Ok(view) = file.tensor(name) else {
        return Ok(None);
    };
    let (dtype, shape) = (view.dtype(), view.shape());
    let expected = format!(
        "{}: `{name}` is {dtype:?} {shape:?}, but must be I64 [batch, seq]",
        path.display()
    );
    ensure!(dtype == Dtype::I64, "{expected}");
    let &[batch, seq] = shape else { bail!("{expected}") };
    ensure!(batch > 0 && seq > 0, "{expected}, neither of them 0");
    let (chunks, _) = view.data().as_chunks::<8>();
    let values = chunks.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    Ok(Some((values, [batch, seq])))
}
