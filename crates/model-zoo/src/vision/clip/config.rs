use std::path::Path;

use serde_json::{Value, json};

use super::ClipLayerConfig;
use crate::ConfigError;
use crate::encoder::{Activation, Keys, read_config};

/// The shape of the vision tower of CLIP, as a Hugging Face `config.json` gives it: one of the
/// tower alone (`clip_vision_model`), or the `vision_config` in one of all of CLIP (`clip`).
///
/// Field names are transformers'. What is absent has the default of transformers, which writes
/// only what differs from it; these are the sizes of ViT-B/32.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipVisionConfig {
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
    /// The size of an image embedding, `D`.
    pub projection_dim: usize,
    /// Added to the variance in the layer norms.
    pub layer_norm_eps: f64,
    /// The activation of the feed-forward blocks.
    pub hidden_act: Activation,
    /// The probability that an attention weight is dropped in training.
    pub attention_dropout: f64,
    /// The standard deviation of random weights.
    pub initializer_range: f64,
}

/// ViT-B/32.
impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 32,
            num_channels: 3,
            projection_dim: 512,
            layer_norm_eps: 1e-5,
            hidden_act: Activation::QuickGelu,
            attention_dropout: 0.0,
            initializer_range: 0.02,
        }
    }
}

impl ClipVisionConfig {
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
    /// [`ConfigError`] when the file cannot be read, or does not describe a vision tower that this
    /// crate can build.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_json(&read_config(path)?, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it does not describe a vision tower that this crate can build.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let whole = Keys::new(value, origin)?;
        whole.refuse(&[])?;
        if whole.model_type(&["clip", "clip_vision_model"])? == "clip_vision_model" {
            return Self::read(&whole, None);
        }
        let vision = whole
            .object("vision_config", "vision_config.")?
            .ok_or_else(|| whole.missing("vision_config"))?;
        Self::read(&vision, whole.size("projection_dim")?)
    }

    /// `projection_dim`: that of all of CLIP, which its checkpoints follow.
    fn read(keys: &Keys, projection_dim: Option<usize>) -> Result<Self, ConfigError> {
        let defaults = Self::default();
        let size = |key, default| keys.size(key).map(|size| size.unwrap_or(default));
        let number = |key, default| keys.number(key).map(|number| number.unwrap_or(default));
        let own_dim = size("projection_dim", defaults.projection_dim)?;
        let config = Self {
            hidden_size: size("hidden_size", defaults.hidden_size)?,
            intermediate_size: size("intermediate_size", defaults.intermediate_size)?,
            num_hidden_layers: size("num_hidden_layers", defaults.num_hidden_layers)?,
            num_attention_heads: size("num_attention_heads", defaults.num_attention_heads)?,
            image_size: size("image_size", defaults.image_size)?,
            patch_size: size("patch_size", defaults.patch_size)?,
            num_channels: size("num_channels", defaults.num_channels)?,
            projection_dim: projection_dim.unwrap_or(own_dim),
            layer_norm_eps: number("layer_norm_eps", defaults.layer_norm_eps)?,
            hidden_act: Activation::read(keys, defaults.hidden_act)?,
            attention_dropout: number("attention_dropout", defaults.attention_dropout)?,
            initializer_range: number("initializer_range", defaults.initializer_range)?,
        };
        config.check_as(keys)?;
        Ok(config)
    }

    /// The configuration as a `config.json` that transformers loads.
    pub fn to_json(&self) -> Value {
        json!({
            "architectures": ["CLIPVisionModelWithProjection"],
            "model_type": "clip_vision_model",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "num_channels": self.num_channels,
            "projection_dim": self.projection_dim,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": self.hidden_act.name(),
            "attention_dropout": self.attention_dropout,
            "initializer_range": self.initializer_range,
        })
    }

    /// Checks a configuration made in memory.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] naming the field that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_as(&Keys::of("ClipVisionConfig"))
    }

    fn check_as(&self, keys: &Keys) -> Result<(), ConfigError> {
        keys.check_sizes([
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("patch_size", self.patch_size),
            ("num_channels", self.num_channels),
            ("projection_dim", self.projection_dim),
        ])?;
        keys.check_heads(self.num_attention_heads, self.hidden_size)?;
        keys.check_image(self.image_size, self.patch_size)?;
        keys.check_positive([
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ])?;
        keys.check_dropout([("attention_dropout", self.attention_dropout)])
    }

    pub(super) fn layer(&self) -> ClipLayerConfig {
        ClipLayerConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_attention_heads: self.num_attention_heads,
            layer_norm_eps: self.layer_norm_eps,
            hidden_act: self.hidden_act,
        }
    }

    /// The number of positions: one for each patch, and the class token.
    pub fn num_positions(&self) -> usize {
        1 + (self.image_size / self.patch_size).pow(2)
    }

    /// The number of weights of the tower, without the projection.
    pub fn tower_parameter_count(&self) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let patches = self.num_channels * self.patch_size.pow(2) * hidden;
        let embeddings = patches + (1 + self.num_positions()) * hidden;
        let attention = 4 * (hidden * hidden + hidden);
        let mlp = 2 * hidden * inner + inner + hidden;
        embeddings + self.num_hidden_layers * (attention + mlp + 4 * hidden) + 4 * hidden
    }

    /// The number of weights of the tower with its projection.
    pub fn parameter_count(&self) -> usize {
        self.tower_parameter_count() + self.hidden_size * self.projection_dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/model_profile.csv` of OpenCLIP: 87.85 million for the image part of ViT-B-32, 86.19
    /// for that of ViT-B-16, 303.97 for that of ViT-L-14.
    #[test]
    fn parameter_counts_are_the_published_ones() {
        let b32 = ClipVisionConfig::default();
        let b16 = ClipVisionConfig { patch_size: 16, ..b32.clone() };
        let l14 = ClipVisionConfig {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            patch_size: 14,
            projection_dim: 768,
            ..b32.clone()
        };
        for (config, published) in [(b32, "87.85"), (b16, "86.19"), (l14, "303.97")] {
            let counted = config.parameter_count() as f64 / 1e6;
            assert_eq!(format!("{counted:.2}"), published);
        }
    }

    #[test]
    fn a_configuration_survives_its_file() {
        let config = ClipVisionConfig {
            hidden_size: 32,
            num_attention_heads: 4,
            hidden_act: Activation::Gelu,
            attention_dropout: 0.1,
            ..Default::default()
        };
        assert_eq!(ClipVisionConfig::from_json(&config.to_json(), "test").unwrap(), config);
    }

    #[test]
    fn the_vision_part_of_clip_is_found_and_named_in_messages() {
        let clip = json!({
            "model_type": "clip",
            "projection_dim": 768,
            "vision_config": {"hidden_size": 64, "num_attention_heads": 4},
        });
        let config = ClipVisionConfig::from_json(&clip, "test").unwrap();
        assert_eq!((config.hidden_size, config.projection_dim), (64, 768));
        assert_eq!(config.intermediate_size, 3072, "absent keys have transformers' defaults");

        let bad = json!({"model_type": "clip", "vision_config": {"hidden_act": "mish"}});
        let error = ClipVisionConfig::from_json(&bad, "test").unwrap_err();
        assert!(
            matches!(&error, ConfigError::Unsupported { key, .. } if key == "vision_config.hidden_act")
        );
        let bad = json!({"model_type": "clip"});
        let error = ClipVisionConfig::from_json(&bad, "test").unwrap_err();
        assert!(matches!(&error, ConfigError::Missing { key, .. } if key == "vision_config"));
        let error = ClipVisionConfig::from_json(&json!({}), "test").unwrap_err();
        assert!(matches!(&error, ConfigError::Missing { key, .. } if key == "model_type"));
        let bad = json!({"model_type": "siglip"});
        let error = ClipVisionConfig::from_json(&bad, "test").unwrap_err();
        assert!(matches!(&error, ConfigError::Unsupported { key, .. } if key == "model_type"));
    }

    #[test]
    fn each_invalid_value_is_refused_by_its_key() {
        let refused = |key: &str, change: &dyn Fn(&mut ClipVisionConfig)| {
            let mut config = ClipVisionConfig::default();
            change(&mut config);
            let error = config.check().unwrap_err();
            assert!(matches!(&error, ConfigError::Invalid { key: k, .. } if k == key), "{error}");
        };
        refused("hidden_size", &|c| c.hidden_size = 0);
        refused("intermediate_size", &|c| c.intermediate_size = 0);
        refused("num_hidden_layers", &|c| c.num_hidden_layers = 0);
        refused("num_attention_heads", &|c| c.num_attention_heads = 0);
        refused("num_attention_heads", &|c| c.num_attention_heads = 7);
        refused("patch_size", &|c| c.patch_size = 0);
        refused("image_size", &|c| c.image_size = 31);
        refused("num_channels", &|c| c.num_channels = 0);
        refused("projection_dim", &|c| c.projection_dim = 0);
        refused("layer_norm_eps", &|c| c.layer_norm_eps = 0.0);
        refused("initializer_range", &|c| c.initializer_range = f64::INFINITY);
        refused("attention_dropout", &|c| c.attention_dropout = 1.0);
    }
}
