use model_zoo::MarkedChat;

use super::DialogueView;

/// Any error of a tokenizer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What this module needs of a tokenizer.
pub trait TextEncoder {
    /// Token ids of `text`; with `add_special_tokens`, also what the tokenizer puts around a text
    /// (usually a begin token). Special tokens written out in the text are recognised either way.
    ///
    /// # Errors
    /// Whatever the tokenizer reports.
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, BoxError>;

    /// Id of the end token.
    fn eos_id(&self) -> Option<u32>;

    /// A conversation as text, special tokens included, through the tokenizer's chat template; with
    /// `add_generation_prompt`, up to where the assistant's next turn begins.
    ///
    /// # Errors
    /// Without a chat template, or whatever the template reports.
    fn render_chat(
        &self,
        chat: DialogueView<'_>,
        add_generation_prompt: bool,
    ) -> Result<String, BoxError>;

    /// A conversation as text, and the bytes of it that the template marks as the assistant's;
    /// `None` for a template that marks nothing, which is the default.
    ///
    /// # Errors
    /// Whatever the template reports.
    fn render_marked_chat(&self, _chat: DialogueView<'_>) -> Result<Option<MarkedChat>, BoxError> {
        Ok(None)
    }
}
