use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use crate::python::{self, Pattern};

/// How many instructions a rendering may take: a prompt with many examples takes some thousand.
const FUEL: u64 = 20_000_000;

/// The environment of the harness: `StrictUndefined`, `keep_trailing_newline`, `regex_replace`.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // Only custom delimiters can be refused.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&display(value)?)?));
    environment.add_filter("string", |value: Value| display(&value));
    environment.add_filter("join", join);
    environment.add_filter("int", int);
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("tojson", tojson);
    environment
}

/// `str(value)`.
pub(super) fn display(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    Ok(python::display(&to_json(value)?))
}

fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    if value.kind() == ValueKind::Iterable {
        let items = value.try_iter()?.map(|item| to_json(&item)).collect::<Result<_, _>>()?;
        return Ok(serde_json::Value::Array(items));
    }
    serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

fn join(
    values: Value,
    separator: Option<String>,
    attribute: Option<String>,
) -> Result<String, Error> {
    let texts = values.try_iter()?.map(|item| match &attribute {
        Some(attribute) => display(&item.get_attr(attribute)?),
        None => display(&item),
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join(&separator.unwrap_or_default()))
}

/// Jinja's `int`: what is no number becomes the default, 0.
fn int(value: Value, default: Option<i64>, options: Kwargs) -> Result<i64, Error> {
    let named: Option<i64> = options.get("default")?;
    options.assert_all_used()?;
    let default = default.or(named).unwrap_or(0);
    if let Some(text) = value.as_str() {
        let text = python::strip(text);
        let whole = text.parse().ok();
        return Ok(whole.or_else(|| truncated(text.parse().ok()?)).unwrap_or(default));
    }
    Ok(match value.kind() {
        ValueKind::Bool => i64::from(value.is_true()),
        ValueKind::Number => {
            value.as_i64().or_else(|| truncated(f64::try_from(value).ok()?)).unwrap_or(default)
        }
        _ => default,
    })
}

fn truncated(value: f64) -> Option<i64> {
    value.is_finite().then_some(value.trunc() as i64)
}

fn regex_replace(
    text: String,
    pattern: String,
    replacement: String,
    count: Option<usize>,
) -> Result<String, Error> {
    let pattern = Pattern::new(&pattern)
        .map_err(|message| Error::new(ErrorKind::InvalidOperation, message))?;
    Ok(pattern.replace(&text, &replacement, count.unwrap_or(0)))
}

/// Python's separators, and `<`, `>`, `&` and `'` escaped, as Jinja's filter does.
fn tojson(value: Value) -> Result<Value, Error> {
    fn write(value: &serde_json::Value, out: &mut String) {
        match value {
            serde_json::Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    write(item, out);
                }
                out.push(']');
            }
            serde_json::Value::Object(map) => {
                out.push('{');
                for (index, (key, item)) in map.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                    out.push_str(": ");
                    write(item, out);
                }
                out.push('}');
            }
            other => {
                for character in other.to_string().chars() {
                    match character {
                        '<' | '>' | '&' | '\'' => {
                            out.push_str(&format!("\\u{:04x}", character as u32));
                        }
                        c if c.is_ascii() => out.push(c),
                        c => {
                            let mut units = [0; 2];
                            for unit in c.encode_utf16(&mut units) {
                                out.push_str(&format!("\\u{unit:04x}"));
                            }
                        }
                    }
                }
            }
        }
    }
    let mut out = String::new();
    write(&to_json(&value)?, &mut out);
    Ok(Value::from(out))
}

