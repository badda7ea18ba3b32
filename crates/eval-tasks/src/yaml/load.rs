use std::{collections::HashMap, fs, path::Path, sync::Arc};

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use super::{Node, NodeKind, Place, scalar};
use crate::TaskError;

/// Reads a YAML file.
pub(crate) fn read(path: &Path) -> Result<Node, TaskError> {
    let bytes = fs::read(path).map_err(|source| TaskError::Io { file: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| TaskError::Yaml {
        place: path.display().to_string(),
        message: format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()),
    })?;
    parse(path, &text)
}

/// Reads YAML from text; `path` is named in errors.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Node, TaskError> {
    let file: Arc<Path> = Arc::from(path);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { file: file.clone(), anchors: HashMap::new(), size: 0 };
    let mut events = Parser::new_from_str(text);
    let mut document = None;
    loop {
        let Some((event, span)) = builder.next(&mut events)? else { break };
        match event {
            Event::StreamEnd => break,
            Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::MappingStart(..)
            | Event::Alias(_) => {
                if document.is_some() {
                    return Err(builder.wrong(span, "a second document; one file is one task"));
                }
                document = Some(builder.node(event, span, &mut events, 0)?);
            }
            _ => {}
        }
    }
    document.ok_or_else(|| TaskError::Yaml {
        place: path.display().to_string(),
        message: "the file is empty".into(),
    })
}

type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

struct Builder {
    file: Arc<Path>,
    anchors: HashMap<usize, Node>,
    size: usize,
}

/// Aliases can multiply a small file; no task is as large as this.
const MOST_NODES: usize = 1_000_000;
const DEEPEST: usize = 64;

impl Builder {
    fn place(&self, span: Span) -> Place {
        Place { file: self.file.clone(), line: span.start.line() }
    }

    fn wrong(&self, span: Span, message: impl Into<String>) -> TaskError {
        TaskError::Yaml { place: self.place(span).to_string(), message: message.into() }
    }

