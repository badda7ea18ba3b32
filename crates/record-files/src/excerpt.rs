/// The beginning of a text for a message: at most 40 characters, control characters escaped.
pub fn excerpt(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut characters = text.trim_start().chars();
    let mut out = String::new();
    for character in characters.by_ref().take(LONGEST) {
        if character.is_control() || character == '\u{fffd}' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_the_rest_is_cut() {
        assert_eq!(excerpt("a\u{1b}[31m\0b"), "a\\u{1b}[31m\\u{0}b");
        assert_eq!(excerpt(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
