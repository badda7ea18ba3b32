use model_zoo::ProblemType;
use record_files::{OrderedValue, excerpt};

use super::{LabelledRow, Target};
use crate::DataError;

/// The labels that a model tells apart, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSet {
    /// Their names in the order of the logits; of a regression that of the number.
    pub names: Vec<String>,
    /// What is asked.
    pub problem: ProblemType,
    /// Whether data may also name them by their numbers, from 0.
    numbered: bool,
}

impl LabelSet {
    /// Labels of these names, which data may also name by their numbers.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for two that are equal, none at all, or fewer than two to choose
    /// from.
    pub fn new(names: Vec<String>, problem: ProblemType) -> Result<Self, DataError> {
        let wrong = |found: String, allowed: &str| {
            Err(DataError::Setting { key: "labels", found, allowed: allowed.to_owned() })
        };
        if let Some(at) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return wrong(format!("`{}` twice", excerpt(&names[at])), "different names");
        }
        match (problem, names.len()) {
            (ProblemType::Regression, 1) => {}
            (ProblemType::Regression, _) => {
                return wrong(format!("{names:?}"), "absent: a regression has no classes");
            }
            (ProblemType::SingleLabelClassification, 0 | 1) => {
                return wrong(format!("{names:?}"), "at least two classes");
            }
            (ProblemType::MultiLabelClassification, 0) => {
                return wrong("none".into(), "at least one class");
            }
            _ => {}
        }
        Ok(Self { names, problem, numbered: true })
    }

    /// What is asked for a number.
    pub fn regression() -> Self {
        let names = vec!["LABEL_0".to_owned()];
        Self { names, problem: ProblemType::Regression, numbered: true }
    }

    /// The labels of rows: numbers in their order, or else texts in that of their characters.
    ///
    /// # Errors
    ///
    /// [`DataError`] for a row without a label, a label that is none, or a single one.
    pub fn of(rows: &[LabelledRow], problem: ProblemType) -> Result<Self, DataError> {
        if problem == ProblemType::Regression {
            return Ok(Self::regression());
        }
        let mut names = Vec::new();
        for row in rows {
            names.extend(texts(row, problem)?);
        }
        names.sort_unstable();
        names.dedup();
        let number = |name: &String| name.parse::<i64>().ok().filter(|of| of.to_string() == *name);
        if names.iter().all(|name| number(name).is_some()) {
            names.sort_by_key(number);
        }
        Ok(Self { numbered: false, ..Self::new(names, problem)? })
    }

    /// What a model is to answer to a row.
    ///
    /// # Errors
    ///
    /// [`DataError`] for a row without a label, and one whose label is none of these.
    pub fn target(&self, row: &LabelledRow) -> Result<Target, DataError> {
        match self.problem {
            ProblemType::Regression => number(row).map(Target::Value),
            ProblemType::SingleLabelClassification => {
                let names = texts(row, self.problem)?;
                let class = names.first().map(|name| self.index(name, row)).transpose()?;
                class.map(Target::Class).ok_or_else(|| no_label(row))
            }
            ProblemType::MultiLabelClassification => {
                let mut classes = vec![false; self.names.len()];
                for name in texts(row, self.problem)? {
                    classes[self.index(&name, row)?] = true;
                }
                Ok(Target::Classes(classes))
            }
        }
    }

    /// Whether a row has the label -1, as unlabelled sets have, which is none of these.
    pub fn is_unlabelled(&self, row: &LabelledRow) -> bool {
        let is = |label: &OrderedValue| text(label).as_deref() == Some("-1");
        let known = self.names.iter().any(|name| name == "-1");
        let classes = self.problem != ProblemType::Regression;
        classes && !known && row.label.as_ref().is_some_and(is)
    }

    /// What logits answer: the first of the most probable classes, all whose sigmoid is above one
    /// half, or the number.
    pub fn answer(&self, logits: &[f64]) -> Target {
        match self.problem {
            ProblemType::Regression => {
                Target::Value(logits.first().map_or(f32::NAN, |value| *value as f32))
            }
            ProblemType::SingleLabelClassification => Target::Class(best(logits)),
            ProblemType::MultiLabelClassification => {
                Target::Classes(logits.iter().map(|logit| *logit > 0.0).collect())
            }
        }
    }

    /// What a target is called: the names of its classes, or the number.
    pub fn named(&self, target: &Target) -> Vec<String> {
        let name = |at: usize| self.names.get(at).cloned().unwrap_or_else(|| at.to_string());
        match target {
            Target::Class(class) => vec![name(*class)],
            Target::Classes(classes) => {
                let right = classes.iter().enumerate().filter(|(_, right)| **right);
                right.map(|(at, _)| name(at)).collect()
            }
            Target::Value(value) => vec![value.to_string()],
        }
    }

    fn index(&self, name: &str, row: &LabelledRow) -> Result<usize, DataError> {
        let number = || name.parse().ok().filter(|at| self.numbered && *at < self.names.len());
        let known = self.names.iter().position(|known| known == name);
        known.or_else(number).ok_or_else(|| {
            const SHOWN: usize = 20;
            let shown = self.names.iter().take(SHOWN).map(|name| format!("`{}`", excerpt(name)));
            let mut known: Vec<String> = shown.collect();
            known.extend((self.names.len() > SHOWN).then(|| "…".to_owned()));
            DataError::UnknownLabel {
                origin: row.origin.clone(),
                label: excerpt(name),
                known: known.join(", "),
            }
        })
    }
}

