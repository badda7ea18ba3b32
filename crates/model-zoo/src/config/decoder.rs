mod check;
mod read;
mod write;

use std::path::Path;

use moe_adapter::Activation;
use serde_json::Value;

use super::family::Windows;
use super::reader::read_json;
use super::{ConfigError, Family, RopeConfig};

/// The shape of a decoder, as its Hugging Face `config.json` gives it.
///
/// Field names are transformers'. Keys that do not change what is computed at inference are
/// ignored; those that do and are not implemented are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// What the keys of `config.json` do not say.
    pub family: Family,
    /// The number of tokens, `V`.
    pub vocab_size: usize,
    /// The size of a hidden state, `H`.
    pub hidden_size: usize,
    /// The inner size of the feed-forward layers.
    pub intermediate_size: usize,
    /// The number of decoder layers.
    pub num_hidden_layers: usize,
    /// The number of query heads.
    pub num_attention_heads: usize,
    /// The number of key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// The size of a head; even. `hidden_size / num_attention_heads` unless given.
    pub head_dim: usize,
    /// The longest sequence of training, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in the RMS norms.
    pub rms_norm_eps: f64,
    /// Rotary position embeddings.
    pub rope: RopeConfig,
    /// The activation of the feed-forward layers.
    pub activation: Activation,
    /// A token sees itself and the `sliding_window - 1` before it; `None` for all before it.
    pub sliding_window: Option<usize>,
    /// The layers without a sliding window where there is one, ascending.
    pub full_attention_layers: Vec<usize>,
    /// Attention scores become `cap * tanh(score / cap)`.
    pub attn_logit_softcapping: Option<f64>,
    /// Logits become `cap * tanh(logit / cap)`.
    pub final_logit_softcapping: Option<f64>,
    /// Attention scores are divided by its square root; `None` for `head_dim`.
    pub query_pre_attn_scalar: Option<f64>,
    /// Whether the head reuses the embedding's weights.
    pub tie_word_embeddings: bool,
    /// Whether the four linears of attention have biases.
    pub attention_bias: bool,
    /// Whether the three linears of the feed-forward layer have biases.
    pub mlp_bias: bool,
    /// Whether queries, keys and values are one linear `qkv_proj`, and gate and up projection one
    /// linear `gate_up_proj`, each with one adapter. Only in memory; what is on disk depends on
    /// the family.
    pub fused_projections: bool,
    /// The token that starts a sequence.
    pub bos_token_id: Option<u32>,
    /// The tokens that end one.
    pub eos_token_ids: Vec<u32>,
    /// The token of padding.
    pub pad_token_id: Option<u32>,
    /// The standard deviation of random weights.
    pub initializer_range: f64,
}

impl DecoderConfig {
    /// A Llama with as many key-value heads as query heads and transformers' defaults otherwise.
    pub fn new(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
    ) -> Self {
        Self {
            family: Family::Llama,
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: num_attention_heads,
            head_dim: hidden_size.checked_div(num_attention_heads).unwrap_or(0),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope: RopeConfig::default(),
            activation: Activation::Silu,
            sliding_window: None,
            full_attention_layers: Vec::new(),
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            query_pre_attn_scalar: None,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            fused_projections: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
            pad_token_id: None,
            initializer_range: 0.02,
        }
    }

    /// Makes it a model of another family, with transformers' defaults for that family; sizes,
    /// heads and tokens stay.
    pub fn with_family(self, family: Family) -> Self {
        let plain = Self {
            family,
            activation: Activation::Silu,
            sliding_window: None,
            full_attention_layers: Vec::new(),
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            query_pre_attn_scalar: None,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            fused_projections: family.traits().fused_projections,
            rms_norm_eps: 1e-6,
            ..self
        };
        match family {
            Family::Llama => Self { max_position_embeddings: 2048, ..plain },
            Family::Mistral => {
                Self { max_position_embeddings: 131_072, sliding_window: Some(4096), ..plain }
            }
            Family::Qwen2 | Family::Qwen3 => Self { max_position_embeddings: 32_768, ..plain },
            Family::Gemma2 => Self {
                max_position_embeddings: 8192,
                activation: Activation::GeluTanh,
                sliding_window: Some(4096),
                full_attention_layers: odd_layers(plain.num_hidden_layers),
                attn_logit_softcapping: Some(50.0),
                final_logit_softcapping: Some(30.0),
                query_pre_attn_scalar: Some(256.0),
                tie_word_embeddings: true,
                ..plain
            },
            Family::Phi3 => Self { max_position_embeddings: 4096, rms_norm_eps: 1e-5, ..plain },
        }
    }

    /// Reads `config.json` in `folder`.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_file(folder.as_ref().join("config.json"))
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the file cannot be read, or does not describe a decoder that this
    /// crate can build.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_json(&read_json(path)?, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it does not describe a decoder that this crate can build.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        read::read(value, origin)
    }

    /// The configuration as a `config.json` that transformers loads.
    pub fn to_json(&self) -> Value {
        write::write(self)
    }

    /// Checks a configuration made in memory.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] naming the field that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        check::check(self, "DecoderConfig")
    }

    /// The sliding window of a layer, in tokens.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.sliding_window.filter(|_| !self.full_attention_layers.contains(&layer))
    }

    /// What attention scores are multiplied by.
    pub fn attention_scale(&self) -> f64 {
        self.query_pre_attn_scalar.unwrap_or(self.head_dim as f64).sqrt().recip()
    }

    /// Whether the linears of queries, keys and values have biases.
    pub fn qkv_bias(&self) -> bool {
        self.attention_bias || self.family.traits().qkv_bias
    }

    /// The number of weights, tied ones counted once.
    pub fn parameter_count(&self) -> usize {
        let family = self.family.traits();
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        let mut layer = 2 * hidden * (queries + keys) + 3 * hidden * inner;
        layer += hidden * if family.post_norms { 4 } else { 2 };
        if family.qk_norm {
            layer += 2 * self.head_dim;
        }
        if self.qkv_bias() {
            layer += queries + 2 * keys;
        }
        if self.attention_bias {
            layer += hidden;
        }
        if self.mlp_bias {
            layer += 2 * inner + hidden;
        }
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        embeddings * self.vocab_size * hidden + self.num_hidden_layers * layer + hidden
    }

    /// The names of the linears of a layer, in the order of the forward pass.
    pub fn target_modules(&self) -> &'static [&'static str] {
        if self.fused_projections {
            &["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
        } else {
            &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        }
    }
}

fn odd_layers(layers: usize) -> Vec<usize> {
    (1..layers).step_by(2).collect()
}

#[cfg(test)]
mod tests;
