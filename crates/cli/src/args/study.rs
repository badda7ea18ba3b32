use std::path::PathBuf;

use clap::{Args, Subcommand};
use lora_moe::study::StudyPart;

/// Arguments of `study`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  lora-moe study --output runs/study                # nine methods, three seeds
  lora-moe study --print-config > study.toml        # the same, to be changed
  lora-moe study --config study.toml --output runs/mine

On several machines that share a folder:
  lora-moe study plan --config study.toml --output runs/mine
  lora-moe study run --claim --config study.toml --output runs/mine      # on each of them
  lora-moe study submit --config study.toml --output runs/mine --jobs 8 --partition gpu --gpus 1

It runs in the demo's world, or with [model] and [data] in its file on a model and data of yours.
A study that was interrupted goes on when it is run again: each run is kept as soon as it is done."
)]
pub struct StudyArgs {
    /// Its files.
    #[command(flatten)]
    pub files: StudyFiles,
    /// How many runs go on at once; by default one for each processor, on a GPU one.
    #[arg(long)]
    pub workers: Option<usize>,
    /// Print the built-in study instead.
    #[arg(long)]
    pub print_config: bool,
    /// A part of the work; without it, all of it in this process.
    #[command(subcommand)]
    pub command: Option<StudyCommand>,
}

/// The files of a study.
#[derive(Debug, Clone, Args)]
pub struct StudyFiles {
    /// The study; without it, the built-in one.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Receives every run, the report and its figures.
    #[arg(long, default_value = "lora-moe-study")]
    pub output: PathBuf,
}

/// What can be done of a study.
#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// List the runs, and how far they are.
    Plan(StudyPlanArgs),
    /// Make a part of the runs, beside other processes that make other parts.
    Run(StudyRunArgs),
    /// Write the report of what is there, and name what is missing.
    Report(StudyFiles),
    /// Run the study as an array of SLURM jobs.
    Submit(StudySubmitArgs),
    /// Say how far the runs and the SLURM jobs are.
    Status(StudyPlanArgs),
    /// Cancel the SLURM jobs of the study.
    Cancel(StudyFiles),
}

/// Arguments of `study plan` and `study status`.
#[derive(Debug, Args)]
pub struct StudyPlanArgs {
    /// Its files.
    #[command(flatten)]
    pub files: StudyFiles,
    /// After how many seconds without a sign of life a claim ends.
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE)]
    pub lease: u64,
    /// Print a JSON array instead.
    #[arg(long)]
    pub json: bool,
}

/// The seconds of a lease.
pub const LEASE: u64 = 300;

/// Arguments of `study run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe study run --only 2/4 --config study.toml --output runs/mine   # the second of four parts
  lora-moe study run --claim --config study.toml --output runs/mine

Parts of --only never wait: where learning rates are searched for, run each again once all searches are
there. Processes of --claim wait for each other, and go on with what one of them left when it died.
Whoever finishes writes the report.")]
pub struct StudyRunArgs {
    /// Its files.
    #[command(flatten)]
    pub files: StudyFiles,
    /// Make the I-th of N parts.
    #[arg(long, value_name = "I/N", value_parser = part, required_unless_present = "claim")]
    pub only: Option<(usize, usize)>,
    /// Make what nobody else makes, until all is there.
    #[arg(long, conflicts_with = "only")]
    pub claim: bool,
    /// After how many seconds without a sign of life a claim of another process ends; the same for
    /// all of them.
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE, requires = "claim")]
    pub lease: u64,
    /// How many runs go on at once; by default one for each processor, on a GPU one.
    #[arg(long)]
    pub workers: Option<usize>,
}

impl StudyRunArgs {
    /// Which runs are made.
    pub fn part(&self) -> StudyPart {
        match self.only {
            Some((number, of)) => StudyPart::Only { number, of },
            None => StudyPart::Claim { lease: std::time::Duration::from_secs(self.lease.max(1)) },
        }
    }
}

/// Reads `2/4`.
fn part(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("{text:?} is not as 2/4, the second of four parts");
    let (number, of) = text.split_once('/').ok_or_else(wrong)?;
    let part = number.parse().ok().zip(of.parse().ok()).ok_or_else(wrong)?;
    if (1..=part.1).contains(&part.0) { Ok(part) } else { Err(wrong()) }
}

/// Arguments of `study submit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe study submit --config study.toml --output runs/mine --jobs 8 --partition gpu --gpus 1 --time 4:00:00
  lora-moe study submit --config study.toml --output runs/mine --print > job.sh

Each job of the array is `study run --claim`. A job that is preempted is queued again; the runs that it
had in progress are made anew.")]
pub struct StudySubmitArgs {
    /// Its files; the folder must be shared by all nodes.
    #[command(flatten)]
    pub files: StudyFiles,
    /// How many jobs share the work.
    #[arg(long, default_value_t = 4)]
    pub jobs: usize,
    /// sbatch's --partition.
    #[arg(long)]
    pub partition: Option<String>,
    /// sbatch's --gpus, of each job.
    #[arg(long)]
    pub gpus: Option<String>,
    /// sbatch's --time, of each job.
    #[arg(long)]
    pub time: Option<String>,
    /// sbatch's --cpus-per-task.
    #[arg(long)]
    pub cpus: Option<usize>,
    /// sbatch's --mem, of each job.
    #[arg(long)]
    pub mem: Option<String>,
    /// Another line of options for sbatch, as in --sbatch=--account=x; may be given several times.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// A line for the job's shell, as `module load cuda`; may be given several times.
    #[arg(long, value_name = "LINE")]
    pub setup: Vec<String>,
    /// As of study run --claim.
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE)]
    pub lease: u64,
    /// How many runs go on at once in a job.
    #[arg(long)]
    pub workers: Option<usize>,
    /// Print the script instead of submitting it.
    #[arg(long)]
    pub print: bool,
}