/// The first of the largest logits.
fn best(logits: &[f64]) -> usize {
    let mut best = 0;
    for (at, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = at;
        }
    }
    best
}

const ONE: &str = "the name or the number of a class";
const SEVERAL: &str = "a list of names or numbers of classes, or a text with commas between them";
const NUMBER: &str = "a finite number";

fn no_label(row: &LabelledRow) -> DataError {
    DataError::NoLabel { origin: row.origin.clone() }
}

fn wrong(row: &LabelledRow, value: &OrderedValue, allowed: &'static str) -> DataError {
    DataError::Value {
        origin: row.origin.clone(),
        key: "label".into(),
        found: crate::layout::found(Some(value)),
        allowed,
    }
}

/// The names of a row's labels.
fn texts(row: &LabelledRow, problem: ProblemType) -> Result<Vec<String>, DataError> {
    let several = problem == ProblemType::MultiLabelClassification;
    match (&row.label, several) {
        // No class at all is an answer too.
        (None, true) => Ok(Vec::new()),
        (None, false) => Err(no_label(row)),
        (Some(OrderedValue::Array(items)), true) => {
            items.iter().map(|item| text(item).ok_or_else(|| wrong(row, item, ONE))).collect()
        }
        (Some(OrderedValue::String(list)), true) => {
            let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(parts.map(str::to_owned).collect())
        }
        (Some(value), _) => {
            let allowed = if several { SEVERAL } else { ONE };
            text(value).map(|name| vec![name]).ok_or_else(|| wrong(row, value, allowed))
        }
    }
}

/// A class as a text: whole numbers without a point.
fn text(value: &OrderedValue) -> Option<String> {
    match value {
        OrderedValue::String(text) => Some(text.trim().to_owned()),
        OrderedValue::Bool(flag) => Some(u8::from(*flag).to_string()),
        OrderedValue::Number(number) => {
            let whole = number.as_f64().filter(|of| of.fract() == 0.0 && of.abs() < 1e15);
            whole.map(|whole| (whole as i64).to_string())
        }
        _ => None,
    }
}