/// Methods of Python's types; those that minijinja's own module lacks or does otherwise come first.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.kind(), name) {
        (ValueKind::Seq, "index") => {
            let (wanted,): (&Value,) = from_args(args)?;
            for (index, item) in value.try_iter()?.enumerate() {
                if item == *wanted {
                    return Ok(Value::from(index));
                }
            }
            let message = format!("{} is not in the list {}", quoted(wanted), quoted(value));
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
        (ValueKind::String, "index") => {
            let (wanted,): (&str,) = from_args(args)?;
            let text = value.as_str().unwrap_or_default();
            match text.find(wanted) {
                Some(at) => Ok(Value::from(text[..at].chars().count())),
                None => Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
            }
        }
        (ValueKind::String, "capitalize") => {
            let () = from_args(args)?;
            Ok(Value::from(python::capitalize(value.as_str().unwrap_or_default())))
        }
        (ValueKind::String, "removeprefix" | "removesuffix") => {
            let (part,): (&str,) = from_args(args)?;
            let text = value.as_str().unwrap_or_default();
            let cut = match name {
                "removeprefix" => text.strip_prefix(part),
                _ => text.strip_suffix(part),
            };
            Ok(Value::from(cut.unwrap_or(text)))
        }
        (ValueKind::String, "join") => {
            let (values,): (&Value,) = from_args(args)?;
            join(values.clone(), value.as_str().map(str::to_owned), None).map(Value::from)
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn quoted(value: &Value) -> String {
    to_json(value).map(|json| python::repr(&json)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, row: serde_json::Value) -> Result<String, String> {
        let environment = environment();
        environment
            .render_str(template, Value::from(minijinja::value::Serde(row)))
            .map_err(|error| error.to_string())
    }

    // Reference: `apply_template` of the harness with Jinja 3.1.
    #[test]
    fn templates_of_known_tasks_render_as_in_jinja() {
        let row = serde_json::json!({
            "question": " Why? ", "answerKey": "B", "answer": "3 + 4\n#### 7", "label": 2.0,
            "choices": {"text": ["it's", "b"], "label": ["A", "B"]}, "none": null, "yes": true,
            "aliases": ["a", "b \"c\""]
        });
        for (template, expected) in [
            ("{{choices.label.index(answerKey)}}", "1"),
            ("{{choices.text}}", "[\"it's\", 'b']"),
            ("{{[question, answerKey]}}", "[' Why? ', 'B']"),
            ("{{question.strip()}}\n", "Why?\n"),
            ("{{ (label|int) - 1 }}", "1"),
            ("{{label}} {{none}} {{yes}} {{1/2}}", "2.0 None True 0.5"),
            ("{{answer.split('####')[-1].strip() if answer is defined else target}}", "7"),
            ("{{ 'ABCD'[answerKey|int - 1] if answerKey|string in '1234' else answerKey }}", "B"),
            ("{{ 'ABCD'[2] }}{{ 'ABCD'[-1] }}", "CD"),
            ("{% for c in choices.text %}{{loop.index}}. {{c}}\n{% endfor %}", "1. it's\n2. b\n"),
            ("{{aliases|join(', ')}}", "a, b \"c\""),
            ("{{aliases}}", "['a', 'b \"c\"']"),
            ("{{question|regex_replace('\\\\s+', '_')}}", "_Why?_"),
            ("{{'x'.join(choices.label)}}{{choices.label|length}}", "AxB2"),
            ("{{answerKey ~ 1}}{{answerKey + 'x'}}", "B1Bx"),
            ("{{ question.split('W', 1)[1] }}", "hy? "),
            ("{{ 'q'|int }}{{ '3.7'|int }}{{ yes|int }}", "031"),
            (
                "{{ choices|tojson }}",
                "{\"label\": [\"A\", \"B\"], \"text\": [\"it\\u0027s\", \"b\"]}",
            ),
            ("{{ {'a': 1, 'b': 2}[answerKey|lower] }}", "2"),
        ] {
            assert_eq!(render(template, row.clone()).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        assert!(render("{{missing}}", serde_json::json!({})).unwrap_err().contains("undefined"));
        let row = serde_json::json!({"labels": ["A"]});
        let error = render("{{labels.index('C')}}", row).unwrap_err();
        assert!(error.contains("'C' is not in the list ['A']"), "{error}");
    }
}
