use std::path::Path;

use serde_json::{Value, json};

use crate::ConfigError;
use crate::encoder::{Activation, ClassificationTask, Keys, read_config};

/// The shape of a RoBERTa encoder with a classification head, as its Hugging Face `config.json`
/// gives it.
///
/// Field names are transformers'. Keys that do not change what is computed are ignored; those that
/// do and are not implemented are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RobertaConfig {
    /// The number of tokens, `V`.
    pub vocab_size: usize,
    /// The size of a hidden state, `H`.
    pub hidden_size: usize,
    /// The inner size of the feed-forward blocks.
    pub intermediate_size: usize,
    /// The number of layers.
    pub num_hidden_layers: usize,
    /// The number of heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// The number of position embeddings. Positions are counted from `pad_token_id + 1` on, so a
    /// sequence may have `max_position_embeddings - pad_token_id - 1` tokens.
    pub max_position_embeddings: usize,
    /// The number of token types; only the first is used.
    pub type_vocab_size: usize,
    /// Added to the variance in the layer norms.
    pub layer_norm_eps: f64,
    /// The activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// The probability that the output of a block is dropped in training.
    pub hidden_dropout_prob: f64,
    /// The probability that an attention weight is dropped in training.
    pub attention_probs_dropout_prob: f64,
    /// The dropout of the head in training; `hidden_dropout_prob` where absent.
    pub classifier_dropout: Option<f64>,
    /// The token of padding.
    pub pad_token_id: u32,
    /// The token that starts a sequence; the head reads the state of the first token.
    pub bos_token_id: u32,
    /// The token that ends one.
    pub eos_token_id: u32,
    /// The standard deviation of random weights.
    pub initializer_range: f64,
    /// What the head tells apart.
    pub task: ClassificationTask,
}

impl RobertaConfig {
    /// An encoder with 512 positions and the special tokens, norms and dropout of RoBERTa.
    pub fn new(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
        task: ClassificationTask,
    ) -> Self {
        Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            layer_norm_eps: 1e-5,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            pad_token_id: 1,
            bos_token_id: 0,
            eos_token_id: 2,
            initializer_range: 0.02,
            task,
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
    /// [`ConfigError`] when the file cannot be read, or does not describe a RoBERTa encoder that
    /// this crate can build.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_json(&read_config(path)?, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    /// What is absent and is no size has the default of transformers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it does not describe a RoBERTa encoder that this crate can build.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let keys = Keys::new(value, origin)?;
        keys.model_type(&["roberta"])?;
        keys.refuse(&["is_decoder", "add_cross_attention"])?;
        if let Some(kind) = keys.text("position_embedding_type")?
            && kind != "absolute"
        {
            return Err(keys.unsupported("position_embedding_type", kind, "absolute"));
        }
        let config = Self {
            vocab_size: keys.required_size("vocab_size")?,
            hidden_size: keys.required_size("hidden_size")?,
            intermediate_size: keys.required_size("intermediate_size")?,
            num_hidden_layers: keys.required_size("num_hidden_layers")?,
            num_attention_heads: keys.required_size("num_attention_heads")?,
            max_position_embeddings: keys.required_size("max_position_embeddings")?,
            type_vocab_size: keys.size("type_vocab_size")?.unwrap_or(2),
            layer_norm_eps: keys.number("layer_norm_eps")?.unwrap_or(1e-12),
            hidden_act: Activation::read(&keys, Activation::Gelu)?,
            hidden_dropout_prob: keys.number("hidden_dropout_prob")?.unwrap_or(0.1),
            attention_probs_dropout_prob: keys
                .number("attention_probs_dropout_prob")?
                .unwrap_or(0.1),
            classifier_dropout: keys.number("classifier_dropout")?,
            pad_token_id: keys.token("pad_token_id")?.unwrap_or(1),
            bos_token_id: keys.token("bos_token_id")?.unwrap_or(0),
            eos_token_id: keys.token("eos_token_id")?.unwrap_or(2),
            initializer_range: keys.number("initializer_range")?.unwrap_or(0.02),
            task: ClassificationTask::read(&keys)?,
        };
        config.check_as(&keys)?;
        Ok(config)
    }

    /// The configuration as a `config.json` that transformers loads.
    pub fn to_json(&self) -> Value {
        let mut config = json!({
            "architectures": ["RobertaForSequenceClassification"],
            "model_type": "roberta",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": self.hidden_act.name(),
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "attention_probs_dropout_prob": self.attention_probs_dropout_prob,
            "classifier_dropout": self.classifier_dropout,
            "pad_token_id": self.pad_token_id,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
            "initializer_range": self.initializer_range,
        });
        if let Some(object) = config.as_object_mut() {
            self.task.write(object);
        }
        config
    }

