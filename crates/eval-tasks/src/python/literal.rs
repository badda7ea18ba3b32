use serde_json::{Map, Number, Value};

/// `ast.literal_eval`: a number, text, `None`, `True`, `False`, and lists, tuples and dictionaries
/// of these. `None` if the text is anything else.
pub(crate) fn literal(text: &str) -> Option<Value> {
    let mut reader = Reader { text: text.trim_matches([' ', '\t']), at: 0, depth: 0 };
    let value = reader.value()?;
    reader.skip_space();
    (reader.at == reader.text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Deeper than any list of choices, and far from the end of the stack.
const DEEPEST: usize = 64;

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.peek()? {
            '[' => self.items(']'),
            '(' => self.items(')'),
            '{' => self.dictionary(),
            '\'' | '"' => self.texts(),
            'N' => self.eat("None").then_some(Value::Null),
            'T' => self.eat("True").then_some(true.into()),
            'F' => self.eat("False").then_some(false.into()),
            _ => self.number(),
        }
    }

    fn items(&mut self, end: char) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        self.at += 1;
        let mut items = Vec::new();
        let mut commas = 0;
        loop {
            self.skip_space();
            if self.peek()? == end {
                self.at += 1;
                break;
            }
            if items.len() > commas {
                return None;
            }
            items.push(self.value()?);
            self.skip_space();
            if self.eat(",") {
                commas += 1;
            }
        }
        self.depth -= 1;
        // Parentheses without a comma only group.
        if end == ')' && items.len() == 1 && commas == 0 {
            return items.pop();
        }
        Some(items.into())
    }

    fn dictionary(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        self.at += 1;
        let mut map = Map::new();
        loop {
            self.skip_space();
            if self.eat("}") {
                break;
            }
            let key = super::display(&self.value()?);
            self.skip_space();
            if !self.eat(":") {
                return None;
            }
            map.insert(key, self.value()?);
            self.skip_space();
            if !self.eat(",") && self.peek()? != '}' {
                return None;
            }
        }
        self.depth -= 1;
        Some(map.into())
    }

    /// Neighbouring texts are joined.
    fn texts(&mut self) -> Option<Value> {
        let mut joined = String::new();
        while let Some(mark @ ('\'' | '"')) = self.peek() {
            self.text_until(mark, &mut joined)?;
            self.skip_space();
        }
        Some(joined.into())
    }

    fn text_until(&mut self, mark: char, out: &mut String) -> Option<()> {
        self.at += 1;
        loop {
            let character = self.peek()?;
            self.at += character.len_utf8();
            match character {
                _ if character == mark => return Some(()),
                '\n' => return None,
                '\\' => self.escape(out)?,
                _ => out.push(character),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        if let Some(plain) = plain_escape(character) {
            out.push(plain);
            return Some(());
        }
        let digits = match character {
            '\n' => return Some(()),
            '0'..='7' => {
                let rest = &self.text[self.at - 1..];
                let length = rest.chars().take(3).take_while(|c| ('0'..='7').contains(c)).count();
                out.push(char::from_u32(u32::from_str_radix(&rest[..length], 8).ok()?)?);
                self.at += length - 1;
                return Some(());
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => {
                out.push('\\');
                out.push(character);
                return Some(());
            }
        };
        let code = u32::from_str_radix(self.rest().get(..digits)?, 16).ok()?;
        self.at += digits;
        out.push(char::from_u32(code)?);
        Some(())
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_')))
            .unwrap_or(rest.len());
        let token = rest[..length].replace('_', "");
        self.at += length;
        if !token.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
            return None;
        }
        if let Ok(integer) = token.parse::<i64>() {
            // Python refuses numbers like 012.
            let digits = token.trim_start_matches(['+', '-']);
            let padded = digits.len() > 1 && digits.starts_with('0') && integer != 0;
            return (!padded).then_some(integer.into());
        }
        token.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
    }
}

/// What a backslash and one character stand for.
fn plain_escape(character: char) -> Option<char> {
    Some(match character {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '\\' | '\'' | '"' => character,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::repr;
    use super::*;

    #[test]
    fn what_repr_prints_is_read_again() {
        let value = json!([
            "it's", "a \"b\"", "it's \"b\"", "tab\t\\ \u{a0}", 1, -2, 0.5, 1e20, null, true, {"k": [1]}, []
        ]);
        assert_eq!(literal(&repr(&value)), Some(value));
    }

    #[test]
    fn other_forms_of_literals() {
        assert_eq!(literal("('a', 'b',)"), Some(json!(["a", "b"])));
        assert_eq!(literal("(3)"), Some(json!(3)));
        assert_eq!(literal(r#"["a" 'b', "\x41\u00e9\101"]"#), Some(json!(["ab", "AéA"])));
        for text in ["[a]", "[1 2]", "1 +", "[1", "f()", "", "012", "'a\n'", "{1}"] {
            assert_eq!(literal(text), None, "{text}");
        }
        assert_eq!(literal(&"[".repeat(100_000)), None);
    }
}
