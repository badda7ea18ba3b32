mod check;
mod defaults;
mod read;
mod write;

use std::path::Path;

use moe_adapter::Activation;
use serde_json::Value;

use super::reader::read_json;
use super::{ConfigError, Family, Norms, QkNorm, RopeConfig, SparseConfig};

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
    /// Those of layers with a sliding window, where they are others (Gemma 3).
    pub local_rope: Option<RopeConfig>,
    /// The layers without rotary embeddings, ascending (SmolLM3).
    pub unrotated_layers: Vec<usize>,
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
    /// What embeddings are multiplied by (Granite).
    pub embedding_multiplier: f64,
    /// What attention scores are multiplied by, in place of a root (Granite).
    pub attention_multiplier: Option<f64>,
    /// What attention and feed-forward layer are multiplied by before they are added (Granite).
    pub residual_multiplier: f64,
    /// What logits are divided by (Granite).
    pub logits_scaling: f64,
    /// The experts of the feed-forward layers, in families that are mixtures.
    pub sparse: Option<SparseConfig>,
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
    /// Whether gate and up projection of each expert of the base model are one linear
    /// `gate_up_proj`, with one adapter. Only in memory.
    pub fused_experts: bool,
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
            local_rope: None,
            unrotated_layers: Vec::new(),
            activation: Activation::Silu,
            sliding_window: None,
            full_attention_layers: Vec::new(),
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            query_pre_attn_scalar: None,
            embedding_multiplier: 1.0,
            attention_multiplier: None,
            residual_multiplier: 1.0,
            logits_scaling: 1.0,
            sparse: None,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            fused_projections: false,
            fused_experts: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
            pad_token_id: None,
            initializer_range: 0.02,
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

    /// The rotary embeddings of a layer; `None` for one without.
    pub fn layer_rope(&self, layer: usize) -> Option<&RopeConfig> {
        match (self.window(layer), &self.local_rope) {
            _ if self.unrotated_layers.contains(&layer) => None,
            (Some(_), Some(local)) => Some(local),
            _ => Some(&self.rope),
        }
    }

    /// The experts of a layer, where it has any.
    pub fn layer_experts(&self, layer: usize) -> Option<&SparseConfig> {
        self.sparse.as_ref().filter(|sparse| !sparse.dense_layers.contains(&layer))
    }

    /// What attention scores are multiplied by.
    pub fn attention_scale(&self) -> f64 {
        let root = self.query_pre_attn_scalar.unwrap_or(self.head_dim as f64).sqrt().recip();
        self.attention_multiplier.unwrap_or(root)
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
        let mut attention = 2 * hidden * (queries + keys);
        attention += hidden * if family.norms == Norms::Around { 4 } else { 2 };
        attention += match family.qk_norm {
            QkNorm::None => 0,
            QkNorm::Heads => 2 * self.head_dim,
            QkNorm::Whole => queries + keys,
        };
        if self.qkv_bias() {
            attention += queries + 2 * keys;
        }
        if self.attention_bias {
            attention += hidden;
        }
        let biases = if self.mlp_bias { 2 * inner + hidden } else { 0 };
        let feed_forward = |layer| match self.layer_experts(layer) {
            Some(sparse) => {
                sparse.num_experts * (hidden + 3 * hidden * sparse.moe_intermediate_size)
            }
            None => 3 * hidden * inner + biases,
        };
        let layers = 0..self.num_hidden_layers;
        let layers: usize = layers.map(|layer| attention + feed_forward(layer)).sum();
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        embeddings * self.vocab_size * hidden + layers + hidden
    }

    /// The names of the linears of a layer, in the order of the forward pass.
    pub fn target_modules(&self) -> &'static [&'static str] {
        if self.fused_projections {
            &["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
        } else if self.family == Family::Mixtral {
            &["q_proj", "k_proj", "v_proj", "o_proj", "w1", "w3", "w2"]
        } else {
            &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        }
    }
}

#[cfg(test)]
mod tests;
