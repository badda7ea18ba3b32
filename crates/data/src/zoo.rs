use model_zoo::{ChatMessage, MarkedChat, TextTokenizer};

use super::{BoxError, Message, TextEncoder};

impl TextEncoder for TextTokenizer {
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, BoxError> {
        Ok(TextTokenizer::encode(self, text, add_special_tokens)?)
    }

    fn eos_id(&self) -> Option<u32> {
        self.eos_token_id()
    }

    fn render_chat(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, BoxError> {
        Ok(self.apply_chat_template(&chat_messages(messages), add_generation_prompt)?)
    }

    fn render_marked_chat(&self, messages: &[Message]) -> Result<Option<MarkedChat>, BoxError> {
        Ok(self.apply_marked_chat_template(&chat_messages(messages))?)
    }
}

fn chat_messages(messages: &[Message]) -> Vec<ChatMessage> {
    messages
        .iter()
        .map(|message| ChatMessage::new(message.role.as_str(), message.content.clone()))
        .collect()
}
