use std::path::{Path, PathBuf};

use model_zoo::{Quantization, WeightDType};
use moe_adapter::AdapterConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::tables::parse;
use super::{AdapterStart, AnyRunConfig, TaskEvaluationConfig};
use crate::train::{TrainError, TrainingConfig};
use data::{ChatConfig, DataFile, HoldOut, PromptTemplate};

/// A whole run, on data of a kind: by default that of language models.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig<D = DataConfig> {
    /// What is adapted.
    pub model: ModelConfig,
    /// With what.
    pub adapter: AdapterConfig,
    /// Where the adapter starts, and what of it is trained.
    pub start: AdapterStart,
    /// On what.
    pub data: D,
    /// How.
    pub training: TrainingConfig,
    /// On which tasks it is evaluated meanwhile.
    pub evaluation: Vec<TaskEvaluationConfig>,
    /// Receives metrics, checkpoints and the adapter.
    pub output_dir: PathBuf,
}

/// The base model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A Hugging Face folder (`config.json`, weights, `tokenizer.json`), or `organisation/name` on
    /// the hub.
    pub path: PathBuf,
    /// The revision on the hub. Default `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether linears that files hold as one (Phi 3) are adapted one by one. Default false.
    #[serde(default)]
    pub split_fused: bool,
    /// The element type of the frozen matrices in memory: `float32`, `float16`, `bfloat16`, or
    /// `auto`, which is that of the files for decoders on a CPU, where products widen them, and f32 for
    /// all others. Default `auto`.
    #[serde(default)]
    pub dtype: WeightDType,
    /// Whether a head that reuses the embedding's weights gets a copy of its own, to be trained apart
    /// from it. Default false.
    #[serde(default)]
    pub untie_head: bool,
    /// Special tokens that are added to the tokenizer, with rows of the embeddings where there are
    /// none, which `modules_to_save` or `trainable_token_indices` must train. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_tokens: Vec<String>,
    /// Holds the linears of the layers in fewer bits: `int8`, `fp4`, `nf4` or `nf4_double`. Default:
    /// as they are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Whether an encoder gets a new head for the labels of the data; otherwise its own is trained
    /// on, which must be for the same labels. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_head: Option<bool>,
    /// A folder that keeps decompositions of the model's weights from run to run, for starts that
    /// decompose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub svd_cache: Option<PathBuf>,
}

/// The data of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Files to train on.
    pub train: Vec<DataFile>,
    /// Files to validate on.
    #[serde(default)]
    pub validation: Vec<DataFile>,
    /// Without validation files: how much of the training data is held out for it, a count or a
    /// share. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_split: Option<HoldOut>,
    /// A folder that keeps tokenised samples, from which they are read as they are needed, instead of
    /// from memory. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// How an instruction becomes a prompt. Default `alpaca`.
    #[serde(default)]
    pub template: PromptTemplate,
    /// `T` of the shares that the entries of `train` have of an epoch: in proportion to
    /// `weight * samples^(1/T)` ([`Mixture`](data::Mixture)). Default 1.
    #[serde(default = "default_mixing_temperature")]
    pub mixing_temperature: f64,
    /// The longest sample in tokens. Default 1024.
    #[serde(default = "default_max_length")]
    pub max_length: usize,
    /// Whether the prompt's tokens are targets too. Default false.
    #[serde(default)]
    pub train_on_prompt: bool,
    /// How conversations are learned.
    #[serde(default)]
    pub chat: ChatConfig,
}

impl DataConfig {
    /// These files, and every other key at its default.
    pub fn new(train: Vec<DataFile>) -> Self {
        Self {
            train,
            validation: Vec::new(),
            validation_split: None,
            mixing_temperature: default_mixing_temperature(),
            cache_dir: None,
            template: PromptTemplate::default(),
            max_length: default_max_length(),
            train_on_prompt: false,
            chat: ChatConfig::default(),
        }
    }

    /// The longest sample in tokens, of a model with so many positions.
    pub fn longest(&self, max_positions: usize) -> usize {
        self.max_length.min(max_positions)
    }
}

