mod bench;
mod eval;
mod predict;
#[cfg(feature = "serve")]
mod serve;
mod shell;
mod study;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use lora_moe::adapter_formats::AdapterFormat;
use lora_moe::fused_ops::Precision;
use lora_moe::model_zoo::{HubError, LoadOptions, Quantization, WeightDType, resolve_model};

pub use bench::{BenchArgs, BenchCommand, BenchGenerateArgs, BenchModelArgs, BenchTrainArgs};
pub use eval::EvalArgs;
pub use predict::PredictArgs;
#[cfg(feature = "serve")]
pub use serve::ServeArgs;
pub use shell::{CompletionsArgs, ManArgs};
pub use study::{StudyArgs, StudyCommand, StudyFiles, StudyPlanArgs, StudySubmitArgs};

/// Fine-tune frozen transformers with mixtures of LoRA experts.
#[derive(Debug, Parser)]
#[command(
    name = "lora-moe",
    version,
    about,
    after_help = "Examples:
  lora-moe demo
  lora-moe config --preset loramoe-paper > run.toml
  lora-moe train --config run.toml --set model.path=path/to/llama
  lora-moe generate --model path/to/llama --adapter runs/loramoe-paper --prompt 'Hello'

Exit codes: 0 success, 1 failure (the reason on standard error), 2 wrong usage."
)]
pub struct Cli {
    /// Where to compute: flex (CPU), cuda, cuda:1, vulkan, wgpu, metal, rocm.
    ///
    /// Each has to be compiled in by the feature of its name; by default only flex is.
    #[arg(long, global = true, env = "LORA_MOE_DEVICE", default_value = "flex")]
    pub device: String,
    /// How activations are multiplied with frozen weights: f32 (the default), tf32 or bf16, with sums in
    /// f32. Takes precedence over `training.precision`.
    ///
    /// All other products, softmax, norms, losses and the optimiser are in f32 whatever is chosen. tf32 is
    /// for GPUs, and bf16 on a CPU for weights held in bfloat16, 8 or 4 bits.
    #[arg(long, global = true, env = "LORA_MOE_PRECISION")]
    pub precision: Option<Precision>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an adapter as a configuration file describes it.
    Train(TrainArgs),
    /// Show what a model will see of the data of a run, and what of it is learned.
    Data(DataArgs),
    /// Measure a model, with or without adapters: scores on tasks, or its loss on data.
    Eval(Box<EvalArgs>),
    /// Answer rows of texts or images by an encoder that `train` has trained.
    Predict(PredictArgs),
    /// Continue a text.
    Generate(GenerateArgs),
    /// Answer OpenAI's requests over HTTP, with one model and many adapters.
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// Compute logits for tokens or images, for comparison with another implementation.
    Logits(LogitsArgs),
    /// Describe a model folder or an adapter folder.
    Inspect(InspectArgs),
    /// Fold an adapter into the weights of its model.
    Merge(MergeArgs),
    /// Take a merged adapter out of the weights again.
    Unmerge(UnmergeArgs),
    /// Write one expert of a mixture, or a mixture at fixed weights, as a single LoRA.
    Extract(ExtractArgs),
    /// Make a mixture of single LoRAs that were trained one by one.
    Mix(MixArgs),
    /// Write an adapter in the layout of another project.
    Convert(ConvertArgs),
    /// Print a commented configuration to start from.
    Config(ConfigArgs),
    /// A complete experiment with nothing to download: LoRA against LoRAMoE in a small world.
    Demo(DemoArgs),
    /// Compare methods under equal conditions, and write a report.
    Study(Box<StudyArgs>),
    /// Measure the cost of training.
    Bench(BenchArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages of all commands.
    Man(ManArgs),
}

/// Arguments of `train`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  lora-moe train --config run.toml
  lora-moe train --config run.toml --set adapter.num_experts=8 --set training.max_steps=100
  lora-moe train --config run.toml --dry-run --measure
  lora-moe train --config run.toml --resume
  lora-moe train --config run.toml --resume checkpoint-500 --set training.learning_rate=1e-5
  lora-moe train --config goat.toml --config loramoe.toml
  lora-moe train --config run.toml --devices cuda:0,cuda:1
  mpirun -n 4 lora-moe train --config run.toml      # built with --features mpi

Several ranks share the forward passes of each step (training.gradient_accumulation_steps), and learn
what one learns.")]
pub struct TrainArgs {
    /// The configuration; `lora-moe config` prints one. Given several times, the runs train at once
    /// on one copy of their model's weights.
    #[arg(long, required = true)]
    pub config: Vec<PathBuf>,
    /// Overrides a key of the configuration; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Continue from the last healthy checkpoint in `training.output_dir`, or from the one named.
    #[arg(long, value_name = "CHECKPOINT", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Remove the run that `training.output_dir` holds, once the new one is prepared. What is removed
    /// is said; other files in the folder stay.
    #[arg(long, conflicts_with_all = ["resume", "dry_run"])]
    pub overwrite: bool,
    /// Train over several devices of this machine, each a rank, as in cuda:0,cuda:1; on a CPU
    /// flex,flex. They share the passes of a step as under mpirun.
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Over several ranks: after how many seconds of waiting for another one the run ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub rank_timeout: u64,
    /// Say what the run would train, hold and take, and begin nothing. Of the model only config.json
    /// is read, and the tokenizer where there is data.
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// With --dry-run: time steps of models of one and two layers of this shape, with random weights.
    #[arg(long, requires = "dry_run")]
    pub measure: bool,
    /// With --dry-run: leave the data alone.
    #[arg(long, requires = "dry_run")]
    pub without_data: bool,
}

/// Arguments of `data`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe data --config run.toml
  lora-moe data --config run.toml --show 20 --set data.template=chat
  lora-moe data --config run.toml --json > samples.jsonl

On a terminal what is learned is green; elsewhere it stands in brackets ⟦ ⟧. No weights are read.")]
pub struct DataArgs {
    /// The configuration of the run.
    #[arg(long)]
    pub config: PathBuf,
    /// Overrides a key of the configuration; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How many rows of the training data are shown. Default 5, with --json all.
    #[arg(long, value_name = "ROWS")]
    pub show: Option<usize>,
    /// Print a JSON object a line for each sample instead: input_ids, labels (-100 where a token is
    /// not learned), text and origin; the counts go to standard error.
    #[arg(long)]
    pub json: bool,
}

/// The model of a command.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A Hugging Face folder, or organisation/name on the hub.
    #[arg(long)]
    pub model: PathBuf,
    /// How it is loaded.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// How a model is loaded.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The revision on the hub: a branch, a tag or a commit.
    #[arg(long)]
    pub revision: Option<String>,
    /// The element type of the weights in memory: float32, float16, bfloat16, or auto, which is
    /// that of the files.
    #[arg(long, default_value_t)]
    pub dtype: WeightDType,
    /// Hold the linears of the layers in fewer bits: int8, fp4, nf4 or nf4_double.
    #[arg(long)]
    pub quantization: Option<Quantization>,
    /// Load qkv_proj and gate_up_proj (Phi 3) as the linears that they are made of; needed for
    /// adapters that were trained so.
    #[arg(long)]
    pub split_fused: bool,
}

