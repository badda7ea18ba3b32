use std::path::Path;

use serde_json::{Value, json};

use crate::ConfigError;
use crate::encoder::{Activation, ClassificationTask, Keys, read_config};

/// The shape of a Vision Transformer with a classification head, as its Hugging Face `config.json`
/// gives it.
///
/// Field names are transformers'. Keys that do not change what is computed are ignored; those that
/// do and are not implemented are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    /// The size of a hidden state, `H`.
    pub hidden_size: usize,
    /// The inner size of the feed-forward blocks.
    pub intermediate_size: usize,
    /// The number of layers.
    pub num_hidden_layers: usize,
    /// The number of heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Height and width of an image, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// The number of channels of an image.
    pub num_channels: usize,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Added to the variance in the layer norms.
    pub layer_norm_eps: f64,
    /// The activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// The probability that the output of a block is dropped in training.
    pub hidden_dropout_prob: f64,
    /// The probability that an attention weight is dropped in training.
    pub attention_probs_dropout_prob: f64,
    /// The standard deviation of random weights.
    pub initializer_range: f64,
    /// What the head tells apart.
    pub task: ClassificationTask,
}

impl VitConfig {
    /// An encoder of images with three channels and transformers' defaults otherwise.
    pub fn new(
        hidden_size: usize,
        intermediate_size: usize,
        num_hidden_layers: usize,
        num_attention_heads: usize,
        image_size: usize,
        patch_size: usize,
        task: ClassificationTask,
    ) -> Self {
        Self {
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            image_size,
            patch_size,
            num_channels: 3,
            qkv_bias: true,
            layer_norm_eps: 1e-12,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
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
    /// [`ConfigError`] when the file cannot be read, or does not describe a ViT that this crate can
    /// build.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_json(&read_config(path)?, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    /// What is absent and is no size has the default of transformers.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it does not describe a ViT that this crate can build.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let keys = Keys::new(value, origin)?;
        keys.model_type(&["vit"])?;
        keys.refuse(&[])?;
        let defaults = Self::new(
            keys.required_size("hidden_size")?,
            keys.required_size("intermediate_size")?,
            keys.required_size("num_hidden_layers")?,
            keys.required_size("num_attention_heads")?,
            keys.required_size("image_size")?,
            keys.required_size("patch_size")?,
            ClassificationTask::read(&keys)?,
        );
        let config = Self {
            num_channels: keys.size("num_channels")?.unwrap_or(defaults.num_channels),
            qkv_bias: keys.boolean("qkv_bias")?.unwrap_or(defaults.qkv_bias),
            layer_norm_eps: keys.number("layer_norm_eps")?.unwrap_or(defaults.layer_norm_eps),
            hidden_act: Activation::read(&keys, defaults.hidden_act)?,
            hidden_dropout_prob: keys
                .number("hidden_dropout_prob")?
                .unwrap_or(defaults.hidden_dropout_prob),
            attention_probs_dropout_prob: keys
                .number("attention_probs_dropout_prob")?
                .unwrap_or(defaults.attention_probs_dropout_prob),
            initializer_range: keys
                .number("initializer_range")?
                .unwrap_or(defaults.initializer_range),
            ..defaults
        };
        config.check_as(&keys)?;
        Ok(config)
    }

    /// The configuration as a `config.json` that transformers loads.
    pub fn to_json(&self) -> Value {
        let mut config = json!({
            "architectures": ["ViTForImageClassification"],
            "model_type": "vit",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "num_channels": self.num_channels,
            "qkv_bias": self.qkv_bias,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": self.hidden_act.name(),
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "attention_probs_dropout_prob": self.attention_probs_dropout_prob,
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
        self.check_as(&Keys::of("VitConfig"))
    }

    fn check_as(&self, keys: &Keys) -> Result<(), ConfigError> {
        keys.check_sizes([
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("patch_size", self.patch_size),
            ("num_channels", self.num_channels),
        ])?;
        keys.check_heads(self.num_attention_heads, self.hidden_size)?;
        keys.check_image(self.image_size, self.patch_size)?;
        keys.check_positive([
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ])?;
        keys.check_dropout([
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ])?;
        self.task.check(keys)
    }

    /// The number of positions: one for each patch, and the class token.
    pub fn num_positions(&self) -> usize {
        1 + (self.image_size / self.patch_size).pow(2)
    }

    /// The number of weights without those of the head.
    pub fn encoder_parameter_count(&self) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let patches = self.num_channels * self.patch_size.pow(2) * hidden + hidden;
        let embeddings = patches + (1 + self.num_positions()) * hidden;
        let biases = if self.qkv_bias { 4 } else { 1 };
        let attention = 4 * hidden * hidden + biases * hidden;
        let mlp = 2 * hidden * inner + inner + hidden;
        embeddings + self.num_hidden_layers * (attention + mlp + 4 * hidden) + 2 * hidden
    }

    /// The number of weights.
    pub fn parameter_count(&self) -> usize {
        self.encoder_parameter_count() + (self.hidden_size + 1) * self.task.num_labels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> VitConfig {
        VitConfig::new(32, 64, 2, 4, 16, 4, ClassificationTask::with_num_labels(5))
    }

    #[test]
    fn a_configuration_survives_its_file() {
        let mut config = valid();
        config.qkv_bias = false;
        config.num_channels = 1;
        config.task = ClassificationTask::new(["cat", "dog"]);
        assert_eq!(VitConfig::from_json(&config.to_json(), "test").unwrap(), config);
    }

    /// `torchvision/models/vision_transformer.py` gives these as `num_params` of `vit_b_16`,
    /// `vit_l_16` and `vit_h_14` at 224 pixels, with heads of 1000 labels.
    #[test]
    fn parameter_counts_are_the_published_ones() {
        for (hidden, inner, layers, heads, patch, published) in [
            (768, 3072, 12, 12, 16, 86_567_656),
            (1024, 4096, 24, 16, 16, 304_326_632),
            (1280, 5120, 32, 16, 14, 632_045_800),
        ] {
            let task = ClassificationTask::with_num_labels(1000);
            let config = VitConfig::new(hidden, inner, layers, heads, 224, patch, task);
            assert_eq!(config.parameter_count(), published);
        }
    }

    #[test]
    fn each_missing_size_is_named() {
        for key in [
            "model_type",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "image_size",
            "patch_size",
        ] {
            let mut json = valid().to_json();
            json.as_object_mut().unwrap().remove(key);
            let error = VitConfig::from_json(&json, "test").unwrap_err();
            assert!(matches!(&error, ConfigError::Missing { key: k, .. } if k == key), "{error}");
        }
    }

    #[test]
    fn what_would_compute_something_else_is_refused() {
        for (key, value) in [
            ("model_type", json!("deit")),
            ("hidden_act", json!("silu")),
            ("quantization_config", json!({})),
        ] {
            let mut json = valid().to_json();
            json[key] = value;
            let error = VitConfig::from_json(&json, "test").unwrap_err();
            assert!(
                matches!(&error, ConfigError::Unsupported { key: k, .. } if k == key),
                "{error}"
            );
        }
        let mut json = valid().to_json();
        json["image_size"] = json!([16, 32]);
        let error = VitConfig::from_json(&json, "test").unwrap_err();
        assert!(matches!(&error, ConfigError::Type { key, .. } if key == "image_size"));
    }

    #[test]
    fn each_invalid_value_is_refused_by_its_key() {
        let refused = |key: &str, change: &dyn Fn(&mut VitConfig)| {
            let mut config = valid();
            change(&mut config);
            let error = config.check().unwrap_err();
            assert!(matches!(&error, ConfigError::Invalid { key: k, .. } if k == key), "{error}");
        };
        refused("hidden_size", &|c| c.hidden_size = 0);
        refused("intermediate_size", &|c| c.intermediate_size = 0);
        refused("num_hidden_layers", &|c| c.num_hidden_layers = 0);
        refused("num_attention_heads", &|c| c.num_attention_heads = 0);
        refused("num_attention_heads", &|c| c.num_attention_heads = 3);
        refused("patch_size", &|c| c.patch_size = 0);
        refused("image_size", &|c| c.image_size = 3);
        refused("num_channels", &|c| c.num_channels = 0);
        refused("layer_norm_eps", &|c| c.layer_norm_eps = -1.0);
        refused("initializer_range", &|c| c.initializer_range = 0.0);
        refused("hidden_dropout_prob", &|c| c.hidden_dropout_prob = 1.0);
        refused("attention_probs_dropout_prob", &|c| c.attention_probs_dropout_prob = 2.0);
        refused("id2label", &|c| c.task.labels.clear());
    }
}
