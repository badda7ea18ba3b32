use record_files::Row;
use serde_json::Value;

use super::pipeline::find;
use crate::config::RegexStep;
use crate::python::{Pattern, strip};

/// Finds the choice that an answer means: by the task's pattern, by the text of a choice, or by a
/// letter after a colon. The result is the letter in parentheses.
pub(super) struct ChoiceFinder<'a> {
    regex: &'a RegexStep,
    ignore_case: bool,
    ignore_punctuation: bool,
    ignored: &'a [Pattern],
    /// The choices as they are compared, longest first, with their letters.
    choices: Vec<(String, char)>,
    letters: Option<Pattern>,
}

impl<'a> ChoiceFinder<'a> {
    pub(super) fn new(
        regex: &'a RegexStep,
        ignore_case: bool,
        ignore_punctuation: bool,
        ignored: &'a [Pattern],
        row: &Row,
    ) -> Result<Self, String> {
        let mut finder = Self {
            regex,
            ignore_case,
            ignore_punctuation,
            ignored,
            choices: Vec::new(),
            letters: None,
        };
        let choices = row.get("choices").and_then(Value::as_array);
        let choices =
            choices.ok_or("multi_choice_regex needs the choices in a column `choices`")?;
        if choices.len() > 26 {
            return Err("multi_choice_regex has letters for 26 choices".into());
        }
        for (choice, letter) in choices.iter().zip('A'..='Z') {
            let text = finder.compared(strip(&crate::python::display(choice)));
            finder.choices.push((text, letter));
        }
        let letters: Vec<String> =
            finder.choices.iter().map(|(_, letter)| letter.to_string()).collect();
        finder.letters = Pattern::new(&format!(r":[\s]*({})", letters.join("|"))).ok();
        finder.choices.sort_by_key(|(text, _)| std::cmp::Reverse(text.chars().count()));
        Ok(finder)
    }

    pub(super) fn find(&self, answer: &str) -> String {
        find(self.regex, answer)
            .filter(|found| !found.is_empty())
            .or_else(|| self.by_text(&self.compared(answer)))
            .or_else(|| {
                let step = RegexStep {
                    pattern: self.letters.clone()?,
                    select: self.regex.select,
                    fallback: String::new(),
                };
                Some(format!("({})", find(&step, answer)?))
            })
            .unwrap_or_else(|| self.regex.fallback.clone())
    }

    /// The choice whose text is found at the place that the pattern's index selects.
    fn by_text(&self, answer: &str) -> Option<String> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < answer.len() {
            let rest = &answer[at..];
            let here =
                self.choices.iter().find(|(text, _)| !text.is_empty() && rest.starts_with(text));
            match here {
                Some((text, letter)) => {
                    found.push(*letter);
                    at += text.len();
                }
                None => at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
        let select = self.regex.select;
        let index = if select < 0 { select + i64::try_from(found.len()).ok()? } else { select };
        let letter = found.get(usize::try_from(index).ok()?)?;
        Some(format!("({letter})"))
    }

    fn compared(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pattern in self.ignored {
            text = pattern.replace(&text, "", 0);
        }
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation
            && let Ok(punctuation) = Pattern::new(r"\p{P}")
        {
            text = punctuation.replace(&text, "", 0);
        }
        text
    }
}