    fn next<'a>(&self, events: &mut Events<'a>) -> Result<Option<(Event<'a>, Span)>, TaskError> {
        events.next_event().transpose().map_err(|error| TaskError::Yaml {
            place: Place { file: self.file.clone(), line: error.marker().line() }.to_string(),
            message: format!("not YAML: {}", error.info()),
        })
    }

    fn node<'a>(
        &mut self,
        event: Event<'a>,
        span: Span,
        events: &mut Events<'a>,
        depth: usize,
    ) -> Result<Node, TaskError> {
        self.size += 1;
        if self.size > MOST_NODES || depth > DEEPEST {
            return Err(self.wrong(span, "too large or too deeply nested for a task"));
        }
        let place = self.place(span);
        let (kind, anchor) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| self.wrong(span, "an alias without its anchor"))?;
                self.size += count(&node);
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), span)?, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                while let Some((event, span)) = self.next(events)? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, span, events, depth + 1)?);
                }
                (NodeKind::Sequence(items), anchor)
            }
            Event::MappingStart(anchor, _) => {
                (NodeKind::Mapping(self.mapping(events, depth)?), anchor)
            }
            _ => return Err(self.wrong(span, "a value is missing")),
        };
        let node = Node { place, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(
        &mut self,
        events: &mut Events<'_>,
        depth: usize,
    ) -> Result<IndexMap<String, Node>, TaskError> {
        let mut map = IndexMap::new();
        let mut merged: Vec<Node> = Vec::new();
        while let Some((event, span)) = self.next(events)? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, events, depth + 1)?;
            let Some(name) = key.scalar().map(crate::python::display) else {
                return Err(self.wrong(span, "a key must be text or a number"));
            };
            let Some((event, value_span)) = self.next(events)? else { break };
            let value = self.node(event, value_span, events, depth + 1)?;
            if name == "<<" {
                merged.push(value);
            } else if map.contains_key(&name) {
                return Err(self.wrong(span, format!("the key `{name}` stands here twice")));
            } else {
                map.insert(name, value);
            }
        }
        for node in merged {
            let sources = match node.kind {
                NodeKind::Sequence(items) => items,
                _ => vec![node],
            };
            for source in sources {
                for (name, value) in source.mapping("<<")? {
                    map.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        Ok(map)
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<NodeKind, TaskError> {
        let plain = style == ScalarStyle::Plain;
        match tag {
            None if plain => Ok(NodeKind::Scalar(scalar::resolve(text))),
            None => Ok(NodeKind::Scalar(text.into())),
            Some(tag) if tag.handle == "!" && tag.suffix == "function" => {
                Ok(NodeKind::Function(text.trim().to_owned()))
            }
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
                Ok(NodeKind::Scalar(text.into()))
            }
            Some(tag) if tag.is_yaml_core_schema() => {
                match (tag.suffix.as_str(), scalar::resolve(text)) {
                    ("int" | "float" | "bool" | "null", value)
                        if !matches!(value, Value::String(_)) =>
                    {
                        Ok(NodeKind::Scalar(value))
                    }
                    _ => Err(self.wrong(span, format!("`{text}` is no `!!{}`", tag.suffix))),
                }
            }
            Some(tag) => {
                Err(self.wrong(span, format!("unknown tag `{tag}`; known is `!function`")))
            }
        }
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.kind {
        NodeKind::Sequence(items) => items.iter().map(count).sum(),
        NodeKind::Mapping(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Result<Value, String> {
        let node = parse(Path::new("t.yaml"), text).map_err(|error| error.to_string())?;
        node.to_value("key").map_err(|error| error.to_string())
    }

    #[test]
    fn a_task_file_is_read() {
        let text = "task: x\ndoc_to_choice: [no, 'yes', \"a\\n\"]\nbase: &b {k: 1}\n\
            list:\n- <<: *b\n  j: 2\ndescription: |\n  one\n  two\n\ngen: >-\n  a\n  b\n";
        assert_eq!(
            value(text).unwrap(),
            json!({
                "task": "x", "doc_to_choice": [false, "yes", "a\n"], "base": {"k": 1},
                "list": [{"j": 2, "k": 1}], "description": "one\ntwo\n", "gen": "a b"
            })
        );
    }

    #[test]
    fn a_key_that_is_null_counts_as_absent() {
        let node = parse(Path::new("t.yaml"), "a: null\nb: ~\nc: 0\nd:\n").unwrap();
        let mut fields = crate::yaml::Fields::of(&node, "").unwrap();
        assert!(["a", "b", "d"].into_iter().all(|key| fields.take(key).is_none()));
        assert!(fields.take("c").is_some());
    }

    #[test]
    fn functions_keep_their_line() {
        let node =
            parse(Path::new("t.yaml"), "task: x\nprocess_docs: !function utils.f\n").unwrap();
        let function = &node.mapping("").unwrap()["process_docs"];
        assert_eq!(function.kind, NodeKind::Function("utils.f".into()));
        assert_eq!(function.place.line, 2);
    }

    #[test]
    fn what_is_no_task_file_is_refused_with_its_line() {
        for (text, expected) in [
            ("a: 1\na: 2\n", "t.yaml, line 2: the key `a` stands here twice"),
            ("a: !python x\n", "t.yaml, line 1: unknown tag `!python`; known is `!function`"),
            ("", "t.yaml: the file is empty"),
            ("a: 1\n---\nb: 1\n", "t.yaml, line 3: a second document; one file is one task"),
        ] {
            assert_eq!(value(text).unwrap_err(), expected);
        }
        assert!(value("a: [1\nb: 2").unwrap_err().contains("not YAML"));
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &(b'b'..=b'i')
                .map(|c| {
                    let (now, before) = (c as char, (c - 1) as char);
                    format!("{now}: &{now} [{}]\n", vec![format!("*{before}"); 9].join(","))
                })
                .collect::<String>();
        assert!(value(&bomb).unwrap_err().contains("too large"));
    }
}
