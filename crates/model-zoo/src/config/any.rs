use std::path::Path;

use serde_json::Value;

use super::reader::{Reader, read_json};
use super::similar::offered;
use super::{ConfigError, DecoderConfig, Family};
use crate::{ClipVisionConfig, RobertaConfig, VitConfig};

/// A `config.json` of any model that this crate can build.
///
/// `model_type` decides which.
// There is one of it at a time.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AnyModelConfig {
    /// A decoder with a language-model head.
    Decoder(DecoderConfig),
    /// RoBERTa with a classification head.
    Roberta(RobertaConfig),
    /// ViT with a classification head.
    Vit(VitConfig),
    /// The vision tower of CLIP, with its projection.
    ClipVision(ClipVisionConfig),
}

impl AnyModelConfig {
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
    /// [`ConfigError`] when the file cannot be read, or does not describe a model that this crate
    /// can build.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_json(&read_json(path)?, &path.display().to_string())
    }

    /// Reads a configuration that is already parsed; `origin` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it does not describe a model that this crate can build.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(value, origin)?;
        let model_type = reader.required("model_type", reader.text("model_type")?)?;
        if Family::from_model_type(model_type).is_some() {
            return DecoderConfig::from_json(value, origin).map(Self::Decoder);
        }
        match model_type {
            "roberta" => RobertaConfig::from_json(value, origin).map(Self::Roberta),
            "vit" => VitConfig::from_json(value, origin).map(Self::Vit),
            "clip" | "clip_vision_model" => {
                ClipVisionConfig::from_json(value, origin).map(Self::ClipVision)
            }
            _ => {
                let mut known = Family::ALL.map(Family::model_type).to_vec();
                known.extend(["roberta", "vit", "clip", "clip_vision_model"]);
                Err(reader.unsupported("model_type", model_type, &offered(model_type, &known)))
            }
        }
    }

    /// The family, as `model_type` names it.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Decoder(config) => config.family.model_type(),
            Self::Roberta(_) => "roberta",
            Self::Vit(_) => "vit",
            Self::ClipVision(_) => "clip_vision_model",
        }
    }

    /// The number of weights, tied ones counted once.
    pub fn parameter_count(&self) -> usize {
        match self {
            Self::Decoder(config) => config.parameter_count(),
            Self::Roberta(config) => config.parameter_count(),
            Self::Vit(config) => config.parameter_count(),
            Self::ClipVision(config) => config.parameter_count(),
        }
    }

    /// The names of the linears that adapters can target.
    pub fn target_modules(&self) -> &'static [&'static str] {
        match self {
            Self::Decoder(config) => config.target_modules(),
            Self::Roberta(_) | Self::Vit(_) => &[
                "query",
                "key",
                "value",
                "attention.output.dense",
                "intermediate.dense",
                "output.dense",
            ],
            Self::ClipVision(_) => &["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
        }
    }

    /// What there is to say of the shape of the model, as pairs of a name and a value.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Decoder(config) => decoder_summary(config),
            Self::Roberta(config) => {
                let mut lines = layers(
                    config.hidden_size,
                    config.intermediate_size,
                    config.num_hidden_layers,
                    config.num_attention_heads,
                );
                lines.push(("vocab_size", config.vocab_size.to_string()));
                lines.push(("labels", config.task.num_labels().to_string()));
                lines
            }
            Self::Vit(config) => {
                let mut lines = layers(
                    config.hidden_size,
                    config.intermediate_size,
                    config.num_hidden_layers,
                    config.num_attention_heads,
                );
                lines.push(("labels", config.task.num_labels().to_string()));
                lines
            }
            Self::ClipVision(config) => {
                let mut lines = layers(
                    config.hidden_size,
                    config.intermediate_size,
                    config.num_hidden_layers,
                    config.num_attention_heads,
                );
                lines.push(("projection_dim", config.projection_dim.to_string()));
                lines
            }
        }
    }
}

fn layers(
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
) -> Vec<(&'static str, String)> {
    vec![
        ("hidden_size", hidden_size.to_string()),
        ("intermediate_size", intermediate_size.to_string()),
        ("num_hidden_layers", num_hidden_layers.to_string()),
        ("attention heads", num_attention_heads.to_string()),
    ]
}

