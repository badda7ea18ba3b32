use std::path::Path;

use serde_json::Value;

use crate::ConfigError;
use crate::encoder::{Activation, Keys, read_config};
use crate::vision::ClipLayerConfig;

/// The token that checkpoints name as the end though theirs is another: the end is then the token
/// with the largest id.
const WRONG_END: u32 = 2;

/// The shape of the text tower of CLIP, the `text_config` in a Hugging Face `config.json` of all of
/// CLIP.
///
/// Field names are transformers'. What is absent has the default of transformers.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipTextConfig {
    /// The number of tokens.
    pub vocab_size: usize,
    /// The size of a hidden state, `H`.
    pub hidden_size: usize,
    /// The inner size of the feed-forward blocks.
    pub intermediate_size: usize,
    /// The number of layers.
    pub num_hidden_layers: usize,
    /// The number of heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// The longest text, in tokens.
    pub max_position_embeddings: usize,
    /// The token whose state stands for the text. 2 stands for the token with the largest id, as
    /// in transformers: old checkpoints say 2 though their vocabulary has another.
    pub eos_token_id: u32,
    /// The size of a text embedding, `D`.
    pub projection_dim: usize,
    /// Added to the variance in the layer norms.
    pub layer_norm_eps: f64,
    /// The activation of the feed-forward blocks.
    pub hidden_act: Activation,
}

impl ClipTextConfig {
    /// Reads `config.json` in `folder`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the file cannot be read, or is not that of a CLIP that this crate can
    /// build.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = folder.as_ref().join("config.json");
        Self::from_json(&read_config(&path)?, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// As [`from_folder`](Self::from_folder).
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let whole = Keys::new(value, origin)?;
        whole.refuse(&[])?;
        whole.model_type(&["clip"])?;
        let keys = whole
            .object("text_config", "text_config.")?
            .ok_or_else(|| whole.missing("text_config"))?;
        let size = |key, default| keys.size(key).map(|size| size.unwrap_or(default));
        let own_dim = size("projection_dim", 512)?;
        let config = Self {
            vocab_size: size("vocab_size", 49_408)?,
            hidden_size: size("hidden_size", 512)?,
            intermediate_size: size("intermediate_size", 2048)?,
            num_hidden_layers: size("num_hidden_layers", 12)?,
            num_attention_heads: size("num_attention_heads", 8)?,
            max_position_embeddings: size("max_position_embeddings", 77)?,
            eos_token_id: keys.token("eos_token_id")?.unwrap_or(49_407),
            projection_dim: whole.size("projection_dim")?.unwrap_or(own_dim),
            layer_norm_eps: keys.number("layer_norm_eps")?.unwrap_or(1e-5),
            hidden_act: Activation::read(&keys, Activation::QuickGelu)?,
        };
        keys.check_sizes([
            ("vocab_size", config.vocab_size),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("max_position_embeddings", config.max_position_embeddings),
            ("projection_dim", config.projection_dim),
        ])?;
        keys.check_heads(config.num_attention_heads, config.hidden_size)?;
        keys.check_positive([("layer_norm_eps", config.layer_norm_eps)])?;
        Ok(config)
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

    /// Where the state is that stands for a text; `None` where nothing ends it.
    pub fn end_of(&self, tokens: &[u32]) -> Option<usize> {
        let end = match self.eos_token_id {
            WRONG_END => *tokens.iter().max()?,
            end => end,
        };
        tokens.iter().position(|token| *token == end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_those_of_transformers() {
        let json = json!({"model_type": "clip", "text_config": {}});
        let config = ClipTextConfig::from_json(&json, "test").unwrap();
        assert_eq!((config.vocab_size, config.max_position_embeddings), (49_408, 77));
        assert_eq!((config.eos_token_id, config.projection_dim), (49_407, 512));
    }

    #[test]
    fn the_end_is_the_first_of_its_tokens() {
        let of = |end: u32| {
            let json = json!({"model_type": "clip", "text_config": {"eos_token_id": end}});
            ClipTextConfig::from_json(&json, "test").unwrap()
        };
        assert_eq!(of(7).end_of(&[9, 7, 7]), Some(1));
        assert_eq!(of(7).end_of(&[9, 8]), None);
        assert_eq!(of(2).end_of(&[1, 9, 2, 9]), Some(1));
        assert_eq!(of(2).end_of(&[]), None);
    }

    #[test]
    fn a_tower_alone_has_no_texts() {
        let json = json!({"model_type": "clip_vision_model"});
        let error = ClipTextConfig::from_json(&json, "test").unwrap_err().to_string();
        assert!(error.contains("clip_vision_model"), "{error}");
        let json = json!({"model_type": "clip"});
        let error = ClipTextConfig::from_json(&json, "test").unwrap_err().to_string();
        assert!(error.contains("text_config"), "{error}");
    }
}
