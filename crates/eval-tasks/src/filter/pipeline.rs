use record_files::Row;
use serde_json::Value;

use super::choice;
use crate::config::{FilterStep, RegexStep};
use crate::python::{self, strip};

/// Runs a pipeline over the answers to one request.
///
/// The result is one answer once a step has taken one, else the list of all.
///
/// # Errors
/// What a step needs.
pub(crate) fn apply(steps: &[FilterStep], answers: &[String], row: &Row) -> Result<Value, String> {
    let mut current = Value::from(answers.to_vec());
    for step in steps {
        current = match step {
            FilterStep::TakeFirst => take(&current, |items| items.first())?,
            FilterStep::TakeLast => take(&current, |items| items.last())?,
            FilterStep::TakeFirstK(count) => {
                let items = list(&current)?;
                let kept = items.get(..*count).ok_or_else(|| {
                    format!("take_first_k {count} of {} answers; set `repeats`", items.len())
                })?;
                kept.to_vec().into()
            }
            FilterStep::MajorityVote => vec![majority(list(&current)?)].into(),
            FilterStep::RemoveWhitespace => each(&current, |text| strip(text).into()),
            FilterStep::Lowercase => each(&current, |text| text.to_lowercase().into()),
            FilterStep::Uppercase => each(&current, |text| text.to_uppercase().into()),
            FilterStep::Map { values, default } => {
                each(&current, |text| values.get(text).unwrap_or(default).clone())
            }
            FilterStep::Regex(regex) => each(&current, |text| {
                find(regex, text).unwrap_or_else(|| regex.fallback.clone()).into()
            }),
            FilterStep::MultiChoiceRegex {
                regex,
                ignore_case,
                ignore_punctuation,
                regexes_to_ignore,
            } => {
                let finder = choice::ChoiceFinder::new(
                    regex,
                    *ignore_case,
                    *ignore_punctuation,
                    regexes_to_ignore,
                    row,
                )?;
                each(&current, |text| finder.find(text).into())
            }
        };
    }
    Ok(current)
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| "a filter after take_first needs several answers".to_owned())
}

fn take(value: &Value, which: impl Fn(&[Value]) -> Option<&Value>) -> Result<Value, String> {
    which(list(value)?).cloned().ok_or_else(|| "there is no answer to take".to_owned())
}

/// Of each answer, whether one has been taken yet or not. What is no text counts as empty.
fn each(value: &Value, change: impl Fn(&str) -> Value) -> Value {
    let change = |item: &Value| change(item.as_str().unwrap_or_default());
    match value {
        Value::Array(items) => items.iter().map(change).collect(),
        one => change(one),
    }
}

/// The most frequent answer; of equally frequent ones, the first.
fn majority(items: &[Value]) -> Value {
    let mut best = (0, &Value::Null);
    for (index, item) in items.iter().enumerate() {
        if !items[..index].contains(item) {
            let count = items.iter().filter(|other| *other == item).count();
            if count > best.0 {
                best = (count, item);
            }
        }
    }
    best.1.clone()
}

/// The match that the step takes: of several groups, the first that is not empty.
pub(super) fn find(step: &RegexStep, text: &str) -> Option<String> {
    let found = step.pattern.find_all(text);
    let groups = pick(&found, step.select)?;
    let group = match groups.as_slice() {
        [one] => one,
        several => several.iter().find(|group| !group.is_empty())?,
    };
    Some(python::strip(group).to_owned())
}

/// Counted from the end where the index is below 0.
fn pick<T>(items: &[T], index: i64) -> Option<&T> {
    let index = if index < 0 { index + i64::try_from(items.len()).ok()? } else { index };
    items.get(usize::try_from(index).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml;

    fn steps(yaml: &str) -> Vec<FilterStep> {
        let text = format!("filter_list:\n- name: f\n  filter: {yaml}\n");
        let node = yaml::parse(std::path::Path::new("t.yaml"), &text).unwrap();
        let list = &node.mapping("").unwrap()["filter_list"];
        crate::config::filter_pipelines(list, "filter_list").unwrap().remove(0).steps
    }

    fn filtered(yaml: &str, answers: &[&str]) -> Value {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        apply(&steps(yaml), &answers, &Row::default()).unwrap()
    }

    // Reference: the classes of the harness's filters/ with the same arguments.
    #[test]
    fn numbers_are_found_as_in_gsm8k() {
        let flexible = "[{function: regex, group_select: -1, regex_pattern: '(-?[$0-9.,]{2,})|(-?[0-9]+)'}, {function: take_first}]";
        assert_eq!(filtered(flexible, &["It is $18.50, or 7."]), json!("7."));
        assert_eq!(filtered(flexible, &["it costs 1,200."]), json!("1,200."));
        assert_eq!(filtered(flexible, &["none"]), json!("[invalid]"));
        let strict = "[{function: regex}, {function: take_first}]";
        assert_eq!(filtered(strict, &["x\n#### -12"]), json!("-12"));
    }

    #[test]
    fn answers_are_voted_mapped_and_taken() {
        let vote = "[{function: majority_vote}, {function: take_first}]";
        assert_eq!(filtered(vote, &["a", "b", "b", "a", "c"]), json!("a"));
        assert_eq!(filtered("[{function: take_last}]", &["a", "b"]), json!("b"));
        assert_eq!(
            filtered("[{function: take_first_k, k: 2}]", &["a", "b", "c"]),
            json!(["a", "b"])
        );
        let map = "[{function: lowercase}, {function: strip}, {function: map, mapping_dict: {'yes': 1}, default_value: 0}, {function: take_first}]";
        assert_eq!(filtered(map, &[" YES\n"]), json!(1));
        assert_eq!(filtered(map, &["maybe"]), json!(0));
    }

    #[test]
    fn steps_that_cannot_be_done_are_named() {
        let error =
            apply(&steps("[{function: take_first_k, k: 2}]"), &["a".into()], &Row::default());
        assert_eq!(error.unwrap_err(), "take_first_k 2 of 1 answers; set `repeats`");
    }

    #[test]
    fn choices_are_found_by_letter_or_text() {
        let yaml = "[{function: multi_choice_regex, group_select: -1, ignore_case: true, ignore_punctuation: true, regex_pattern: '(\\([A-Z]\\))'}, {function: take_first}]";
        let row =
            Row::from_iter([("choices".to_owned(), json!(["Guilty", "Guilty of Romance", "No."]))]);
        let found = |text: &str| apply(&steps(yaml), &[text.to_owned()], &row).unwrap();
        assert_eq!(found("so (A) or (C)"), json!("(C)"));
        assert_eq!(found("It is guilty of romance!"), json!("(B)"));
        assert_eq!(found("The answer: C"), json!("(C)"));
        assert_eq!(found("???"), json!("[invalid]"));
    }
}
