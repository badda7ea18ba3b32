use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::reader::Reader;
use super::{ConfigError, RopeConfig};

/// The shape of a Llama decoder, as its Hugging Face `config.json` gives it.
///
/// Field names are transformers'. Keys that do not change what is computed at inference are
/// ignored; those that do and are not implemented are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
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
    /// Whether the head reuses the embedding's weights.
    pub tie_word_embeddings: bool,
    /// Whether the four linears of attention have biases.
    pub attention_bias: bool,
    /// Whether the three linears of the feed-forward layer have biases.
    pub mlp_bias: bool,
    /// The token that starts a sequence.
    pub bos_token_id: Option<u32>,
    /// The tokens that end one.
    pub eos_token_ids: Vec<u32>,
    /// The token of padding.
    pub pad_token_id: Option<u32>,
    /// The standard deviation of random weights.
    pub initializer_range: f64,
}

impl LlamaConfig {
    /// A decoder with as many key-value heads as query heads and transformers' defaults otherwise.
    pub fn new(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
    ) -> Self {
        Self {
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
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
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
    /// [`ConfigError`] when the file cannot be read, or does not describe a Llama decoder that
    /// this crate can build.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let bytes =
            fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|source| ConfigError::Json { path: path.to_owned(), source })?;
        Self::from_json(&value, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it does not describe a Llama decoder that this crate can build.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(value, origin)?;
        refuse_other_models(&reader)?;
        let required = |key: &str| reader.required(key, reader.size(key)?);
        let hidden_size = required("hidden_size")?;
        let num_attention_heads = required("num_attention_heads")?;
        let defaults = Self::new(
            required("vocab_size")?,
            hidden_size,
            required("intermediate_size")?,
            required("num_hidden_layers")?,
            num_attention_heads,
        );
        if reader.size("head_dim")?.is_none()
            && num_attention_heads > 0
            && hidden_size % num_attention_heads != 0
        {
            return Err(ConfigError::Invalid {
                origin: origin.to_owned(),
                key: "num_attention_heads".to_owned(),
                value: num_attention_heads.to_string(),
                allowed: format!("a divisor of `hidden_size`, {hidden_size}"),
            });
        }
        let has_eos = reader.get("eos_token_id").is_some();
        let config = Self {
            num_key_value_heads: reader
                .size("num_key_value_heads")?
                .unwrap_or(defaults.num_key_value_heads),
            head_dim: reader.size("head_dim")?.unwrap_or(defaults.head_dim),
            max_position_embeddings: reader
                .size("max_position_embeddings")?
                .unwrap_or(defaults.max_position_embeddings),
            rms_norm_eps: reader.number("rms_norm_eps")?.unwrap_or(defaults.rms_norm_eps),
            rope: RopeConfig::read(&reader)?,
            tie_word_embeddings: reader.boolean("tie_word_embeddings")?.unwrap_or(false),
            attention_bias: reader.boolean("attention_bias")?.unwrap_or(false),
            mlp_bias: reader.boolean("mlp_bias")?.unwrap_or(false),
            bos_token_id: reader.token("bos_token_id")?,
            eos_token_ids: if has_eos { reader.tokens("eos_token_id")? } else { Vec::new() },
            pad_token_id: reader.token("pad_token_id")?,
            initializer_range: reader
                .number("initializer_range")?
                .unwrap_or(defaults.initializer_range),
            ..defaults
        };
        config.check_as(origin)?;
        Ok(config)
    }

    /// The configuration as a `config.json` that transformers loads.
    pub fn to_json(&self) -> Value {
        let (rope_theta, rope_scaling) = self.rope.to_json();
        let eos_token_id = match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": rope_theta,
            "rope_scaling": rope_scaling,
            "hidden_act": "silu",
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos_token_id,
            "pad_token_id": self.pad_token_id,
            "initializer_range": self.initializer_range,
        })
    }

    /// Checks a configuration made in memory.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] naming the field that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_as("LlamaConfig")
    }

    fn check_as(&self, origin: &str) -> Result<(), ConfigError> {
        let invalid = |key: &str, value: String, allowed: String| ConfigError::Invalid {
            origin: origin.to_owned(),
            key: key.to_owned(),
            value,
            allowed,
        };
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if size == 0 {
                return Err(invalid(key, "0".to_owned(), "at least 1".to_owned()));
            }
        }
        let heads = self.num_attention_heads;
        if !heads.is_multiple_of(self.num_key_value_heads) {
            let allowed = format!("a divisor of `num_attention_heads`, {heads}");
            let value = self.num_key_value_heads.to_string();
            return Err(invalid("num_key_value_heads", value, allowed));
        }
        if !self.head_dim.is_multiple_of(2) {
            let allowed = "even, because rotary embeddings turn pairs".to_owned();
            return Err(invalid("head_dim", self.head_dim.to_string(), allowed));
        }
        for (key, value) in
            [("rms_norm_eps", self.rms_norm_eps), ("initializer_range", self.initializer_range)]
        {
            if !(value.is_finite() && value > 0.0) {
                let allowed = "a finite number above 0".to_owned();
                return Err(invalid(key, value.to_string(), allowed));
            }
        }
        let special = self.eos_token_ids.iter().map(|id| ("eos_token_id", *id));
        let special = special.chain(self.bos_token_id.map(|id| ("bos_token_id", id)));
        for (key, id) in special.chain(self.pad_token_id.map(|id| ("pad_token_id", id))) {
            if id as usize >= self.vocab_size {
                let allowed = format!("below `vocab_size`, {}", self.vocab_size);
                return Err(invalid(key, id.to_string(), allowed));
            }
        }
        self.rope.check(origin)
    }

    /// The number of weights, tied ones counted once.
    pub fn parameter_count(&self) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        let mut layer = 2 * hidden * (queries + keys) + 3 * hidden * inner + 2 * hidden;
        if self.attention_bias {
            layer += queries + 2 * keys + hidden;
        }
        if self.mlp_bias {
            layer += 2 * inner + hidden;
        }
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 };
        embeddings * self.vocab_size * hidden + self.num_hidden_layers * layer + hidden
    }
}

/// Refuses what would load, or nearly, and compute something else.
fn refuse_other_models(reader: &Reader) -> Result<(), ConfigError> {
    let model_type = reader.required("model_type", reader.text("model_type")?)?;
    if model_type != "llama" {
        return Err(reader.unsupported("model_type", model_type, "llama"));
    }
    if let Some(architectures) = reader.get("architectures") {
        let listed = architectures.as_array().map(Vec::as_slice).unwrap_or_default();
        if !listed.iter().any(|name| name == "LlamaForCausalLM") {
            let value = architectures.to_string();
            return Err(reader.unsupported("architectures", &value, "LlamaForCausalLM"));
        }
    }
    if let Some(activation) = reader.text("hidden_act")?
        && activation != "silu"
    {
        return Err(reader.unsupported("hidden_act", activation, "silu"));
    }
    if reader.boolean("rope_interleaved")? == Some(true) {
        return Err(reader.unsupported("rope_interleaved", "true", "false"));
    }
    if reader.get("quantization_config").is_some() {
        let allowed = "weights stored as f32, f16 or bf16";
        return Err(reader.unsupported("quantization_config", "present", allowed));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
