use clap::Args;

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe config --preset loramoe-paper > run.toml
  lora-moe config --list
  lora-moe config --schema > run.schema.json")]
pub struct ConfigArgs {
    /// The method to start from.
    #[arg(long, default_value = "loramoe-paper")]
    pub preset: String,
    /// List the presets instead.
    #[arg(long)]
    pub list: bool,
    /// Print the JSON Schema of the file instead, by which editors complete and check it.
    #[arg(long, conflicts_with = "list")]
    pub schema: bool,
}
