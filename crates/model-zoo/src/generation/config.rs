use serde::{Deserialize, Serialize};

use super::GenerationError;

/// How text is generated. Field names are transformers'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationConfig {
    /// The most tokens to generate. Default 128.
    pub max_new_tokens: usize,
    /// Divides the logits; 0 takes the most probable token. Default 0.
    pub temperature: f64,
    /// Samples only among so many of the most probable tokens. Default: all.
    pub top_k: Option<usize>,
    /// Samples only among the most probable tokens that together reach this probability.
    /// Default: all.
    pub top_p: Option<f64>,
    /// Divides the positive logits of tokens that occurred, and multiplies the negative ones.
    /// Default 1, which changes nothing. Source: Keskar et al., arXiv 1909.05858, section 4.1.
    pub repetition_penalty: f64,
    /// Samples only among tokens at least so many times as probable as the most probable one.
    /// Default: all. Source: arXiv 2407.01082.
    pub min_p: Option<f64>,
    /// Taken from the logits of new tokens that occurred. Default 0.
    pub presence_penalty: f64,
    /// Taken from the logits of new tokens, as often as they occurred. Default 0.
    pub frequency_penalty: f64,
    /// Texts that end the generation; they are not part of the result.
    pub stop: Vec<String>,
    /// The seed of sampling. Default 0.
    pub seed: u64,
    /// Tokens that end the generation; where empty, the model's. They are not part of the result.
    pub eos_token_ids: Vec<u32>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            min_p: None,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            stop: Vec::new(),
            seed: 0,
            eos_token_ids: Vec::new(),
        }
    }
}

impl GenerationConfig {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`GenerationError::Field`] naming the field that cannot work.
    pub fn check(&self) -> Result<(), GenerationError> {
        let wrong =
            |field, value: String, allowed| Err(GenerationError::Field { field, value, allowed });
        if self.max_new_tokens == 0 {
            return wrong("max_new_tokens", "0".to_owned(), "at least 1");
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let value = self.temperature.to_string();
            return wrong("temperature", value, "a finite number of at least 0");
        }
        if self.top_k == Some(0) {
            return wrong("top_k", "0".to_owned(), "at least 1, or absent");
        }
        if let Some(top_p) = self.top_p
            && !(top_p > 0.0 && top_p <= 1.0)
        {
            return wrong("top_p", top_p.to_string(), "above 0 and at most 1, or absent");
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            let value = self.repetition_penalty.to_string();
            return wrong("repetition_penalty", value, "a finite number above 0");
        }
        if let Some(min_p) = self.min_p
            && !(0.0..=1.0).contains(&min_p)
        {
            return wrong("min_p", min_p.to_string(), "from 0 to 1, or absent");
        }
        for (field, value) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            if !(-2.0..=2.0).contains(&value) {
                return wrong(field, value.to_string(), "from -2 to 2");
            }
        }
        if self.stop.iter().any(String::is_empty) {
            return wrong("stop", "\"\"".to_owned(), "a list of texts that are not empty");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_cannot_work_are_named() {
        let default = GenerationConfig::default;
        assert!(default().check().is_ok());
        let cases = [
            ("max_new_tokens", GenerationConfig { max_new_tokens: 0, ..default() }),
            ("temperature", GenerationConfig { temperature: f64::NAN, ..default() }),
            ("temperature", GenerationConfig { temperature: -1.0, ..default() }),
            ("top_k", GenerationConfig { top_k: Some(0), ..default() }),
            ("top_p", GenerationConfig { top_p: Some(1.5), ..default() }),
            ("repetition_penalty", GenerationConfig { repetition_penalty: 0.0, ..default() }),
            ("min_p", GenerationConfig { min_p: Some(-0.1), ..default() }),
            ("presence_penalty", GenerationConfig { presence_penalty: f64::NAN, ..default() }),
            ("frequency_penalty", GenerationConfig { frequency_penalty: 3.0, ..default() }),
            ("stop", GenerationConfig { stop: vec![String::new()], ..default() }),
        ];
        for (name, config) in cases {
            match config.check() {
                Err(GenerationError::Field { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let result = serde_json::from_str::<GenerationConfig>(r#"{"temprature": 1.0}"#);
        assert!(result.unwrap_err().to_string().contains("temprature"));
    }
}
