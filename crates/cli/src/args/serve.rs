use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::ModelArgs;

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe serve --model path/to/llama --adapter math=runs/goat --adapter chat=runs/loramoe
  lora-moe serve --model path/to/llama --dtype bfloat16 --host 0.0.0.0 --api-key \"$KEY\"
  curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
    -d '{\"model\": \"math\", \"prompt\": \"2 + 2 =\", \"max_tokens\": 8}'

A page to chat on is at http://127.0.0.1:8000/. Ctrl-C or SIGTERM ends the server when what runs is
done, or after --closing-seconds.")]
pub struct ServeArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// An adapter folder, under the name by which requests choose it; may be given several times.
    #[arg(long, value_name = "NAME=FOLDER", value_parser = named)]
    pub adapter: Vec<(String, PathBuf)>,
    /// The name of the base model [default: that of its folder].
    #[arg(long)]
    pub served_model_name: Option<String>,
    /// The address to listen on. Others than this machine's own should have an API key.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// The port; 0 takes one that is free.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// What clients have to send as `Authorization: Bearer KEY`.
    #[arg(long, env = "LORA_MOE_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// The most sequences that are continued together.
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
    pub max_rows: usize,
    /// The most requests that wait; others are told to come back later.
    #[arg(long, default_value_t = 256)]
    pub max_queue: usize,
    /// The most tokens of prompt and answer together [default: what the model was trained for].
    #[arg(long, value_parser = at_least_one)]
    pub max_len: Option<usize>,
    /// The most tokens whose keys and values are kept.
    #[arg(long, default_value_t = 65_536, value_parser = at_least_one)]
    pub cache_tokens: usize,
    /// The most tokens of prompts that are read between two steps of the answers.
    #[arg(long, default_value_t = 512, value_parser = at_least_one)]
    pub prompt_tokens: usize,
    /// Read every prompt from its start, also where others began alike.
    #[arg(long)]
    pub no_prefix_sharing: bool,
    /// The largest body of a request, in bytes.
    #[arg(long, default_value_t = 4 << 20)]
    pub max_body: usize,
    /// How long a request may take, waiting included.
    #[arg(long, default_value_t = 600)]
    pub request_seconds: u64,
    /// How long a client may take to send a request, or to read some of an answer.
    #[arg(long, default_value_t = 60)]
    pub client_seconds: u64,
    /// The most connections.
    #[arg(long, default_value_t = 1024, value_parser = at_least_one)]
    pub max_connections: usize,
    /// How long what runs may go on when the server is asked to end.
    #[arg(long, default_value_t = 30)]
    pub closing_seconds: u64,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
            Ok((name.to_owned(), folder.into()))
        }
        _ => Err("must be NAME=FOLDER".to_owned()),
    }
}