impl ModelArgs {
    /// The folder of the model, downloaded where it is not here.
    pub fn folder(&self) -> Result<PathBuf, HubError> {
        self.load.folder(&self.model)
    }

    /// How it is loaded.
    pub fn options(&self) -> LoadOptions {
        self.load.options()
    }
}

impl LoadArgs {
    /// The folder of `model`, downloaded where it is not here.
    pub fn folder(&self, model: &Path) -> Result<PathBuf, HubError> {
        resolve_model(model, self.revision.as_deref())
    }

    /// The options of loading.
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            dtype: self.dtype,
            split_fused: self.split_fused,
            quantization: self.quantization,
        }
    }
}

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

/// Arguments of `logits`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe logits --model llama --inputs in.safetensors --output out.safetensors

IN holds `input_ids`, and optionally `attention_mask` (1 for a token, 0 for padding), as int64
[batch, seq], or for models of images `pixel_values`, f32 [batch, channels, height, width]. OUT
receives f32: `logits`, [batch, seq, vocab] of a decoder and [batch, labels] of a classifier; of
CLIP's vision tower `image_embeds` and `last_hidden_state`.")]
pub struct LogitsArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// An adapter folder.
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// The safetensors file to read.
    #[arg(long)]
    pub inputs: PathBuf,
    /// The safetensors file to write.
    #[arg(long)]
    pub output: PathBuf,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe inspect path/to/llama
  lora-moe inspect config.json
  lora-moe inspect runs/loramoe-paper
  lora-moe inspect --routing --model path/to/llama --adapter runs/loramoe-paper --data test.json

