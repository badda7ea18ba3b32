use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::LoadArgs;

/// Arguments of `eval`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["tasks", "data", "compare", "list_tasks"])),
    after_help = "Examples:
  lora-moe eval --model llama --tasks arc_easy,piqa --limit 100 --output scores/base
  lora-moe eval --model llama --adapter runs/x --tasks arc_easy,piqa --limit 100 --output scores/x
  lora-moe eval --compare scores/base scores/x
  lora-moe eval --model llama --tasks my_task --include-path tasks --num-fewshot 5 --output scores/my
  lora-moe eval --model llama --adapter runs/x --data validation.json --template plain
  lora-moe eval --list-tasks"
)]
pub struct EvalArgs {
    /// A Hugging Face folder, or organisation/name on the hub.
    #[arg(long, required_unless_present_any = ["compare", "list_tasks"])]
    pub model: Option<PathBuf>,
    /// How it is loaded.
    #[command(flatten)]
    pub load: LoadArgs,
    /// An adapter folder. Given several times with --tasks, each is evaluated in a folder of its
    /// own below --output.
    #[arg(long)]
    pub adapter: Vec<PathBuf>,
    /// Scores on tasks.
    #[command(flatten)]
    pub scores: TaskArgs,
    /// The loss on data.
    #[command(flatten)]
    pub loss: LossArgs,
    /// Compares folders of earlier evaluations, the first with each other one.
    #[arg(long, num_args = 2.., value_names = ["BEFORE", "AFTER"])]
    pub compare: Vec<PathBuf>,
    /// Prints the tasks that there are, with their sources and licences.
    #[arg(long)]
    pub list_tasks: bool,
    /// Folders of task files (YAML), which win over those of the command.
    #[arg(long, num_args = 1..)]
    pub include_path: Vec<PathBuf>,
    /// Receives the results; of --compare, the report.
    #[arg(long, required_unless_present_any = ["data", "compare", "list_tasks"])]
    pub output: Option<PathBuf>,
}

/// How tasks are evaluated, by the names of the LM evaluation harness.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tasks")]
pub struct TaskArgs {
    /// Tasks, groups, tags or task files, separated by commas; * stands for any characters.
    #[arg(long, value_delimiter = ',')]
    pub tasks: Vec<String>,
    /// The examples before each question; otherwise what the task says.
    #[arg(long)]
    pub num_fewshot: Option<usize>,
    /// Only so many documents of each task, or below 1 such a share of them.
    #[arg(long)]
    pub limit: Option<f64>,
    /// Folders in which data sets are looked for before the hub.
    #[arg(long, num_args = 1..)]
    pub data_dir: Vec<PathBuf>,
    /// Put prompts into the model's chat template.
    #[arg(long)]
    pub apply_chat_template: bool,
    /// A system message before each prompt.
    #[arg(long)]
    pub system_instruction: Option<String>,
    /// Whether examples are turns of the conversation. Default: true with a chat template.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", requires = "apply_chat_template")]
    pub fewshot_as_multiturn: Option<bool>,
    /// Whether a beginning-of-sequence token is put before prompts; otherwise what the tokenizer
    /// does.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub add_bos_token: Option<bool>,
    /// The seed of the choice of examples.
    #[arg(long, default_value_t = 1234)]
    pub fewshot_seed: u64,
    /// The seed of what is drawn in generation.
    #[arg(long, default_value_t = 0)]
    pub generation_seed: u64,
    /// The resamplings behind a standard error that has no formula; 0 leaves it out.
    #[arg(long, default_value_t = 100_000)]
    pub bootstrap_iters: usize,
    /// The tokens of one forward pass.
    #[arg(long)]
    pub batch_tokens: Option<usize>,
    /// Continue an interrupted evaluation.
    #[arg(long, conflicts_with_all = ["data", "compare"])]
    pub resume: bool,
}

/// How the loss on data is measured.
#[derive(Debug, Args)]
#[command(next_help_heading = "Loss on data")]
pub struct LossArgs {
    /// Files of records: JSON, JSON Lines, CSV, TSV, Parquet or Arrow.
    #[arg(long, num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// How an instruction becomes a prompt: alpaca, plain, chat, or a text with {instruction}.
    #[arg(long, default_value = "alpaca")]
    pub template: String,
    /// The longest sample in tokens.
    #[arg(long, default_value_t = 1024)]
    pub max_length: usize,
    /// The samples of one forward pass.
    #[arg(long, default_value_t = 8)]
    pub batch_size: usize,
    /// Also generate greedily, and count the answers that are exactly right.
    #[arg(long)]
    pub exact_match: bool,
    /// The most tokens of a generated answer.
    #[arg(long, default_value_t = 64)]
    pub max_new_tokens: usize,
}
