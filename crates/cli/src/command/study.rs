use std::thread::available_parallelism;

use anyhow::{Context, Result};
use lora_moe::device::parse_device;
use lora_moe::study::{
    StudyConfig, StudyOptions, StudySummary, run_study, study_headline, write_study_report,
};

use crate::args::StudyArgs;
use crate::progress::Bars;

/// Runs `lora-moe study`.
#[allow(clippy::print_stdout)]
pub fn run(args: &StudyArgs, device: &str) -> Result<()> {
    if args.print_config {
        print!("{}", StudyConfig::DEFAULT_TOML);
        return Ok(());
    }
    let config = match &args.config {
        Some(path) => StudyConfig::from_file(path)?,
        None => StudyConfig::from_toml(StudyConfig::DEFAULT_TOML, "the built-in study")?,
    };
    // A GPU is kept busy by one run; on a CPU each thread takes one.
    let workers = args.workers.unwrap_or_else(|| match device {
        "flex" => available_parallelism().map_or(1, |threads| threads.get()),
        _ => 1,
    });
    let device = parse_device(device)?;
    let command: Vec<_> = std::env::args().skip(1).collect();
    let options = StudyOptions {
        folder: &args.output,
        device: &device,
        workers,
        command: format!("lora-moe {}", command.join(" ")),
    };
    let mut observer = Bars::default();
    let results = run_study(&config, &options, &mut observer)?;
    write_study_report(&results, &args.output).context("cannot write the report")?;
    for sentence in study_headline(&results, &StudySummary::of(&results)) {
        println!("{sentence}");
    }
    eprintln!("the report is in {}", args.output.display());
    Ok(())
}
