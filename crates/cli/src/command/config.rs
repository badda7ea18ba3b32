use anyhow::Result;
use lora_moe::finetune::run::run_template;
use lora_moe::moe_adapter::Preset;

use crate::args::ConfigArgs;

/// The keys of a run's file for editors; `tests/schema.rs` compares it with what the parser takes.
const SCHEMA: &str = include_str!("recipe.schema.json");

/// Runs `lora-moe config`.
#[allow(clippy::print_stdout)]
pub fn run(args: &ConfigArgs) -> Result<()> {
    if args.list {
        for preset in Preset::ALL {
            println!("{:18} {}", preset.name(), preset.summary());
        }
        return Ok(());
    }
    if args.schema {
        print!("{SCHEMA}");
        return Ok(());
    }
    print!("{}", run_template(args.preset.parse()?));
    Ok(())
}
