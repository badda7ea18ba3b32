use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use lora_moe::moe_adapter::write_atomically;

use crate::args::{Cli, ManArgs};

/// Runs `lora-moe man`.
pub fn run(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    // Gives the commands below their full names.
    command.build();
    let count = write(&command, args)?;
    eprintln!("{count} pages are in {}", args.output.display());
    Ok(())
}

/// Writes the page of a command and of those below it, and returns how many.
fn write(command: &Command, args: &ManArgs) -> Result<usize> {
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render(&mut page).context("cannot make a manual page")?;
    let path = args.output.join(man.get_filename());
    write_atomically(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    command.get_subcommands().try_fold(1, |count, below| Ok(count + write(below, args)?))
}