    /// Checks a configuration made in memory.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] naming the field that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_as(&Keys::of("RobertaConfig"))
    }

    fn check_as(&self, keys: &Keys) -> Result<(), ConfigError> {
        keys.check_sizes([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        keys.check_heads(self.num_attention_heads, self.hidden_size)?;
        keys.check_positive([
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ])?;
        keys.check_dropout([
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.head_dropout()),
        ])?;
        for (key, id) in [
            ("pad_token_id", self.pad_token_id),
            ("bos_token_id", self.bos_token_id),
            ("eos_token_id", self.eos_token_id),
        ] {
            if id as usize >= self.vocab_size {
                let allowed = format!("below `vocab_size`, {}", self.vocab_size);
                return Err(keys.invalid(key, id, allowed));
            }
        }
        if self.max_positions() == 0 {
            let allowed = format!("above `pad_token_id` + 1, {}", self.pad_token_id + 1);
            let value = self.max_position_embeddings;
            return Err(keys.invalid("max_position_embeddings", value, allowed));
        }
        self.task.check(keys)
    }

    /// The longest sequence, in tokens.
    pub fn max_positions(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.pad_token_id as usize + 1)
    }

    pub(super) fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// The number of weights without those of the head.
    pub fn encoder_parameter_count(&self) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let rows = self.vocab_size + self.max_position_embeddings + self.type_vocab_size;
        let attention = 4 * (hidden * hidden + hidden);
        let mlp = 2 * hidden * inner + inner + hidden;
        (rows + 2) * hidden + self.num_hidden_layers * (attention + mlp + 4 * hidden)
    }

    /// The number of weights.
    pub fn parameter_count(&self) -> usize {
        let hidden = self.hidden_size;
        let head = hidden * hidden + hidden + (hidden + 1) * self.task.num_labels();
        self.encoder_parameter_count() + head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> RobertaConfig {
        RobertaConfig::new(96, 32, 64, 2, 4, ClassificationTask::with_num_labels(3))
    }

    #[test]
    fn a_configuration_survives_its_file() {
        let mut config = valid();
        config.classifier_dropout = Some(0.25);
        config.hidden_act = Activation::GeluTanh;
        assert_eq!(RobertaConfig::from_json(&config.to_json(), "test").unwrap(), config);
    }

    #[test]
    fn each_missing_size_is_named() {
        for key in [
            "model_type",
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "max_position_embeddings",
        ] {
            let mut json = valid().to_json();
            json.as_object_mut().unwrap().remove(key);
            let error = RobertaConfig::from_json(&json, "test").unwrap_err();
            assert!(matches!(&error, ConfigError::Missing { key: k, .. } if k == key), "{error}");
        }
    }

    #[test]
    fn what_would_compute_something_else_is_refused() {
        for (key, value) in [
            ("model_type", json!("bert")),
            ("hidden_act", json!("mish")),
            ("position_embedding_type", json!("relative_key")),
            ("is_decoder", json!(true)),
            ("add_cross_attention", json!(true)),
            ("quantization_config", json!({})),
            ("problem_type", json!("ranking")),
        ] {
            let mut json = valid().to_json();
            json[key] = value;
            let error = RobertaConfig::from_json(&json, "test").unwrap_err();
            assert!(
                matches!(&error, ConfigError::Unsupported { key: k, .. } if k == key),
                "{error}"
            );
        }
        let mut json = valid().to_json();
        json["hidden_size"] = json!("32");
        let error = RobertaConfig::from_json(&json, "test").unwrap_err();
        assert!(matches!(&error, ConfigError::Type { key, .. } if key == "hidden_size"));
    }

    #[test]
    fn each_invalid_value_is_refused_by_its_key() {
        let refused = |key: &str, change: &dyn Fn(&mut RobertaConfig)| {
            let mut config = valid();
            change(&mut config);
            let error = config.check().unwrap_err();
            assert!(matches!(&error, ConfigError::Invalid { key: k, .. } if k == key), "{error}");
        };
        refused("vocab_size", &|c| c.vocab_size = 0);
        refused("hidden_size", &|c| c.hidden_size = 0);
        refused("intermediate_size", &|c| c.intermediate_size = 0);
        refused("num_hidden_layers", &|c| c.num_hidden_layers = 0);
        refused("num_attention_heads", &|c| c.num_attention_heads = 0);
        refused("num_attention_heads", &|c| c.num_attention_heads = 5);
        refused("type_vocab_size", &|c| c.type_vocab_size = 0);
        refused("max_position_embeddings", &|c| c.max_position_embeddings = 2);
        refused("layer_norm_eps", &|c| c.layer_norm_eps = 0.0);
        refused("initializer_range", &|c| c.initializer_range = f64::NAN);
        refused("hidden_dropout_prob", &|c| c.hidden_dropout_prob = 1.0);
        refused("attention_probs_dropout_prob", &|c| c.attention_probs_dropout_prob = -0.1);
        refused("classifier_dropout", &|c| c.classifier_dropout = Some(1.5));
        refused("pad_token_id", &|c| c.pad_token_id = 96);
        refused("bos_token_id", &|c| c.bos_token_id = 96);
        refused("eos_token_id", &|c| c.eos_token_id = 96);
        refused("id2label", &|c| c.task.labels.clear());
    }
}
