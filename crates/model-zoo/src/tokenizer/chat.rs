use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, context, escape_formatter};
use serde::{Deserialize, Serialize};

use super::error::TokenizerError;
use super::json::PythonJson;
use super::marks::{self, MarkedChat};
use super::time;

/// One message of a conversation that has nothing but a role and a text.
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
        environment.add_test("iterable", is_iterable);
        environment.set_formatter(python_text);
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
        chat: &TemplateInput,
    ) -> Result<Option<MarkedChat>, TokenizerError> {
        if !self.marks {
            return Ok(None);
        }
        self.render_raw(chat).map(|text| Some(marks::taken(&text)))
    }

    pub(super) fn render(&self, chat: &TemplateInput) -> Result<String, TokenizerError> {
        let text = self.render_raw(chat)?;
        Ok(if self.marks { marks::taken(&text).text } else { text })
    }

    /// With marks.
    fn render_raw(&self, chat: &TemplateInput) -> Result<String, TokenizerError> {
        let template = self.environment.get_template(NAME).map_err(wrong)?;
        template.render(chat.context()).map_err(wrong)
    }
}

/// What a template sees.
pub(super) struct TemplateInput {
    messages: Value,
    tools: Value,
    add_generation_prompt: bool,
    pub(super) bos_token: Option<String>,
    pub(super) eos_token: Option<String>,
    pub(super) pad_token: Option<String>,
}

impl TemplateInput {
    pub(super) fn new<M: Serialize, T: Serialize>(
        messages: &[M],
        tools: Option<&[T]>,
        add_generation_prompt: bool,
    ) -> Self {
        Self {
            messages: Value::from(Serde(messages)),
            // As transformers: no tools are none, not undefined.
            tools: tools.map_or(Value::from(()), |tools| Value::from(Serde(tools))),
            add_generation_prompt,
            bos_token: None,
            eos_token: None,
            pad_token: None,
        }
    }

    fn context(&self) -> Value {
        context! {
            messages => self.messages.clone(),
            tools => self.tools.clone(),
            documents => (),
            add_generation_prompt => self.add_generation_prompt,
            bos_token => self.bos_token.as_deref().unwrap_or_default(),
            eos_token => self.eos_token.as_deref().unwrap_or_default(),
            pad_token => self.pad_token.as_deref().unwrap_or_default(),
        }
    }
}

/// What Python prints for values that are no text.
fn python_text(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return escape_formatter(out, state, value),
    };
    out.write_str(text).map_err(Error::from)
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

/// As in Python, where `None` is not.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    if value.is_undefined() {
        let message = "what is undefined has no JSON";
        return Err(Error::new(ErrorKind::BadSerialization, message));
    }
    let json = PythonJson {
        indent: options.get("indent")?,
        separators: match options.get::<Option<Vec<String>>>("separators")?.as_deref() {
            Some([between, after_key]) => Some((between.clone(), after_key.clone())),
            Some(_) => {
                let message = "`separators` of tojson are two texts";
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
            None => None,
        },
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    json.write(&value)
        .map(Value::from_safe_string)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(messages: &[ChatMessage], add_generation_prompt: bool) -> TemplateInput {
        let mut input = TemplateInput::new(messages, None::<&[()]>, add_generation_prompt);
        (input.bos_token, input.eos_token) = (Some("<s>".to_owned()), Some("</s>".to_owned()));
        input
    }

    fn render(template: &str, messages: &[ChatMessage]) -> Result<String, TokenizerError> {
        ChatTemplate::new(template)?.render(&input(messages, true))
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
    fn none_is_not_iterable_and_what_is_undefined_has_no_json() {
        let template = "{{ tools is iterable }} {{ messages is iterable }} {{ 'x' is iterable }}";
        let chat = [ChatMessage::new("user", "x")];
        assert_eq!(render(template, &chat).unwrap(), "False True True");
        let error = render("{{ messages[0].absent | tojson }}", &chat).unwrap_err().to_string();
        assert!(error.contains("undefined has no JSON"), "{error}");
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
    fn values_print_as_in_python_and_missing_tools_are_none() {
        let template = "{{ none }} {{ true }} {{ tools }} {{ tools is none }} {{ messages[0].x }}.";
        let text = render(template, &[ChatMessage::new("user", "x")]).unwrap();
        assert_eq!(text, "None True None True .");
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
        let marked = |template: &str| {
            ChatTemplate::new(template).unwrap().render_marked(&input(&talk, false)).unwrap()
        };
        let MarkedChat { text: text_of_marked, assistant } = marked(template).unwrap();
        assert_eq!(text_of_marked, text);
        let found: Vec<&str> = assistant.into_iter().map(|range| &text_of_marked[range]).collect();
        assert_eq!(found, ["a!", "cc!"]);
        assert!(marked(&plain).is_none());
    }

    #[test]
    fn templates_that_are_no_jinja_are_refused() {
        let error = ChatTemplate::new("{% for %}").unwrap_err();
        assert!(matches!(error, TokenizerError::ChatTemplate { .. }), "{error}");
    }
}
