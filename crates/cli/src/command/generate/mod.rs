mod many;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use lora_moe::data::{Instruction, Origin, Record, RecordContent, encode_prompt};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::{load_model, load_tokenizer};
use lora_moe::model_zoo::{Decoder, GenerationConfig, generate};

use crate::args::GenerateArgs;
use crate::command::template::template;

/// Runs `lora-moe generate`.
pub fn run(args: &GenerateArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let config = GenerationConfig {
        max_new_tokens: args.max_new_tokens,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        repetition_penalty: args.repetition_penalty,
        stop: args.stop.clone(),
        seed: args.seed,
        ..GenerationConfig::default()
    };
    config.check()?;
    let folder = args.model.folder()?;
    let tokenizer = load_tokenizer(&folder, args.adapter.as_deref())?;
    let load = || Ok(load_model(&folder, args.adapter.as_deref(), &args.model.options(), &device)?);
    if let Some(prompts) = &args.prompts {
        return many::run(args, prompts, &config, &tokenizer, load);
    }
    let text = args.prompt.as_deref().unwrap_or_default();
    let prompt = match &args.template {
        Some(name) => encode_prompt(&instruction(text), &tokenizer, &template(name))?,
        None => tokenizer.encode(text, true)?,
    };
    let model: Decoder = load()?;

    let mut out = std::io::stdout().lock();
    let mut failed = None;
    let mut write = |text: &str| {
        // A reader that closed the pipe early has what it wanted.
        if failed.is_none()
            && let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        {
            failed = Some(error);
        }
    };
    if args.template.is_none() && !args.skip_prompt {
        write(text);
    }
    let started = Instant::now();
    let generation = generate(&model, &tokenizer, &prompt, &config, &mut write)?;
    write("\n");
    if let Some(error) = failed {
        return Err(error).context("cannot write to standard output");
    }
    let tokens = generation.token_ids.len();
    eprintln!("{tokens} tokens, {:.1} tokens/s", tokens as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

/// A record of an instruction without an answer.
fn instruction(text: &str) -> Record {
    Record {
        content: RecordContent::Instruction(Instruction {
            instruction: text.to_owned(),
            ..Instruction::default()
        }),
        task_type: None,
        origin: Origin { file: Path::new("--prompt").into(), row: 0, line: None },
    }
}
