use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lora_moe::data::{DataFile, encode_prompt, read_prompts};
use lora_moe::model_zoo::{
    BatchGenerator, BatchPrompt, Decoder, FinishReason, Generation, GenerationConfig, TextTokenizer,
};
use lora_moe::moe_adapter::write_atomically;
use serde_json::{Value, json};

use crate::args::GenerateArgs;
use crate::command::template::template;

/// Continues the prompts of a file together, and writes a line for each, in their order.
pub(super) fn run(
    args: &GenerateArgs,
    path: &Path,
    config: &GenerationConfig,
    tokenizer: &TextTokenizer,
    load: impl FnOnce() -> Result<Decoder>,
) -> Result<()> {
    if args.batch_size == 0 {
        bail!("--batch-size is 0, but must be at least 1");
    }
    let records = read_prompts(&DataFile::new(path))?;
    let template = template(args.template.as_deref().unwrap_or("alpaca"));
    let encoded = records.iter().map(|record| encode_prompt(record, tokenizer, &template));
    let encoded: Vec<Vec<u32>> = encoded.collect::<Result<_, _>>()?;
    // Each prompt draws its own tokens.
    let seeds = (0..encoded.len() as u64).map(|index| config.seed.wrapping_add(index));
    let configs: Vec<_> = seeds.map(|seed| GenerationConfig { seed, ..config.clone() }).collect();
    let prompts: Vec<_> = encoded
        .iter()
        .zip(&configs)
        .map(|(tokens, config)| BatchPrompt { tokens, config })
        .collect();
    let model = load()?;

    let mut lines = Lines::new(args.output.is_none());
    let started = Instant::now();
    let mut tokens = 0;
    let generator = BatchGenerator { rows: args.batch_size, ..BatchGenerator::new(&model) };
    generator.run(tokenizer, &prompts, &mut |index, generation: Generation| {
        tokens += generation.token_ids.len();
        lines.add(index, line(&records[index].origin.to_string(), &generation))
    })?;
    if let Some(output) = &args.output {
        write_atomically(output, lines.text.as_bytes())
            .with_context(|| format!("cannot write `{}`", output.display()))?;
    }
    let speed = tokens as f64 / started.elapsed().as_secs_f64();
    eprintln!("{} prompts, {tokens} tokens, {speed:.1} tokens/s", prompts.len());
    Ok(())
}

fn line(origin: &str, generation: &Generation) -> Value {
    json!({
        "origin": origin,
        "text": generation.text,
        "tokens": generation.token_ids.len(),
        "finish_reason": match generation.finish_reason {
            FinishReason::Eos | FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        },
    })
}

/// Lines in their order, whatever order they come in.
struct Lines {
    /// Printed as they come, or kept.
    printed: bool,
    waiting: BTreeMap<usize, Value>,
    next: usize,
    text: String,
}

impl Lines {
    fn new(printed: bool) -> Self {
        Self { printed, waiting: BTreeMap::new(), next: 0, text: String::new() }
    }

    fn add(&mut self, index: usize, line: Value) -> Result<()> {
        self.waiting.insert(index, line);
        while let Some(line) = self.waiting.remove(&self.next) {
            self.next += 1;
            if self.printed {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}").context("cannot write to standard output")?;
            } else {
                self.text += &format!("{line}\n");
            }
        }
        Ok(())
    }
}
