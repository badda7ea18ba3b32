//! transformers' extension of Jinja, `{% generation %}` to `{% endgeneration %}`, around what is the
//! assistant's.

use std::ops::Range;

/// A conversation as text, and what of it is the assistant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedChat {
    /// The text.
    pub text: String,
    /// The bytes of it that the template marks as the assistant's, in order.
    pub assistant: Vec<Range<usize>>,
}

/// What stands in a rendered text for the two tags: characters that no text has.
const OPEN: char = '\u{fdd0}';
const CLOSE: char = '\u{fdd1}';

/// The template with expressions that print marks in place of the tags; `None` where it has none.
pub(super) fn with_marks(source: &str) -> Option<String> {
    let mut out = String::with_capacity(source.len());
    let mut found = false;
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        // Behind it, as the two share their sign in `{%}`.
        let inner = begin + 2;
        let Some(length) = rest[inner..].find("%}") else { break };
        let end = inner + length;
        let tag = Tag::new(&rest[inner..end]);
        let (before, after) = (&rest[..begin], &rest[end + 2..]);
        let mark = match tag.name {
            "generation" => OPEN,
            "endgeneration" => CLOSE,
            _ => {
                out.push_str(&rest[..end + 2]);
                rest = after;
                continue;
            }
        };
        found = true;
        // What `lstrip_blocks` and `trim_blocks` do for a block has to be done for an expression.
        out.push_str(before);
        if tag.left.is_none() {
            let line = out.rfind('\n').map_or(0, |at| at + 1);
            if out[line..].chars().all(|c| c == ' ' || c == '\t') {
                out.truncate(line);
            }
        }
        let dash = |control: Option<char>| if control == Some('-') { "-" } else { "" };
        out.push_str(&format!("{{{{{} '{mark}' {}}}}}", dash(tag.left), dash(tag.right)));
        rest = match tag.right {
            None => after.strip_prefix('\n').unwrap_or(after),
            Some(_) => after,
        };
    }
    out.push_str(rest);
    found.then_some(out)
}

/// What is between `{%` and `%}`.
struct Tag<'a> {
    /// The control of white space, `-` or `+`.
    left: Option<char>,
    name: &'a str,
    right: Option<char>,
}

impl<'a> Tag<'a> {
    fn new(inner: &'a str) -> Self {
        let control = |c: char| c == '-' || c == '+';
        Self {
            left: inner.chars().next().filter(|c| control(*c)),
            name: inner.trim_matches(control).trim(),
            right: inner.chars().next_back().filter(|c| control(*c)),
        }
    }
}

/// A rendered text without its marks, and the bytes that they enclosed.
pub(super) fn taken(rendered: &str) -> MarkedChat {
    let mut text = String::with_capacity(rendered.len());
    let mut ranges = Vec::new();
    let mut begin = None;
    for c in rendered.chars() {
        match c {
            OPEN => begin = Some(text.len()),
            CLOSE => ranges.extend(begin.take().map(|begin| begin..text.len())),
            other => text.push(other),
        }
    }
    // A block that a template leaves open lasts to the end.
    ranges.extend(begin.map(|begin| begin..text.len()));
    MarkedChat { text, assistant: ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_is_not_closed_is_left_as_it_is() {
        for source in ["{%}", "a {%}", "{%", "{%}{%", "{% generation", "{%} {% generation %"] {
            assert_eq!(with_marks(source), None, "{source}");
        }
        // Its end is that of the next, as the template's parser has it.
        assert_eq!(with_marks("{%} {% generation %}"), None);
        let marked = with_marks("{% x %}{% generation %}y{% endgeneration %}").unwrap();
        assert_eq!(marked, format!("{{% x %}}{{{{ '{OPEN}' }}}}y{{{{ '{CLOSE}' }}}}"));
    }
}
