use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe completions bash > ~/.local/share/bash-completion/completions/lora-moe
  lora-moe completions zsh > ~/.zfunc/_lora-moe      # a folder of $fpath
  lora-moe completions fish > ~/.config/fish/completions/lora-moe.fish")]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe man --output ~/.local/share/man/man1 && man lora-moe-train")]
pub struct ManArgs {
    /// The folder that receives lora-moe.1, lora-moe-train.1 and so on.
    #[arg(long)]
    pub output: PathBuf,
}