fn default_mixing_temperature() -> f64 {
    1.0
}

fn default_max_length() -> usize {
    1024
}

impl RunConfig {
    /// Reads a run of a language model from TOML text; `overrides` are `key.path=value` and win over
    /// the text, and `origin` names the text in errors.
    ///
    /// Relative paths are meant relative to the working directory.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] naming the key, what was found and what is allowed.
    pub fn from_toml(text: &str, origin: &str, overrides: &[String]) -> Result<Self, TrainError> {
        match AnyRunConfig::from_toml(text, origin, overrides)? {
            AnyRunConfig::Causal(run) => Ok(*run),
            AnyRunConfig::Labelled(run) => Err(not_causal(run.data.task.name())),
        }
    }

    /// Reads a run from a file; see [`from_toml`](Self::from_toml).
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, the key and what is allowed.
    pub fn from_file(path: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        match AnyRunConfig::from_file(path, overrides)? {
            AnyRunConfig::Causal(run) => Ok(*run),
            AnyRunConfig::Labelled(run) => Err(not_causal(run.data.task.name())),
        }
    }

    /// Refuses what only encoders have.
    pub(super) fn checked(self) -> Result<Self, TrainError> {
        match self.model.new_head {
            None => Ok(self),
            Some(given) => {
                let allowed = "absent for language models, whose heads are no classifiers";
                Err(TrainError::value("model.new_head", given, allowed))
            }
        }
    }
}

fn not_causal(task: &str) -> TrainError {
    TrainError::value("data.task", format!("{task:?}"), "\"causal_lm\" for this command")
}

impl<D: DeserializeOwned> RunConfig<D> {
    /// Understands the tables of a run.
    pub(super) fn of_tables(mut table: Table, origin: &str) -> Result<Self, TrainError> {
        let config = |message: String| TrainError::Config { origin: origin.into(), message };
        let mut section = |name: &str| match table.remove(name) {
            Some(Value::Table(section)) => Ok(section),
            Some(other) => Err(config(format!("`{name}` is {other}, but must be a table"))),
            None => Err(config(format!("the table `[{name}]` is missing"))),
        };
        let model = parse(section("model")?, "model", origin)?;
        let (start, adapter) = AdapterStart::read(section("adapter")?, origin)?;
        let data = parse(section("data")?, "data", origin)?;
        let mut training = section("training")?;
        let output_dir = match training.remove("output_dir") {
            Some(Value::String(path)) => PathBuf::from(path),
            Some(other) => {
                return Err(TrainError::value("training.output_dir", other, "a path"));
            }
            None => return Err(config("`training.output_dir` is missing".into())),
        };
        let training: TrainingConfig = parse(training, "training", origin)?;
        let evaluation = evaluations(table.remove("evaluation"), origin)?;
        training.check()?;
        Ok(Self { model, adapter, start, data, training, evaluation, output_dir })
    }
}