With --routing, routing.json, routing.csv and routing.html are written to the output folder.")]
pub struct InspectArgs {
    /// A model folder or its config.json, or an adapter folder (adapter_config.json).
    #[arg(required_unless_present = "routing")]
    pub folder: Option<PathBuf>,
    /// Report how the experts of an adapter are used on data.
    #[arg(long, requires_all = ["model", "adapter", "data"], conflicts_with = "folder")]
    pub routing: bool,
    /// A Hugging Face folder.
    #[arg(long, requires = "routing")]
    pub model: Option<PathBuf>,
    /// An adapter folder.
    #[arg(long, requires = "routing")]
    pub adapter: Option<PathBuf>,
    /// Files of records: JSON, JSON Lines, CSV, TSV or Parquet.
    #[arg(long, requires = "routing", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// The folder to write to.
    #[arg(long, requires = "routing", default_value = "routing")]
    pub output: PathBuf,
    /// How an instruction becomes a prompt: alpaca, plain, chat, or a text with {instruction}.
    #[arg(long, requires = "routing", default_value = "alpaca")]
    pub template: String,
    /// The longest sample in tokens.
    #[arg(long, requires = "routing", default_value_t = 1024)]
    pub max_length: usize,
    /// The samples of one forward pass.
    #[arg(long, requires = "routing", default_value_t = 8)]
    pub batch_size: usize,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe merge --model llama --adapter runs/lora --output merged
  lora-moe merge --model llama --adapter runs/slim --prompt 'The capital of France' --output merged
  lora-moe merge --model llama --adapter runs/mix --weights 0.2,0.8 --output merged

A mixture decides for every token, so it is merged at the mean weights that a text routes to
(--prompt) or at given ones (--weights); without, only a uniform router is merged. What a single
adapter's folder does not say is written to merged_adapter.safetensors, for `lora-moe unmerge`.")]
pub struct MergeArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// An adapter folder.
    #[arg(long)]
    pub adapter: PathBuf,
    /// A text whose routing the mixture is frozen at.
    #[arg(long)]
    pub prompt: Option<String>,
    /// The weights of the experts, one for each, the same in every layer.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "W,W,…",
        allow_hyphen_values = true,
        conflicts_with = "prompt"
    )]
    pub weights: Vec<f64>,
    /// Receives the merged model.
    #[arg(long)]
    pub output: PathBuf,
    /// The element type that it is written in; auto is that of the model's own files.
    #[arg(long, value_name = "DTYPE", default_value_t = WeightDType::AsStored)]
    pub output_dtype: WeightDType,
}

/// Arguments of `unmerge`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe unmerge --model merged --adapter runs/lora --output base

Where the merged model has a merged_adapter.safetensors, that says what to take out; the adapter's
folder suffices for a single LoRA, rsLoRA or (IA)^3.")]
pub struct UnmergeArgs {
    /// The merged model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The folder of the adapter that was merged.
    #[arg(long)]
    pub adapter: PathBuf,
    /// Receives the base model.
    #[arg(long)]
    pub output: PathBuf,
    /// The element type that it is written in; auto is that of the merged model's files.
    #[arg(long, value_name = "DTYPE", default_value_t = WeightDType::AsStored)]
    pub output_dtype: WeightDType,
}

