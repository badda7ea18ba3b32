mod compare;
mod data;
mod list;
mod tasks;

use anyhow::{Context, Result};

use crate::args::EvalArgs;
use crate::interrupt::Interrupt;

/// Runs `lora-moe eval`.
pub fn run(args: &EvalArgs, device: &str, interrupt: &Interrupt) -> Result<()> {
    if args.list_tasks {
        return list::run(args);
    }
    if let [before, after @ ..] = args.compare.as_slice() {
        return compare::run(before, after, args.output.as_deref());
    }
    let model = args.model.as_deref().context("--model is missing")?;
    if args.loss.data.is_empty() {
        tasks::run(args, model, device, interrupt)
    } else {
        data::run(args, model, device)
    }
}
