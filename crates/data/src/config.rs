use serde::{Deserialize, Serialize};

use super::{ChatConfig, DataError, PromptTemplate};

/// How records become token samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncodeConfig {
    /// How an instruction becomes a prompt. Default `alpaca`.
    pub template: PromptTemplate,
    /// Longest sample in tokens, prompt and answer together; what is beyond it is cut off on the
    /// right. At least 2. Default 1024.
    pub max_length: usize,
    /// Whether the prompt's tokens are targets too. Default false.
    pub train_on_prompt: bool,
    /// Whether the end token follows the answer and is a target. Where a chat template writes an
    /// end marker of its own, that one is used and none is added. Default true.
    pub append_eos: bool,
    /// How conversations are learned.
    pub chat: ChatConfig,
}

impl Default for EncodeConfig {
    fn default() -> Self {
        Self {
            template: PromptTemplate::default(),
            max_length: 1024,
            train_on_prompt: false,
            append_eos: true,
            chat: ChatConfig::default(),
        }
    }
}

impl EncodeConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// [`DataError::Setting`] for `max_length` below 2, and those of [`PromptTemplate::check`].
    pub fn check(&self) -> Result<(), DataError> {
        if self.max_length < 2 {
            return Err(DataError::Setting {
                key: "max_length",
                found: self.max_length.to_string(),
                allowed: "at least 2 (one token to predict from, one to predict)".into(),
            });
        }
        self.template.check()
    }
}