/// Arguments of `extract`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe extract --adapter runs/loramoe --expert 3 --output expert-3
  lora-moe extract --adapter runs/mix --weights 0.2,0.8 --output mean

Without --expert and --weights, the mixture of a uniform router. The folder written is a LoRA as
PEFT has it.")]
pub struct ExtractArgs {
    /// The folder of a mixture.
    #[arg(long)]
    pub adapter: PathBuf,
    /// The expert to write, counted from 0 as the router counts.
    #[arg(long, conflicts_with = "weights")]
    pub expert: Option<usize>,
    /// The weights of the experts, one for each, the same in every layer.
    #[arg(long, value_delimiter = ',', value_name = "W,W,…", allow_hyphen_values = true)]
    pub weights: Vec<f64>,
    /// The folder to write.
    #[arg(long)]
    pub output: PathBuf,
}

/// Arguments of `mix`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe mix --adapters runs/code runs/maths runs/law --output runs/mix
  lora-moe mix --adapters runs/code runs/maths --router loramoe-paper --output runs/mix

The router starts as the mean of the adapters where its type allows; train it alone with
[adapter] from = \"runs/mix\" and train = \"router\" in the configuration of a run.")]
pub struct MixArgs {
    /// The folders of the adapters, of one base model.
    #[arg(long, required = true, num_args = 2..)]
    pub adapters: Vec<PathBuf>,
    /// The router: a type, as in dense, top_k or uniform, or a preset.
    #[arg(long, default_value = "dense")]
    pub router: String,
    /// Start the router at random from this seed, instead of with a gate of zeros.
    #[arg(long)]
    pub router_seed: Option<u64>,
    /// The folder to write.
    #[arg(long)]
    pub output: PathBuf,
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe convert --adapter runs/lora --to peft --output peft-lora
  lora-moe convert --adapter mixlora-from-moe-peft --to native --output runs/mixlora
  lora-moe convert --adapter goat --to native --model llama --output runs/goat

Layouts: native, peft, loramoe, hydralora, goat, adamole, mola, mixlora, moe-peft-loramoe,
moe-peft-mola, moe-peft-dynmole. What the target has no place for is an error that names it, and
nothing is written.")]
pub struct ConvertArgs {
    /// An adapter folder.
    #[arg(long)]
    pub adapter: PathBuf,
    /// Its layout; found out where absent.
    #[arg(long)]
    pub from: Option<AdapterFormat>,
    /// The layout to write.
    #[arg(long)]
    pub to: AdapterFormat,
    /// The folder to write.
    #[arg(long)]
    pub output: PathBuf,
    /// Write adapter_model.bin, as torch.save does, instead of adapter_model.safetensors.
    #[arg(long)]
    pub bin: bool,
    /// Drop settings that matter in training only and that the target has no keys for, as the
    /// balance loss.
    #[arg(long)]
    pub drop_training: bool,
    /// The base model of an adapter whose layout leaves its start to be repeated (GOAT, PEFT's
    /// PiSSA): the start is then stored. Only with --to native.
    #[arg(long)]
    pub model: Option<PathBuf>,
}

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

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe demo
  lora-moe demo --output runs/demo --seed 1
  lora-moe demo --search               # how the learning rates were found (takes long)
  lora-moe demo --config demo.json     # other sizes, amounts or methods")]
pub struct DemoArgs {
    /// Receives report.html and results.json.
    #[arg(long, default_value = "lora-moe-demo")]
    pub output: PathBuf,
    /// Everything random follows from it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// A JSON file of settings that differ from the defaults.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Search the learning rate of each method on the validation half, instead of reporting.
    #[arg(long)]
    pub search: bool,
    /// The learning rates that the search tries.
    #[arg(long, value_delimiter = ',', default_value = "5e-4,1e-3,2e-3,4e-3")]
    pub grid: Vec<f64>,
    /// Where the pre-trained world is cached (default: the user's cache folder).
    #[arg(long)]
    pub cache: Option<PathBuf>,
}
