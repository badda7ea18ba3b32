use serde_json::Value;

use super::message::{self, ChatTemplate, Message, join_boundary, needs_delimiter};
use crate::BoxError;

/// What stands between the parts of a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delimiters<'a> {
    pub(crate) target: &'a str,
    pub(crate) fewshot: &'a str,
}

/// The parts of an example.
pub(crate) struct Shot {
    pub(crate) question: String,
    pub(crate) choices: Option<Vec<String>>,
    pub(crate) answer: Value,
    pub(crate) gen_prefix: Option<String>,
}

impl Shot {
    /// The user's question and the assistant's answer.
    ///
    /// # Errors
    /// An answer that is no text and no index of a choice.
    pub(crate) fn messages(self, delimiters: Delimiters<'_>) -> Result<Vec<Message>, String> {
        let Some(answer) = self.answer()? else {
            return Ok(turn(self.question, self.gen_prefix.as_deref(), delimiters.target));
        };
        let prefix = self.gen_prefix.unwrap_or_default();
        let delimiter = match prefix.is_empty() || needs_delimiter(&self.question, &prefix) {
            true => delimiters.target,
            false => "",
        };
        let answer = join_boundary(&prefix, &answer, " ");
        Ok(vec![
            Message::new("user", self.question, delimiter),
            Message::new("assistant", answer, delimiters.fewshot),
        ])
    }

    /// The answer's text; `None` if there is none.
    fn answer(&self) -> Result<Option<String>, String> {
        let wrong = || format!("the answer {} is no text", crate::python::repr(&self.answer));
        let index = match &self.answer {
            Value::Null => return Ok(None),
            Value::String(text) if text.is_empty() => return Ok(None),
            Value::String(text) => return Ok(Some(text.clone())),
            Value::Array(items) => {
                let first = items.first().and_then(Value::as_str).map(str::to_owned);
                return first.map(Some).ok_or_else(wrong);
            }
            Value::Bool(value) => i64::from(*value),
            other => other.as_i64().ok_or_else(wrong)?,
        };
        let choices = self.choices.as_ref().ok_or_else(wrong)?;
        let choice = usize::try_from(index).ok().and_then(|index| choices.get(index));
        choice
            .cloned()
            .map(Some)
            .ok_or_else(|| format!("the answer is choice {index}, but there are {}", choices.len()))
    }
}

/// The question that is asked, and the beginning of its answer.
pub(crate) fn turn(question: String, gen_prefix: Option<&str>, delimiter: &str) -> Vec<Message> {
    let Some(prefix) = gen_prefix.filter(|prefix| !prefix.is_empty()) else {
        return vec![Message::new("user", question, "")];
    };
    let delimiter = if needs_delimiter(&question, prefix) { delimiter } else { "" };
    vec![
        Message::new("user", question, delimiter),
        Message::new("assistant", prefix.to_owned(), ""),
    ]
}

/// How messages become the text that the model reads.
#[derive(Clone, Copy)]
pub(crate) struct Contexts<'a> {
    pub(crate) chat_template: Option<&'a dyn ChatTemplate>,
    pub(crate) multiturn: bool,
}

impl Contexts<'_> {
    /// # Errors
    /// Why the chat template refuses the conversation.
    pub(crate) fn text(
        &self,
        messages: &[Message],
        gen_prefix: Option<&str>,
    ) -> Result<String, BoxError> {
        let Some(template) = self.chat_template else { return Ok(message::plain(messages)) };
        let turns = if self.multiturn {
            message::multiturn(messages)
        } else {
            message::singleturn(messages)
        };
        template.render(&turns, gen_prefix.is_none_or(str::is_empty))
    }
}
