//! The script of an array of SLURM jobs.

use std::path::Path;

use anyhow::{Result, bail};

use crate::args::StudySubmitArgs;

/// What the script is made of besides the arguments.
pub struct Job<'a> {
    /// The command on the nodes.
    pub command: &'a Path,
    /// Where it computes.
    pub device: &'a str,
    /// The study; none for the built-in one.
    pub config: Option<&'a Path>,
    /// The folder of the study.
    pub output: &'a Path,
    /// The folder of what the jobs say.
    pub logs: &'a Path,
}

/// The script, all paths absolute.
pub fn script(args: &StudySubmitArgs, job: &Job<'_>) -> Result<String> {
    let options = [
        ("partition", args.partition.clone()),
        ("gpus", args.gpus.clone()),
        ("time", args.time.clone()),
        ("cpus-per-task", args.cpus.map(|cpus| cpus.to_string())),
        ("mem", args.mem.clone()),
        ("output", Some(format!("{}/%A_%a.log", job.logs.display()))),
    ];
    let mut lines = vec![
        "#!/bin/bash".to_owned(),
        "#SBATCH --job-name=lora-moe-study".to_owned(),
        format!("#SBATCH --array=1-{}", args.jobs.max(1)),
        "#SBATCH --requeue".to_owned(),
        "#SBATCH --open-mode=append".to_owned(),
    ];
    for (name, value) in options.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        lines.push(format!("#SBATCH --{name}={value}"));
    }
    lines.extend(args.sbatch.iter().map(|option| format!("#SBATCH {option}")));
    if let Some(line) = lines.iter().find(|line| line.contains('\n')) {
        bail!("an option of sbatch must be one line: {line:?}");
    }
    lines.push(String::new());
    lines.extend(args.setup.iter().cloned());
    let mut command = vec![quoted(&job.command.display().to_string())];
    let mut add = |name: &str, value: String| command.extend([name.to_owned(), quoted(&value)]);
    add("--device", job.device.to_owned());
    let mut more = vec!["study".to_owned(), "run".to_owned(), "--claim".to_owned()];
    let mut add = |name: &str, value: String| more.extend([name.to_owned(), quoted(&value)]);
    if let Some(config) = job.config {
        add("--config", config.display().to_string());
    }
    add("--output", job.output.display().to_string());
    add("--lease", args.lease.to_string());
    if let Some(workers) = args.workers {
        add("--workers", workers.to_string());
    }
    command.extend(more);
    lines.push(format!("exec {}", command.join(" ")));
    Ok(lines.join("\n") + "\n")
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_what_they_were() {
        assert_eq!(quoted("/a-b/c.toml"), "/a-b/c.toml");
        assert_eq!(quoted("a b$c"), "'a b$c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
