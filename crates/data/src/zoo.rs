use model_zoo::{ChatMessage, TextTokenizer};

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
        let messages: Vec<ChatMessage> = messages
            .iter()
            .map(|message| ChatMessage {
                role: message.role.as_str().to_owned(),
                content: message.content.clone(),
            })
            .collect();
        Ok(self.apply_chat_template(&messages, add_generation_prompt)?)
    }
}
