use std::path::{Path, PathBuf};

use clap::Args;
use lora_moe::model_zoo::{HubError, LoadOptions, Quantization, WeightDType, resolve_model};

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
    /// The element type of the weights in memory: float32, float16, bfloat16, or auto: that of the
    /// files for decoders on a CPU, which computes with them in f32, and float32 for all others
    /// and where weights are changed and written.
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

    /// How it is loaded to be changed and written: in f32, where nothing else is asked for.
    pub fn options_to_write(&self) -> LoadOptions {
        let options = self.load.options();
        LoadOptions { dtype: options.dtype.computed(), ..options }
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
