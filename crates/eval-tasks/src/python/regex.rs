use fancy_regex::{Captures, Regex};

/// A regular expression in the syntax of Python's `re`.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// `re.compile`.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(&translate(pattern)).map_err(|error| error.to_string())?;
        Ok(Self { regex })
    }

    /// `findall`: for each match the groups, or the whole match if there is none.
    ///
    /// A pattern that would take too many steps matches nothing more.
    pub fn find_all(&self, text: &str) -> Vec<Vec<String>> {
        let groups = self.regex.captures_len();
        let found = self.regex.captures_iter(text).map_while(Result::ok);
        found
            .map(|captures| {
                let range = if groups == 1 { 0..1 } else { 1..groups };
                range.map(|group| text_of(&captures, group).to_owned()).collect()
            })
            .collect()
    }

    /// `re.sub(pattern, replacement, text, count)`; a count of 0 replaces all.
    pub fn replace(&self, text: &str, replacement: &str, count: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut end = 0;
        for (done, captures) in self.regex.captures_iter(text).map_while(Result::ok).enumerate() {
            let Some(whole) = captures.get(0) else { break };
            if count != 0 && done == count {
                break;
            }
            out.push_str(&text[end..whole.start()]);
            expand(replacement, &captures, &mut out);
            end = whole.end();
        }
        out.push_str(&text[end..]);
        out
    }
}

fn text_of<'t>(captures: &Captures<'t>, group: usize) -> &'t str {
    captures.get(group).map_or("", |found| found.as_str())
}

/// `\1`, `\g<1>`, `\g<name>` and the escapes of a replacement.
fn expand(replacement: &str, captures: &Captures<'_>, out: &mut String) {
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(named) = rest.strip_prefix("g<")
            && let Some((name, after)) = named.split_once('>')
        {
            match name.parse() {
                Ok(group) => out.push_str(text_of(captures, group)),
                Err(_) => out.push_str(captures.name(name).map_or("", |found| found.as_str())),
            }
            rest = after;
            continue;
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            let digits = digits.min(2);
            out.push_str(rest[..digits].parse().map_or("", |group| text_of(captures, group)));
            rest = &rest[digits..];
            continue;
        }
        let Some(character) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        match character {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '\\' => out.push('\\'),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
        rest = &rest[character.len_utf8()..];
    }
    out.push_str(rest);
}

/// Python's syntax in that of `fancy_regex`: `$` also before a last line's end, `\Z`, a brace that
/// is no repetition, and what only Rust's classes give a meaning to.
fn translate(pattern: &str) -> String {
    let characters: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        match character {
            '\\' => {
                match characters.get(at + 1) {
                    Some('Z') => out.push_str("\\z"),
                    Some(next) => {
                        // Rust refuses to escape what needs none.
                        if !matches!(
                            next,
                            '"' | '\''
                                | '/'
                                | ','
                                | ' '
                                | ':'
                                | ';'
                                | '='
                                | '@'
                                | '_'
                                | '`'
                                | '<'
                                | '>'
                                | '%'
                                | '!'
                        ) {
                            out.push('\\');
                        }
                        out.push(*next);
                    }
                    None => out.push('\\'),
                }
                at += 2;
            }
            '[' => at = class(&characters, at, &mut out),
            '$' => {
                out.push_str("(?:$|(?=\\n\\z))");
                at += 1;
            }
            '{' if !is_repetition(&characters[at..]) => {
                out.push_str("\\{");
                at += 1;
            }
            '}' if !out_ends_repetition(&characters, at) => {
                out.push_str("\\}");
                at += 1;
            }
            _ => {
                out.push(character);
                at += 1;
            }
        }
    }
    out
}

fn is_repetition(characters: &[char]) -> bool {
    let Some(end) = characters.iter().position(|c| *c == '}') else { return false };
    let inside = &characters[1..end];
    !inside.is_empty()
        && inside.iter().all(|c| c.is_ascii_digit() || *c == ',')
        && inside.iter().filter(|c| **c == ',').count() <= 1
        && inside.iter().any(char::is_ascii_digit)
}

fn out_ends_repetition(characters: &[char], at: usize) -> bool {
    characters[..at].iter().rposition(|c| *c == '{').is_some_and(|start| {
        is_repetition(&characters[start..]) && !characters[start..at].contains(&'}')
    })
}

/// Copies a class from its `[`, and gives where it ends.
fn class(characters: &[char], start: usize, out: &mut String) -> usize {
    out.push('[');
    let mut at = start + 1;
    if characters.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let first = at;
    while let Some(&character) = characters.get(at) {
        match character {
            ']' if at > first => {
                out.push(']');
                return at + 1;
            }
            '\\' => {
                out.push('\\');
                if let Some(next) = characters.get(at + 1) {
                    if matches!(
                        next,
                        '"' | '\''
                            | '/'
                            | ','
                            | ' '
                            | ':'
                            | ';'
                            | '='
                            | '@'
                            | '_'
                            | '`'
                            | '<'
                            | '>'
                            | '%'
                            | '!'
                    ) {
                        out.pop();
                    }
                    out.push(*next);
                }
                at += 2;
                continue;
            }
            '[' | '&' | '~' | ']' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(pattern: &str, replacement: &str, text: &str) -> String {
        Pattern::new(pattern).unwrap().replace(text, replacement, 0)
    }

    #[test]
    fn patterns_of_known_tasks_mean_the_same() {
        assert_eq!(sub(r"\.$", "", "5.\n"), "5\n");
        assert_eq!(sub(r"\$", "", "$5"), "5");
        assert_eq!(sub(r"(?s).*#### ", "", "a\nb #### 7"), "7");
        assert_eq!(sub(r"\b(?:The |the |An |A |The |a |an )", "", "The cat, a dog"), "cat, dog");
        assert_eq!(sub(r"{\s*([^}]*?)\s*}", r"{\1}", "x { a } y"), "x {a} y");
        assert_eq!(sub(r"\(\s*([^\)]*?)\s*\)", r"(\1)", "( a )"), "(a)");
        assert_eq!(sub(r#"\"\s*([^\"]*?)\s*\""#, r#""\1""#, "\" a \""), "\"a\"");
        assert_eq!(sub(r"(?P<x>a)[[&]", r"<\g<x>\g<0>>", "a[a&"), "<aa[><aa&>");
        assert_eq!(sub(r"a{2}", "", "aaa{2}"), "a{2}");
    }

    #[test]
    fn find_all_gives_groups() {
        let numbers = Pattern::new(r"(-?[$0-9.,]{2,})|(-?[0-9]+)").unwrap();
        assert_eq!(numbers.find_all("$18.00 and 7"), [["$18.00", ""], ["", "7"]]);
        let strict = Pattern::new(r"#### (\-?[0-9\.\,]+)").unwrap();
        assert_eq!(strict.find_all("x #### 1,234"), [["1,234"]]);
        let whole = Pattern::new(r"answer\d|(?:true|false)").unwrap();
        assert_eq!(whole.find_all("true answer3"), [["true"], ["answer3"]]);
    }

    #[test]
    fn wrong_patterns_are_refused() {
        assert!(Pattern::new("(a").is_err());
    }
}
