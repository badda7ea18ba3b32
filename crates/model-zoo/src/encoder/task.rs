use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::keys::Keys;
use crate::ConfigError;

/// What the logits of a classifier mean, and so which loss trains it; `problem_type` in
/// `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemType {
    /// Each logit is a number to be predicted: mean squared error.
    Regression,
    /// One label is right: cross-entropy of the softmax.
    SingleLabelClassification,
    /// Any number of labels is right: binary cross-entropy of each sigmoid.
    MultiLabelClassification,
}

impl ProblemType {
    /// Its name in `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::SingleLabelClassification => "single_label_classification",
            Self::MultiLabelClassification => "multi_label_classification",
        }
    }
}

/// What a classifier tells apart: `id2label` and `problem_type` of `config.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassificationTask {
    /// The name of each label, in the order of the logits.
    pub labels: Vec<String>,
    /// What the logits mean; `None` for what follows from the number of labels.
    pub problem_type: Option<ProblemType>,
}

/// Two labels, as in transformers.
impl Default for ClassificationTask {
    fn default() -> Self {
        Self::with_num_labels(2)
    }
}

impl ClassificationTask {
    /// A task with these labels.
    pub fn new(labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { labels: labels.into_iter().map(Into::into).collect(), problem_type: None }
    }

    /// A task whose labels have the names that transformers gives them, `LABEL_0` and so on; one
    /// label is a regression.
    pub fn with_num_labels(num_labels: usize) -> Self {
        Self::new((0..num_labels).map(|i| format!("LABEL_{i}")))
    }

    /// The number of labels.
    pub fn num_labels(&self) -> usize {
        self.labels.len()
    }

    /// What the logits mean: as given; otherwise a regression for one label, and one right label
    /// out of several.
    pub fn problem_type(&self) -> ProblemType {
        self.problem_type.unwrap_or(match self.labels.len() {
            1 => ProblemType::Regression,
            _ => ProblemType::SingleLabelClassification,
        })
    }

    /// Its keys of a `config.json`: `id2label`, `label2id` and, where it is said, `problem_type`.
    pub fn to_json(&self) -> Value {
        let mut keys = Map::new();
        self.write(&mut keys);
        keys.into()
    }

    /// Reads its keys of a `config.json`; `origin` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key, what was found and what is allowed.
    pub fn from_json(value: &Value, origin: &str) -> Result<Self, ConfigError> {
        let keys = Keys::new(value, origin)?;
        let task = Self::read(&keys)?;
        task.check(&keys)?;
        Ok(task)
    }

    pub(crate) fn read(keys: &Keys) -> Result<Self, ConfigError> {
        let names = keys.typed("id2label", "an object of names", |value| {
            let names = value.as_object()?;
            names.iter().map(|(id, name)| Some((id, name.as_str()?))).collect::<Option<Vec<_>>>()
        })?;
        let mut task = match names {
            None => Self::with_num_labels(keys.size("num_labels")?.unwrap_or(2)),
            Some(names) => {
                let mut labels = vec![None; names.len()];
                for (id, name) in names {
                    let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id));
                    match slot {
                        Some(slot) if slot.is_none() => *slot = Some(name),
                        _ => {
                            let allowed = "keyed by the numbers of the labels, from 0 on";
                            return Err(keys.invalid("id2label", id, allowed));
                        }
                    }
                }
                Self::new(labels.into_iter().flatten())
            }
        };
        task.problem_type = match keys.text("problem_type")? {
            None => None,
            Some(name) => Some(problem_type(name).ok_or_else(|| {
                let allowed: Vec<_> = PROBLEM_TYPES.iter().map(|known| known.name()).collect();
                keys.unsupported("problem_type", name, &allowed.join(", "))
            })?),
        };
        Ok(task)
    }

    /// Adds its keys to a `config.json`.
    pub(crate) fn write(&self, config: &mut Map<String, Value>) {
        let named = self.labels.iter().enumerate();
        let id2label: Map<_, _> = named.clone().map(|(i, l)| (i.to_string(), json!(l))).collect();
        let label2id: Map<_, _> = named.map(|(i, label)| (label.clone(), json!(i))).collect();
        config.insert("id2label".to_owned(), id2label.into());
        config.insert("label2id".to_owned(), label2id.into());
        if let Some(problem_type) = self.problem_type {
            config.insert("problem_type".to_owned(), problem_type.name().into());
        }
    }

    pub(crate) fn check(&self, keys: &Keys) -> Result<(), ConfigError> {
        if self.labels.is_empty() {
            return Err(keys.invalid("id2label", "empty", "at least one label"));
        }
        Ok(())
    }
}

const PROBLEM_TYPES: [ProblemType; 3] = [
    ProblemType::Regression,
    ProblemType::SingleLabelClassification,
    ProblemType::MultiLabelClassification,
];

fn problem_type(name: &str) -> Option<ProblemType> {
    PROBLEM_TYPES.into_iter().find(|known| known.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<ClassificationTask, ConfigError> {
        ClassificationTask::read(&Keys::new(value, "test")?)
    }

    #[test]
    fn the_number_of_labels_decides_what_is_not_said() {
        let of = |labels| ClassificationTask::with_num_labels(labels).problem_type();
        assert_eq!(of(1), ProblemType::Regression);
        assert_eq!(of(2), ProblemType::SingleLabelClassification);
        let said = json!({"problem_type": "multi_label_classification", "num_labels": 3});
        let task = read(&said).unwrap();
        assert_eq!(task.problem_type(), ProblemType::MultiLabelClassification);
        assert_eq!(task.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
        assert_eq!(read(&json!({})).unwrap(), ClassificationTask::default());
    }

    /// More than ten labels: keys sort as text in a file, but count as numbers.
    #[test]
    fn labels_keep_their_order_through_a_file() {
        let mut task = ClassificationTask::new((0..12).map(|i| format!("class {i}")));
        task.problem_type = Some(ProblemType::Regression);
        let mut config = Map::new();
        task.write(&mut config);
        assert_eq!(read(&config.into()).unwrap(), task);
    }

    #[test]
    fn labels_that_are_not_numbered_from_0_are_refused() {
        for id2label in
            [json!({"1": "a"}), json!({"0": "a", "x": "b"}), json!({"0": "a", "00": "b"})]
        {
            let error = read(&json!({ "id2label": id2label })).unwrap_err();
            assert!(matches!(&error, ConfigError::Invalid { key, .. } if key == "id2label"));
        }
        let error = read(&json!({"id2label": {"0": 1}})).unwrap_err();
        assert!(matches!(&error, ConfigError::Type { key, .. } if key == "id2label"));
        let none = read(&json!({"id2label": {}})).unwrap();
        assert!(none.check(&Keys::of("test")).is_err());
    }

    #[test]
    fn unknown_problem_types_are_refused_with_the_known_ones() {
        let error = read(&json!({"problem_type": "ranking"})).unwrap_err().to_string();
        assert!(error.contains("ranking") && error.contains("regression"), "{error}");
    }
}
