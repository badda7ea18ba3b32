use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// How Python's `json.dumps` is asked to write.
#[derive(Debug, Clone, Default)]
pub(super) struct PythonJson {
    /// Spaces of a level, each value on a line of its own; `None` writes one line.
    pub indent: Option<usize>,
    /// Between values, and after a key; otherwise `", "` (`","` before a line break) and `": "`.
    pub separators: Option<(String, String)>,
    /// Whether keys are in alphabetical order.
    pub sort_keys: bool,
    /// Whether characters beyond ASCII are escaped.
    pub ensure_ascii: bool,
}

impl PythonJson {
    /// The value as `json.dumps` writes it.
    pub fn write(&self, value: &impl Serialize) -> Result<String, serde_json::Error> {
        let (between, after_key) = match &self.separators {
            Some((between, after_key)) => (between.as_str(), after_key.as_str()),
            None if self.indent.is_some() => (",", ": "),
            None => (", ", ": "),
        };
        let formatter = Python {
            indent: self.indent,
            between,
            after_key,
            ascii: self.ensure_ascii,
            level: 0,
            empty: true,
        };
        let mut bytes = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
        match self.sort_keys {
            // Its objects are sorted.
            true => serde_json::to_value(value)?.serialize(&mut serializer)?,
            false => value.serialize(&mut serializer)?,
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

struct Python<'a> {
    indent: Option<usize>,
    between: &'a str,
    after_key: &'a str,
    ascii: bool,
    level: usize,
    /// Whether the list or object that is written has nothing in it so far.
    empty: bool,
}

impl Python<'_> {
    fn open<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level += 1;
        self.empty = true;
        out.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, out: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level -= 1;
        if !self.empty {
            self.line(out)?;
        }
        self.empty = false;
        out.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(self.between.as_bytes())?;
        }
        self.empty = false;
        self.line(out)
    }

    fn line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        match self.indent {
            Some(width) => {
                out.write_all(format!("\n{}", " ".repeat(width * self.level)).as_bytes())
            }
            None => Ok(()),
        }
    }
}

impl Formatter for Python<'_> {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.after_key.as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ascii {
            return out.write_all(fragment.as_bytes());
        }
        let mut units = [0; 2];
        for character in fragment.chars() {
            if character.is_ascii() {
                out.write_all(&[character as u8])?;
                continue;
            }
            for unit in character.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python 3.13 gives for `{"b": [1, {"ä": []}], "a": {}, "c": "😀"}`.
    #[test]
    fn options_are_those_of_python() {
        let value = serde_json::json!({"a": {}, "b": [1, {"ä": []}], "c": "😀"});
        let text = |json: PythonJson| json.write(&value).unwrap();
        let plain = PythonJson::default();
        assert_eq!(text(plain.clone()), r#"{"a": {}, "b": [1, {"ä": []}], "c": "😀"}"#);
        let tight = Some((",".to_owned(), ":".to_owned()));
        let tight = PythonJson { separators: tight, ensure_ascii: true, ..plain.clone() };
        assert_eq!(text(tight), r#"{"a":{},"b":[1,{"\u00e4":[]}],"c":"\ud83d\ude00"}"#);
        let indented = PythonJson { indent: Some(2), sort_keys: true, ..plain };
        let expected = "{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"ä\": []\n    }\n  ],\n  \
                        \"c\": \"😀\"\n}";
        assert_eq!(text(indented), expected);
    }
}
