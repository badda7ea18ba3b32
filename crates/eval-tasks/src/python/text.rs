/// `str.isspace` of one character: Unicode white space and the four separators of ASCII.
pub(crate) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}

/// `str.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.isdigit()` for what `int` can read.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `str.capitalize()`: the first character in upper case, all others in lower case.
pub(crate) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => {
            first.to_uppercase().chain(characters.as_str().to_lowercase().chars()).collect()
        }
        None => String::new(),
    }
}

/// `len(re.split(r"\s+", text))`: one more than the runs of white space.
pub(crate) fn word_count(text: &str) -> usize {
    let mut runs = 0;
    let mut inside = false;
    for character in text.chars() {
        let space = is_space(character);
        runs += usize::from(space && !inside);
        inside = space;
    }
    runs + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_by_split() {
        assert_eq!(word_count(""), 1);
        assert_eq!(word_count(" a b\n\nc "), 5);
    }

    #[test]
    fn capitals_and_spaces_are_pythons() {
        assert_eq!(capitalize("hELLO Wörld"), "Hello wörld");
        assert_eq!(strip("\u{1f} a\u{a0}\n"), "a");
        assert!(is_digits("012") && !is_digits("-1") && !is_digits(""));
    }
}
