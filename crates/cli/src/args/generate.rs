use std::path::PathBuf;

use clap::Args;

use super::ModelArgs;

/// Arguments of `generate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe generate --model llama --prompt 'Once upon a time' --max-new-tokens 100
  lora-moe generate --model llama --adapter runs/x --prompt 'Hi' --template chat --temperature 0.7 --top-p 0.9
  lora-moe generate --model llama --adapter runs/x --prompts questions.jsonl --output answers.jsonl

The text goes to standard output, everything else to standard error.")]
pub struct GenerateArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// An adapter folder.
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// The text to continue.
    #[arg(long, required_unless_present = "prompts")]
    pub prompt: Option<String>,
    /// A file of prompts to continue together, in any form that training reads; answers may be
    /// absent. A line of JSON for each.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "skip_prompt"])]
    pub prompts: Option<PathBuf>,
    /// Receives the lines for --prompts, instead of standard output.
    #[arg(long, requires = "prompts")]
    pub output: Option<PathBuf>,
    /// The most prompts that are continued together.
    #[arg(long, default_value_t = 16, requires = "prompts")]
    pub batch_size: usize,
    /// Take the prompt as an instruction in the template that the adapter was trained with (alpaca,
    /// plain, chat, or a text with {instruction}), and print the answer only. Instructions of
    /// --prompts have alpaca's unless another is given.
    #[arg(long)]
    pub template: Option<String>,
    /// Print the continuation without the prompt.
    #[arg(long)]
    pub skip_prompt: bool,
    /// The most tokens to generate.
    #[arg(long, default_value_t = 128)]
    pub max_new_tokens: usize,
    /// Divides the logits; 0 takes the most probable token.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Sample only among so many of the most probable tokens.
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Sample only among the most probable tokens that together reach this probability.
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Above 1, tokens that occurred become less probable.
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// A text that ends the generation; may be given several times.
    #[arg(long)]
    pub stop: Vec<String>,
    /// The seed of sampling.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}
