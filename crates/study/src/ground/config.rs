use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::StudyError;
use crate::demo::DemoConfig;
use data::DataFile;
use finetune::run::{DataConfig, ModelConfig, TaskEvaluationConfig, parse};
use finetune::train::{LrSchedulerType, TrainingConfig};

/// What the methods of a study are tuned from, tuned on and measured on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroundConfig {
    /// The demo's world; `seed`, `samples` and `methods` in it are not used.
    World(Box<DemoConfig>),
    /// A model and data of the user's.
    Data(Box<DataGroundConfig>),
}

/// A model and data of the user's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataGroundConfig {
    /// The model.
    pub model: ModelConfig,
    /// The data to tune on, and by its validation part to measure the tasks on.
    pub data: DataConfig,
    /// What else is measured.
    pub measures: DataMeasures,
    /// How it is tuned; the study sets the learning rate and the seed.
    pub training: TrainingConfig,
}

/// The keys of a study's `[data]` beside those of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataMeasures {
    /// Files of records whose knowledge should be kept.
    pub retain: Vec<DataFile>,
    /// Files of plain text to measure the loss on. Without any it is measured on the answers of
    /// `retain`.
    #[serde(default)]
    pub text: Vec<PathBuf>,
    /// For how many records of each set an answer is generated and compared; 0 generates none, and
    /// measures `exp(-loss)` of the answers. Default 0.
    #[serde(default)]
    pub exact_match_samples: usize,
    /// Benchmark tasks whose mean score is tasks learned in the report, in place of the validation
    /// data; of each the first metric counts. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_tasks: Option<TaskEvaluationConfig>,
    /// Benchmark tasks whose mean score is knowledge kept in the report, in place of `retain`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_tasks: Option<TaskEvaluationConfig>,
    /// The most tokens of a generated answer. Default 64.
    #[serde(default = "default_max_new_tokens")]
    pub max_new_tokens: usize,
}

fn default_max_new_tokens() -> usize {
    64
}

const MEASURES: [&str; 6] =
    ["retain", "text", "exact_match_samples", "max_new_tokens", LEARNED_TASKS, KEPT_TASKS];

pub(super) const LEARNED_TASKS: &str = "learned_tasks";
pub(super) const KEPT_TASKS: &str = "kept_tasks";

/// The keys of `[training]` that mean something to a study.
const TRAINING: [&str; 17] = [
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "warmup_ratio",
    "num_train_epochs",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "max_grad_norm",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim",
    "momentum",
    "group_by_length",
    "calibration_samples",
];

impl GroundConfig {
    /// Takes its tables out of a study's: `[demo]`, or `[model]`, `[data]` and `[training]`.
    ///
    /// # Errors
    ///
    /// [`StudyError`] naming the key, what was found and what is allowed.
    pub(crate) fn take(table: &mut Table, origin: &str) -> Result<Self, StudyError> {
        let wrong = |message: String| StudyError::config(origin, message);
        let mut section = |name: &str| match table.remove(name) {
            Some(Value::Table(section)) => Ok(Some(section)),
            Some(other) => Err(wrong(format!("`{name}` is {other}, but must be a table"))),
            None => Ok(None),
        };
        let (demo, model) = (section("demo")?, section("model")?);
        let (data, training) = (section("data")?, section("training")?);
        if model.is_none() && data.is_none() && training.is_none() {
            let demo = parse(demo.unwrap_or_default(), "demo", origin)?;
            return Ok(Self::World(Box::new(demo)));
        }
        if demo.is_some() {
            let message = "a study is on the demo's world, `[demo]`, or on a model and data of \
                           yours, `[model]` and `[data]`, not on both";
            return Err(wrong(message.into()));
        }
        let missing = |name| wrong(format!("the table `[{name}]` is missing"));
        let model = parse(model.ok_or_else(|| missing("model"))?, "model", origin)?;
        let mut data = data.ok_or_else(|| missing("data"))?;
        let measures: Table = MEASURES.iter().filter_map(|key| data.remove_entry(*key)).collect();
        let training = training.unwrap_or_default();
        if let Some(key) = training.keys().find(|key| !TRAINING.contains(&key.as_str())) {
            let why = match key.as_str() {
                "learning_rate" => "is searched for: see `learning_rates`",
                "seed" => "is that of the run: see `seeds`",
                "output_dir" => "is given by `--output`",
                "max_steps" => "follows from `samples` and `training.num_train_epochs`",
                _ => "is not a key of a study",
            };
            let allowed = TRAINING.join(", ");
            return Err(wrong(format!("`training.{key}` {why}; there are {allowed}")));
        }
        let ground = DataGroundConfig {
            model,
            data: parse(data, "data", origin)?,
            measures: parse(measures, "data", origin)?,
            training: parse(training, "training", origin)?,
        };
        ground.check()?;
        Ok(Self::Data(Box::new(ground)))
    }
}

