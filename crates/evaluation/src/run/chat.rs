use eval_tasks::{BoxError, ChatTemplate, ChatTurn};
use model_zoo::{ChatMessage, TextTokenizer};

/// The chat template of a tokenizer.
pub(super) struct TokenizerChat<'a>(pub(super) &'a TextTokenizer);

impl ChatTemplate for TokenizerChat<'_> {
    fn render(
        &self,
        messages: &[ChatTurn],
        add_generation_prompt: bool,
    ) -> Result<String, BoxError> {
        let messages: Vec<_> =
            messages.iter().map(|turn| ChatMessage::new(&*turn.role, &*turn.content)).collect();
        let text = self.0.apply_chat_template(&messages, add_generation_prompt)?;
        match messages.last() {
            Some(last) if !add_generation_prompt && last.role == "assistant" => {
                up_to_last(text, &last.content)
            }
            _ => Ok(text),
        }
    }
}

/// What a template puts after an answer is not there where the answer goes on.
fn up_to_last(mut text: String, content: &str) -> Result<String, BoxError> {
    let trimmed = content.trim();
    let place =
        text.rfind(trimmed).ok_or("the chat template changes the beginning of an answer")?;
    // Where the template keeps it, white space at the end of the beginning belongs to it.
    let kept = content.trim_start();
    let end = match text[place..].starts_with(kept) {
        true => place + kept.len(),
        false => place + trimmed.len(),
    };
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_goes_on_is_not_ended() {
        let end = |content| up_to_last(format!("<u>A</u><a>{}</a>", "The A is "), content).unwrap();
        assert_eq!(end("The A is "), "<u>A</u><a>The A is ");
        assert_eq!(end("The A is"), "<u>A</u><a>The A is");
        assert!(up_to_last("x".into(), "y").is_err());
    }
}
