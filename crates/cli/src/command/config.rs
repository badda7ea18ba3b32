use anyhow::Result;
use lora_moe::finetune::run::run_template;
use lora_moe::moe_adapter::Preset;

use crate::args::ConfigArgs;

/// Runs `lora-moe config`.
#[allow(clippy::print_stdout)]
pub fn run(args: &ConfigArgs) -> Result<()> {
    if args.list {
        for preset in Preset::ALL {
            println!("{:18} {}", preset.name(), preset.summary());
        }
        return Ok(());
    }
    print!("{}", run_template(args.preset.parse()?));
    Ok(())
}