/// Reads the entries of `[[evaluation]]`.
fn evaluations(
    entries: Option<Value>,
    origin: &str,
) -> Result<Vec<TaskEvaluationConfig>, TrainError> {
    let entries = match entries {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(Value::Table(entry)) => vec![Value::Table(entry)],
        Some(other) => {
            return Err(TrainError::Config {
                origin: origin.into(),
                message: format!("`evaluation` is {other}, but must be tables `[[evaluation]]`"),
            });
        }
    };
    entries
        .into_iter()
        .map(|entry| match entry {
            Value::Table(table) => {
                let entry: TaskEvaluationConfig = parse(table, "[evaluation]", origin)?;
                entry.check()?;
                Ok(entry)
            }
            other => Err(TrainError::Config {
                origin: origin.into(),
                message: format!("`evaluation` holds {other}, but must hold tables"),
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"
        [model]
        path = "m"
        [adapter]
        preset = "loramoe-paper"
        r = 2
        [data]
        train = [{ path = "a.json", task_type = 0 }]
        validation_split = 0.1
        [training]
        output_dir = "out"
        learning_rate = 1e-3
    "#;

    fn read(overrides: &[&str]) -> Result<RunConfig, TrainError> {
        let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
        RunConfig::from_toml(RUN, "run.toml", &overrides)
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let DataConfig { mixing_temperature, max_length, ref train, .. } = read(&[]).unwrap().data;
        assert_eq!((mixing_temperature, max_length, train[0].weight), (1.0, 1024, None));
    }

    #[test]
    fn keys_override_the_preset_and_assignments_override_both() {
        let run = read(&[]).unwrap();
        assert_eq!((run.adapter.r, run.adapter.num_experts), (2, 6));
        assert_eq!(run.data.validation_split, Some(HoldOut::Fraction(0.1)));
        let run = read(&[
            "adapter.r=8",
            "adapter.balance_loss.blc_weight=0.5",
            "adapter.target_modules=all-linear",
            "training.max_steps=3",
        ])
        .unwrap();
        assert_eq!((run.adapter.r, run.training.max_steps), (8, 3));
        let json = serde_json::to_string(&run.adapter).unwrap();
        assert!(json.contains(r#""blc_weight":0.5,"blc_alpha":0.1"#), "{json}");
        assert!(json.contains(r#""target_modules":"all-linear""#), "{json}");
    }

    #[test]
    fn another_type_leaves_the_keys_of_the_one_before_behind() {
        let text = RUN.replace("r = 2", "r = 2\nrouter = { type = \"top_k\", k = 3 }");
        let read = |assignment: &str| {
            let assignments = [assignment.to_owned(), "adapter.router.gate.bias=true".to_owned()];
            RunConfig::from_toml(&text, "run.toml", &assignments).unwrap().adapter.router
        };
        let json = serde_json::to_string(&read("adapter.router.type=dense")).unwrap();
        assert!(json.contains("\"dense\"") && json.contains("\"bias\":true"), "{json}");
        let json = serde_json::to_string(&read("adapter.router.type=top_k")).unwrap();
        assert!(json.contains("\"k\":3") && json.contains("\"bias\":true"), "{json}");
    }

    #[test]
    fn one_expert_drops_the_balance_loss_of_the_preset() {
        let run = read(&["adapter.num_experts=1"]).unwrap();
        assert_eq!(run.adapter.balance_loss, None);
    }

    #[test]
    fn evaluations_are_read_and_checked() {
        let entry = "[[evaluation]]\ntasks = [\"arc_easy\"]\neval_steps = 5\nlimit = 10\n";
        let run = RunConfig::from_toml(&format!("{RUN}{entry}"), "run.toml", &[]).unwrap();
        assert_eq!(run.evaluation[0].tasks, ["arc_easy"]);
        assert_eq!((run.evaluation[0].eval_steps, run.evaluation[0].limit), (5, Some(10.0)));
        for (bad, key) in [
            ("[[evaluation]]\ntasks = []\n", "evaluation.tasks"),
            ("[[evaluation]]\ntasks = [\"a\"]\nlimit = -1.0\n", "evaluation.limit"),
            ("[[evaluation]]\ntasks = [\"a\"]\nfewshots = 1\n", "fewshots"),
        ] {
            let error = RunConfig::from_toml(&format!("{RUN}{bad}"), "run.toml", &[]).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn errors_name_file_and_key() {
        let error = |overrides: &[&str]| read(overrides).unwrap_err().to_string();
        let text = error(&["adapter.rank=4"]);
        assert!(text.contains("run.toml") && text.contains("rank"), "{text}");
        assert!(error(&["training.max_steps=soon"]).contains("max_steps"));
        assert!(error(&["adapter.preset=goat"]).contains("loramoe-paper"));
        assert!(error(&["optimizer.lr=1"]).contains("[optimizer]"));
        assert!(error(&["training.learning_rate"]).contains("KEY=VALUE"));
        assert!(error(&["training.learning_rate=-1"]).contains("training.learning_rate"));
        let text = RunConfig::from_toml("[model]\npath = 1", "x.toml", &[]).unwrap_err();
        assert!(text.to_string().contains("x.toml"), "{text}");
    }
}