fn number(row: &LabelledRow) -> Result<f32, DataError> {
    let value = row.label.as_ref().ok_or_else(|| no_label(row))?;
    let number = match value {
        OrderedValue::Number(number) => number.as_f64(),
        OrderedValue::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.map(|number: f64| number as f32).filter(|number| number.is_finite());
    number.ok_or_else(|| wrong(row, value, NUMBER))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use record_files::Origin;
    use serde_json::{Value, json};

    use super::*;
    use crate::{LabelledRow, RowInput};

    fn row(label: Value) -> LabelledRow {
        LabelledRow {
            input: RowInput::Text { text: "a".into(), text_pair: None },
            label: (!label.is_null()).then(|| label.into()),
            task_type: None,
            origin: Origin { file: Arc::from(Path::new("a.jsonl")), row: 2, line: Some(3) },
        }
    }

    fn rows(labels: Value) -> Vec<LabelledRow> {
        labels.as_array().unwrap().iter().cloned().map(row).collect()
    }

    const SINGLE: ProblemType = ProblemType::SingleLabelClassification;
    const MULTI: ProblemType = ProblemType::MultiLabelClassification;

    #[test]
    fn minus_one_is_no_label_unless_a_class_has_the_name() {
        let unlabelled = |set: &LabelSet| {
            let rows = rows(json!([-1, "-1", 0, null]));
            rows.iter().map(|row| set.is_unlabelled(row)).collect::<Vec<_>>()
        };
        let set = |names: [&str; 2]| LabelSet::new(names.map(String::from).into(), SINGLE).unwrap();
        assert_eq!(unlabelled(&set(["0", "1"])), [true, true, false, false]);
        assert_eq!(unlabelled(&set(["-1", "1"])), [false; 4]);
        assert_eq!(unlabelled(&LabelSet::regression()), [false; 4]);
    }

    #[test]
    fn labels_of_rows_are_in_the_order_of_numbers_or_else_of_characters() {
        let names = |labels| LabelSet::of(&rows(labels), SINGLE).unwrap().names;
        assert_eq!(names(json!(["10", "9", "9", "-1"])), ["-1", "9", "10"]);
        assert_eq!(names(json!([1, 0, 1.0, true])), ["0", "1"]);
        assert_eq!(names(json!(["b", "a", "10"])), ["10", "a", "b"]);
        let error = LabelSet::of(&rows(json!(["a", "a"])), SINGLE).unwrap_err().to_string();
        assert!(error.contains("at least two classes"), "{error}");
        let error = LabelSet::of(&rows(json!(["a", null])), SINGLE).unwrap_err().to_string();
        assert!(error.contains("a.jsonl, line 3") && error.contains("no label"), "{error}");
    }

    #[test]
    fn given_names_may_be_numbered_and_found_ones_not() {
        let given = LabelSet::new(vec!["no".into(), "yes".into()], SINGLE).unwrap();
        assert_eq!(given.target(&row(json!("yes"))).unwrap(), Target::Class(1));
        assert_eq!(given.target(&row(json!(1))).unwrap(), Target::Class(1));
        let error = given.target(&row(json!(2))).unwrap_err().to_string();
        assert_eq!(error, "a.jsonl, line 3: the label `2` is none of those known: `no`, `yes`");
        let found = LabelSet::of(&rows(json!(["no", "yes"])), SINGLE).unwrap();
        assert!(found.target(&row(json!(1))).is_err());
        assert!(LabelSet::new(vec!["a".into(), "a".into()], SINGLE).is_err());
    }

    #[test]
    fn several_labels_are_lists_or_texts_with_commas() {
        let set = LabelSet::of(&rows(json!([["b", "a"], "c, a", null, []])), MULTI).unwrap();
        assert_eq!(set.names, ["a", "b", "c"]);
        let of = |label| set.target(&row(label)).unwrap();
        assert_eq!(of(json!("c,a")), Target::Classes(vec![true, false, true]));
        assert_eq!(of(json!(null)), Target::Classes(vec![false; 3]));
        assert!(set.target(&row(json!(["d"]))).is_err());
    }

    #[test]
    fn numbers_are_finite() {
        let set = LabelSet::regression();
        assert_eq!(set.target(&row(json!("2.5"))).unwrap(), Target::Value(2.5));
        assert_eq!(set.target(&row(json!(-1))).unwrap(), Target::Value(-1.0));
        for label in [json!("x"), json!("inf"), json!(null), json!([1])] {
            assert!(set.target(&row(label)).is_err());
        }
    }
}
