use crate::python::Pattern;

/// How an answer is compared with a target.
#[derive(Debug, Clone, Default)]
pub struct ExactMatch {
    /// In lower case.
    pub ignore_case: bool,
    /// Without ASCII punctuation.
    pub ignore_punctuation: bool,
    /// Without ASCII digits.
    pub ignore_numbers: bool,
    /// Without what these match; they come first, in order.
    pub(crate) regexes_to_ignore: Vec<Pattern>,
}

impl ExactMatch {
    /// Whether both are equal once what is ignored is removed from both.
    pub fn matches(&self, answer: &str, target: &str) -> bool {
        self.normalize(answer) == self.normalize(target)
    }

    fn normalize(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pattern in &self.regexes_to_ignore {
            text = pattern.replace(&text, "", 0);
        }
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation {
            text.retain(|character| !character.is_ascii_punctuation());
        }
        if self.ignore_numbers {
            text.retain(|character| !character.is_ascii_digit());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gsm8k_compares_the_number_alone() {
        let patterns = [",", r"\$", r"(?s).*#### ", r"\.$"];
        let exact = ExactMatch {
            ignore_case: true,
            regexes_to_ignore: patterns.map(|p| Pattern::new(p).unwrap()).into(),
            ..ExactMatch::default()
        };
        let target = "She makes 9 * 2 = $<<9*2=18>>18.\nSo it is.\n#### 1,018";
        assert!(exact.matches("$1018.", target));
        assert!(!exact.matches("1019", target));
    }

    #[test]
    fn what_is_ignored_is_ignored() {
        let exact = ExactMatch {
            ignore_case: true,
            ignore_punctuation: true,
            ignore_numbers: true,
            regexes_to_ignore: Vec::new(),
        };
        assert!(exact.matches("It's 5 O'Clock!", "its  oclock"));
        assert!(!ExactMatch::default().matches("a ", "a"));
    }
}
