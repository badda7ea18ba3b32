use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use super::error::TokenizerError;
use super::json::python_json;
use super::marks::{self, MarkedChat};
use super::time;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

const NAME: &str = "chat_template";

/// How many instructions a rendering may take: a long conversation takes some ten thousand.
const FUEL: u64 = 20_000_000;

/// A Jinja template, set up as transformers' `apply_chat_template` does.
#[derive(Debug, Clone)]
pub(super) struct ChatTemplate {
    pub(super) source: String,
    environment: Environment<'static>,
    /// Whether it marks what is the assistant's.
    marks: bool,
}

impl ChatTemplate {
    pub(super) fn new(source: &str) -> Result<Self, TokenizerError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(wrong)?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: String| time::format_now(&format));
        environment.add_filter("tojson", tojson);
        environment.set_fuel(Some(FUEL));
        let marked = marks::with_marks(source);
        let marks = marked.is_some();
        let compiled = marked.unwrap_or_else(|| source.to_owned());
        environment.add_template_owned(NAME, compiled).map_err(wrong)?;
        Ok(Self { source: source.to_owned(), environment, marks })
    }

    /// Renders a conversation without a generation prompt, with the bytes that are the assistant's;
    /// `None` where the template does not mark them.
    pub(super) fn render_marked(
        &self,
        messages: &[ChatMessage],
        bos_token: Option<String>,
        eos_token: Option<String>,
    ) -> Result<Option<MarkedChat>, TokenizerError> {
        if !self.marks {
            return Ok(None);
        }
        self.render_raw(messages, false, bos_token, eos_token).map(|text| Some(marks::taken(&text)))
    }

    pub(super) fn render(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
        bos_token: Option<String>,
        eos_token: Option<String>,
    ) -> Result<String, TokenizerError> {
        let text = self.render_raw(messages, add_generation_prompt, bos_token, eos_token)?;
        Ok(if self.marks { marks::taken(&text).text } else { text })
    }

    /// With marks.
    fn render_raw(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
        bos_token: Option<String>,
        eos_token: Option<String>,
    ) -> Result<String, TokenizerError> {
        let template = self.environment.get_template(NAME).map_err(wrong)?;
        let messages = Value::from(Serde(messages));
        let context = context! {
            messages,
            add_generation_prompt,
            bos_token => bos_token.unwrap_or_default(),
            eos_token => eos_token.unwrap_or_default(),
        };
        template.render(context).map_err(wrong)
    }
}

fn wrong(error: Error) -> TokenizerError {
    // The text of `raise_exception` is for people; where in the template it is raised is not.
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) if detail.starts_with(RAISED) => {
            detail[RAISED.len()..].to_owned()
        }
        _ => error.to_string(),
    };
    TokenizerError::ChatTemplate { message }
}

/// Marks errors that a template raises itself.
const RAISED: &str = "raised: ";

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Python's other options change nothing for what templates print.
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(ignored)?;
    }
    options.assert_all_used()?;
    python_json(&value, indent)
        .map(Value::from_safe_string)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, messages: &[ChatMessage]) -> Result<String, TokenizerError> {
        let eos = Some("</s>".to_owned());
        ChatTemplate::new(template)?.render(messages, true, Some("<s>".to_owned()), eos)
    }

    #[test]
    fn a_llama2_template_gives_the_known_prompt() {
        let template = "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
            {% set system_message = messages[0]['content'] %}{% else %}\
            {% set loop_messages = messages %}{% set system_message = false %}{% endif %}\
            {% for message in loop_messages %}\
            {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
            {{ raise_exception('Conversation roles must alternate user/assistant/user/...') }}\
            {% endif %}\
            {% if loop.index0 == 0 and system_message != false %}\
            {% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
            {% else %}{% set content = message['content'] %}{% endif %}\
            {% if message['role'] == 'user' %}\
            {{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
            {% elif message['role'] == 'assistant' %}\
            {{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
        let conversation = [
            ChatMessage::new("system", "Be brief."),
            ChatMessage::new("user", "Hi "),
            ChatMessage::new("assistant", "Hello."),
            ChatMessage::new("user", "Bye"),
        ];
        assert_eq!(
            render(template, &conversation).unwrap(),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Bye [/INST]"
        );
        let error = render(template, &conversation[2..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "chat template: Conversation roles must alternate user/assistant/user/..."
        );
    }

    #[test]
    fn blocks_leave_no_lines_behind() {
        let template = "{% for message in messages %}\n    {% if true %}\n{{ message.role }}\n    \
            {% endif %}\n{% endfor %}";
        assert_eq!(render(template, &[ChatMessage::new("user", "x")]).unwrap(), "user\n");
    }

    #[test]
    fn python_methods_and_json_work() {
        let template = "{{ messages[0].content.split(' ')[1].upper() }}{{ messages[0] | tojson }}";
        assert_eq!(
            render(template, &[ChatMessage::new("user", "a <b>")]).unwrap(),
            r#"<B>{"role": "user", "content": "a <b>"}"#
        );
        let template = "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}";
        let text = render(template, &[ChatMessage::new("user", "x")]).unwrap();
        assert_eq!(text, "role=user;content=x;");
    }

    #[test]
    fn a_template_that_does_not_end_is_ended() {
        let long = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        let error = render(long, &[]).unwrap_err();
        assert!(error.to_string().contains("fuel"), "{error}");
    }

    #[test]
    fn generation_blocks_mark_what_is_the_assistants() {
        let template = "{% for message in messages %}\n<{{ message.role }}>\n\
            {%- if message.role == 'assistant' %}\n    {% generation %}\n{{ message.content }}!\
            {%- endgeneration %}\n{% else %}{{ message.content }}{% endif %}\n</>\n{% endfor %}";
        let talk = [
            ChatMessage::new("user", "hi"),
            ChatMessage::new("assistant", "a"),
            ChatMessage::new("user", "b"),
            ChatMessage::new("assistant", "cc"),
        ];
        let plain = template.replace("{% generation %}", "{% if true %}");
        let plain = plain.replace("{%- endgeneration %}", "{%- endif %}");
        let text = render(template, &talk).unwrap();
        assert_eq!(text, render(&plain, &talk).unwrap());
        let eos = Some("</s>".to_owned());
        let marked = ChatTemplate::new(template).unwrap().render_marked(&talk, None, eos).unwrap();
        let MarkedChat { text: marked, assistant } = marked.unwrap();
        assert_eq!(marked, text);
        let found: Vec<&str> = assistant.into_iter().map(|range| &marked[range]).collect();
        assert_eq!(found, ["a!", "cc!"]);
        assert!(
            ChatTemplate::new(&plain).unwrap().render_marked(&talk, None, None).unwrap().is_none()
        );
    }

    #[test]
    fn templates_that_are_no_jinja_are_refused() {
        let error = ChatTemplate::new("{% for %}").unwrap_err();
        assert!(matches!(error, TokenizerError::ChatTemplate { .. }), "{error}");
    }
}
