//! `lora-moe study` and what is below it.

mod cluster;
mod jobs;
mod plan;
mod slurm;

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lora_moe::device::parse_device;
use lora_moe::study::{
    StudyConfig, StudyOptions, StudyPart, StudyResults, StudySummary, run_study, study_headline,
    write_study_report,
};

use crate::args::{StudyArgs, StudyCommand, StudyFiles};
use crate::progress::Bars;

/// Runs `lora-moe study`.
#[allow(clippy::print_stdout)]
pub fn run(args: &StudyArgs, device: &str) -> Result<()> {
    match &args.command {
        Some(StudyCommand::Plan(args)) => return plan::plan(args),
        Some(StudyCommand::Run(args)) => {
            return part(&args.files, args.workers, args.part(), device);
        }
        Some(StudyCommand::Report(files)) => return report(files, device),
        Some(StudyCommand::Submit(args)) => return cluster::submit(args, device),
        Some(StudyCommand::Status(args)) => return cluster::status(args),
        Some(StudyCommand::Cancel(files)) => return cluster::cancel(files),
        None => {}
    }
    if args.print_config {
        print!("{}", StudyConfig::DEFAULT_TOML);
        return Ok(());
    }
    let results = results(&args.files, args.workers, StudyPart::All, device)?;
    written(&results, &args.files.output)
}

/// Makes a part, and the report where that was the last.
fn part(files: &StudyFiles, workers: Option<usize>, part: StudyPart, device: &str) -> Result<()> {
    let results = results(files, workers, part, device)?;
    if results.missing.is_empty() {
        return written(&results, &files.output);
    }
    eprintln!(
        "this part is done as far as it can be; {} are missing that others make, or this part once \
         all learning rates are found: run it again then",
        results.missing.len()
    );
    Ok(())
}

/// Writes the report of what is there.
fn report(files: &StudyFiles, device: &str) -> Result<()> {
    let results = results(files, Some(1), StudyPart::Nothing, device)?;
    if results.runs.is_empty() {
        bail!("{}: no run of this study is there yet", files.output.display());
    }
    written(&results, &files.output)
}

/// Runs what is to be run, and returns all that is there.
fn results(
    files: &StudyFiles,
    workers: Option<usize>,
    part: StudyPart,
    device: &str,
) -> Result<StudyResults> {
    let config = config(files)?;
    // A GPU is kept busy by one run; on a CPU each thread takes one.
    let workers = workers.unwrap_or_else(|| match device {
        "flex" => available_parallelism().map_or(1, |threads| threads.get()),
        _ => 1,
    });
    let device = parse_device(device)?;
    let command: Vec<_> = std::env::args().skip(1).collect();
    let options = StudyOptions {
        folder: &files.output,
        device: &device,
        workers,
        command: format!("lora-moe {}", command.join(" ")),
        part,
    };
    let mut observer = Bars::default();
    Ok(run_study(&config, &options, &mut observer)?)
}

fn config(files: &StudyFiles) -> Result<StudyConfig> {
    Ok(match &files.config {
        Some(path) => StudyConfig::from_file(path)?,
        None => StudyConfig::from_toml(StudyConfig::DEFAULT_TOML, "the built-in study")?,
    })
}

#[allow(clippy::print_stdout)]
fn written(results: &StudyResults, output: &Path) -> Result<()> {
    write_study_report(results, output).context("cannot write the report")?;
    for sentence in study_headline(results, &StudySummary::of(results)) {
        println!("{sentence}");
    }
    eprintln!("the report is in {}", output.display());
    Ok(())
}

/// A path that means the same in every folder.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no place", path.display()))
}

fn lease(seconds: u64) -> Duration {
    Duration::from_secs(seconds.max(1))
}
