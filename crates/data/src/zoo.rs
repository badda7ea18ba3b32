use model_zoo::{MarkedChat, TextTokenizer, TokenizerError};

use super::{BoxError, DialogueView, TextEncoder, message::TemplateMessage};

impl TextEncoder for TextTokenizer {
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, BoxError> {
        Ok(TextTokenizer::encode(self, text, add_special_tokens)?)
    }

    fn eos_id(&self) -> Option<u32> {
        self.eos_token_id()
    }

    fn render_chat(
        &self,
        chat: DialogueView<'_>,
        add_generation_prompt: bool,
    ) -> Result<String, BoxError> {
        with_arguments(chat, |messages| {
            TextTokenizer::render_chat(self, messages, chat.tools, add_generation_prompt)
        })
    }

    fn render_marked_chat(&self, chat: DialogueView<'_>) -> Result<Option<MarkedChat>, BoxError> {
        with_arguments(chat, |messages| {
            TextTokenizer::render_marked_chat(self, messages, chat.tools)
        })
    }
}

/// Renders with arguments of tool calls as objects, which most templates expect; where a template
/// refuses these and the data has them as text, as text.
fn with_arguments<T>(
    chat: DialogueView<'_>,
    render: impl Fn(&[TemplateMessage<'_>]) -> Result<T, TokenizerError>,
) -> Result<T, BoxError> {
    let messages = |parse_arguments: bool| -> Vec<_> {
        let messages = chat.messages.iter();
        messages.map(|message| TemplateMessage { message, parse_arguments }).collect()
    };
    let refused = match render(&messages(true)) {
        Ok(rendered) => return Ok(rendered),
        Err(refused) => refused,
    };
    render(&messages(false)).map_err(|_| refused.into())
}
