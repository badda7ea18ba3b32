use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use lora_moe::moe_adapter::write_atomically;

use super::jobs::{ClusterJob, FORMAT, from_lines, from_sacct, from_squeue};
use super::plan::{counts, planned};
use super::slurm::{Job, script};
use super::{absolute, config};
use crate::args::{StudyFiles, StudyPlanArgs, StudySubmitArgs};

/// The folder of scripts and logs, and the file of the numbers of jobs, in a study's folder.
const FOLDER: &str = "slurm";
const JOBS: &str = "jobs";

/// Runs `lora-moe study submit`.
#[allow(clippy::print_stdout)]
pub fn submit(args: &StudySubmitArgs, device: &str) -> Result<()> {
    // A mistake is found here rather than by each job.
    config(&args.files)?;
    let output = absolute(&args.files.output)?;
    let config = args.files.config.as_deref().map(absolute).transpose()?;
    let folder = output.join(FOLDER);
    let command = std::env::current_exe().context("cannot tell where this command is")?;
    let job = Job {
        command: &command,
        device,
        config: config.as_deref(),
        output: &output,
        logs: &folder,
    };
    let script = script(args, &job)?;
    if args.print {
        print!("{script}");
        return Ok(());
    }
    // SLURM does not make the folder of the logs.
    let path = folder.join("job.sh");
    write_atomically(&path, script.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    let said = said("sbatch", &["--parsable", &path.display().to_string()])?;
    // A federation adds the cluster.
    let id = said.trim().split(';').next().unwrap_or_default().to_owned();
    let mut jobs = jobs(&output)?;
    jobs.push(id.clone());
    let path = folder.join(JOBS);
    write_atomically(&path, (jobs.join("\n") + "\n").as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{id}");
    eprintln!("{} jobs wait as array {id}; their logs go to {}", args.jobs, folder.display());
    Ok(())
}

/// Runs `lora-moe study status`.
#[allow(clippy::print_stdout)]
pub fn status(args: &StudyPlanArgs) -> Result<()> {
    let planned = planned(args)?;
    let submitted = jobs(&absolute(&args.files.output)?)?;
    let (waiting, ended) = match submitted.is_empty() {
        true => (Vec::new(), Vec::new()),
        false => asked(&submitted)?,
    };
    if args.json {
        let status = serde_json::json!({
            "runs": planned, "jobs": submitted, "queue": waiting, "ended": ended,
        });
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    println!("{}", counts(&planned));
    match waiting.is_empty() {
        true if submitted.is_empty() => println!("no job was submitted"),
        true => println!("no job of {} waits or runs", submitted.join(", ")),
        false => {}
    }
    for ClusterJob { id, state, nodes, reason } in waiting.iter().chain(&ended) {
        let on = if nodes.is_empty() { String::new() } else { format!(" on {nodes}") };
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        println!("job {id}: {state}{on}{why}");
    }
    Ok(())
}

/// The jobs of these arrays that wait or run, and those that have ended, as far as the cluster keeps
/// accounts.
fn asked(arrays: &[String]) -> Result<(Vec<ClusterJob>, Vec<ClusterJob>)> {
    let own = ["--me", "--name=lora-moe-study"];
    // Numbers of jobs that have ended long ago would be errors.
    let queue = match said("squeue", &[&own[..], &["--json"]].concat()) {
        Ok(text) => from_squeue(&text)?,
        // Without the plugin for it, or before it was there.
        Err(_) => {
            from_lines(&said("squeue", &[&own[..], &["--noheader", "--array", FORMAT]].concat())?)
        }
    };
    // Many clusters keep no accounts.
    let accounts = match said("sacct", &["--json", "--jobs", &arrays.join(",")]) {
        Ok(text) => from_sacct(&text)?,
        Err(_) => Vec::new(),
    };
    let of_these = |job: &ClusterJob| arrays.iter().any(|array| array == job.array());
    let (mut ended, waiting): (Vec<_>, Vec<_>) =
        queue.into_iter().filter(of_these).partition(ClusterJob::has_ended);
    for job in accounts.into_iter().filter(of_these).filter(ClusterJob::has_ended) {
        if !ended.iter().chain(&waiting).any(|of| of.id == job.id) {
            ended.push(job);
        }
    }
    Ok((waiting, ended))
}

/// Runs `lora-moe study cancel`.
pub fn cancel(files: &StudyFiles) -> Result<()> {
    let jobs = jobs(&absolute(&files.output)?)?;
    if jobs.is_empty() {
        bail!("{}: no job was submitted from here", files.output.display());
    }
    let ids: Vec<&str> = jobs.iter().map(String::as_str).collect();
    said("scancel", &ids)?;
    eprintln!("cancelled {}; what is done is kept", jobs.join(", "));
    Ok(())
}

/// The numbers of the jobs that were submitted.
fn jobs(output: &Path) -> Result<Vec<String>> {
    let path: PathBuf = output.join(FOLDER).join(JOBS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// What a command of SLURM says.
fn said(command: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(command)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot start {command}; is SLURM installed here?"))?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