impl DataGroundConfig {
    fn check(&self) -> Result<(), StudyError> {
        self.training.check()?;
        if self.training.lr_scheduler_type == LrSchedulerType::ReduceLrOnPlateau {
            let allowed = "another: a study evaluates nothing while it tunes";
            let (key, value) = ("training.lr_scheduler_type", "reduce_lr_on_plateau");
            return Err(StudyError::value(key, value, allowed));
        }
        if self.measures.retain.is_empty() {
            return Err(StudyError::value("data.retain", "[]", "at least one file"));
        }
        if self.data.validation.is_empty() && self.data.validation_split.is_none() {
            let allowed = "given, or `data.validation_split`: tasks learned are measured on it";
            return Err(StudyError::value("data.validation", "[]", allowed));
        }
        let DataMeasures { learned_tasks, kept_tasks, .. } = &self.measures;
        for (key, tasks) in [(LEARNED_TASKS, learned_tasks), (KEPT_TASKS, kept_tasks)] {
            let Some(tasks) = tasks else { continue };
            tasks.check()?;
            if tasks.eval_steps > 0 {
                let allowed = "absent: a study evaluates tuned models only";
                let key = format!("data.{key}.eval_steps");
                return Err(StudyError::value(&key, tasks.eval_steps, allowed));
            }
        }
        if self.measures.exact_match_samples > 0 && self.measures.max_new_tokens == 0 {
            return Err(StudyError::value("data.max_new_tokens", 0, "at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = r#"
        [model]
        path = "m"
        [data]
        train = [{ path = "a.json" }]
        validation_split = 0.1
        retain = [{ path = "b.json" }]
        [training]
        per_device_train_batch_size = 4
    "#;

    fn take(text: &str) -> Result<GroundConfig, StudyError> {
        GroundConfig::take(&mut text.parse().unwrap(), "study.toml")
    }

    #[test]
    fn a_model_and_data_take_the_keys_of_a_run() {
        let GroundConfig::Data(ground) = take(STUDY).unwrap() else { panic!() };
        assert_eq!(ground.training.per_device_train_batch_size, 4);
        assert_eq!((ground.measures.exact_match_samples, ground.measures.max_new_tokens), (0, 64));
        assert!(matches!(take("").unwrap(), GroundConfig::World(_)));
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        let cases = [
            ("[model]", "[demo]\n[model]", "not on both"),
            ("retain = [{ path = \"b.json\" }]", "", "retain"),
            ("retain = [{ path = \"b.json\" }]", "retain = []", "data.retain"),
            ("validation_split = 0.1", "", "data.validation"),
            ("validation_split = 0.1", "validation_split = 0.1\nkeep = 1", "keep"),
            ("[training]", "[training]\nlearning_rate = 1.0", "learning_rates"),
            ("[training]", "[training]\nseed = 1", "seeds"),
            ("[training]", "[training]\nsave_steps = 1", "training.save_steps"),
            ("[training]", "[training]\nweight_decay = -1.0", "training.weight_decay"),
            (
                "[training]",
                "[training]\nlr_scheduler_type = \"reduce_lr_on_plateau\"",
                "evaluates nothing while it tunes",
            ),
            (
                "validation_split = 0.1",
                "validation_split = 0.1\nkept_tasks = { tasks = [] }",
                "evaluation.tasks",
            ),
            (
                "validation_split = 0.1",
                "validation_split = 0.1\nlearned_tasks = { tasks = [\"piqa\"], eval_steps = 2 }",
                "data.learned_tasks.eval_steps",
            ),
            ("path = \"m\"", "paths = \"m\"", "paths"),
        ];
        for (from, to, named) in cases {
            let text = STUDY.replacen(from, to, 1);
            assert_ne!(text, STUDY);
            let error = take(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
        let error = take("[data]\ntrain = []").unwrap_err().to_string();
        assert!(error.contains("study.toml") && error.contains("[model]"), "{error}");
    }
}