/// Keys of `config.json` that a summary has as they are there, where they are.
const STATED_AS_JSON: [&str; 6] = [
    "hidden_act",
    "hidden_activation",
    "rope_theta",
    "rope_scaling",
    "partial_rotary_factor",
    "rope_local_base_freq",
];

fn decoder_summary(config: &DecoderConfig) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("hidden_size", config.hidden_size.to_string()),
        ("intermediate_size", config.intermediate_size.to_string()),
        ("num_hidden_layers", config.num_hidden_layers.to_string()),
        (
            "attention heads",
            format!(
                "{} of {} (key/value: {})",
                config.num_attention_heads, config.head_dim, config.num_key_value_heads
            ),
        ),
        ("vocab_size", config.vocab_size.to_string()),
        ("positions", config.max_position_embeddings.to_string()),
        ("tie_word_embeddings", config.tie_word_embeddings.to_string()),
    ];
    let json = config.to_json();
    for key in STATED_AS_JSON {
        match json.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => lines.push((key, text.clone())),
            Some(value) => lines.push((key, value.to_string())),
        }
    }
    if !config.unrotated_layers.is_empty() {
        let (none, all) = (config.unrotated_layers.len(), config.num_hidden_layers);
        lines.push(("without rope", format!("{none} of {all} layers")));
    }
    if let Some(sparse) = &config.sparse {
        let layers = config.num_hidden_layers - sparse.dense_layers.len();
        lines.push((
            "experts",
            format!(
                "{} of {} for a token, of inner size {}, in {layers} of {} layers",
                sparse.num_experts_per_tok,
                sparse.num_experts,
                sparse.moe_intermediate_size,
                config.num_hidden_layers
            ),
        ));
    }
    for (name, factor) in [
        ("embedding_multiplier", config.embedding_multiplier),
        ("attention_multiplier", config.attention_multiplier.unwrap_or(1.0)),
        ("residual_multiplier", config.residual_multiplier),
        ("logits_scaling", config.logits_scaling),
    ] {
        if factor != 1.0 {
            lines.push((name, factor.to_string()));
        }
    }
    if let Some(window) = config.sliding_window {
        let sliding = config.num_hidden_layers - config.full_attention_layers.len();
        lines.push((
            "sliding_window",
            format!("{window} in {sliding} of {} layers", config.num_hidden_layers),
        ));
    }
    for (name, cap) in [
        ("attention soft cap", config.attn_logit_softcapping),
        ("logit soft cap", config.final_logit_softcapping),
    ] {
        if let Some(cap) = cap {
            lines.push((name, cap.to_string()));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_architectures_are_refused_with_those_that_are_known() {
        let error = |model_type: &str| {
            let json = json!({"model_type": model_type});
            AnyModelConfig::from_json(&json, "config.json").unwrap_err().to_string()
        };
        let known = "llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gemma2, gemma3_text, phi3, \
                     smollm3, olmo2, granite, roberta, vit, clip, clip_vision_model";
        assert_eq!(
            error("gpt2"),
            format!(
                "config.json: `model_type` is gpt2, which is not supported; supported: {known}"
            )
        );
        assert!(error("gemma3").ends_with("; the nearest: gemma3_text, gemma2"));
        assert!(error("granitemoe").ends_with("; the nearest: granite"));
        assert!(error("olmo3").ends_with("; the nearest: olmo2"));
    }

    #[test]
    fn a_summary_says_what_the_shape_is() {
        let mut config = DecoderConfig::new(64_000, 4096, 11_008, 32, 16);
        config.num_key_value_heads = 4;
        let summary = AnyModelConfig::Decoder(config).summary();
        let said = |name: &str| summary.iter().find(|(of, _)| *of == name).unwrap().1.clone();
        assert_eq!((said("hidden_size"), said("vocab_size")), ("4096".into(), "64000".into()));
        assert_eq!(said("attention heads"), "16 of 256 (key/value: 4)");
        assert!(summary.iter().all(|(name, _)| !["experts", "without rope"].contains(name)));
    }
}
