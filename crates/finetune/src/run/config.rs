use std::path::{Path, PathBuf};

use model_zoo::{Quantization, WeightDType};
use moe_adapter::{AdapterConfig, Preset};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

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
    /// `auto`, which is that of the files. Default `float32`.
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

/// The tables of a run.
const TABLES: [&str; 5] = ["model", "adapter", "data", "training", "evaluation"];

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

/// The tables of a text with its `overrides`.
pub(super) fn tables(text: &str, origin: &str, overrides: &[String]) -> Result<Table, TrainError> {
    let config = |message: String| TrainError::Config { origin: origin.into(), message };
    let mut table: Table =
        text.parse().map_err(|error: toml::de::Error| config(error.to_string()))?;
    for assignment in overrides {
        set(&mut table, assignment)?;
    }
    match table.keys().find(|key| !TABLES.contains(&key.as_str())) {
        None => Ok(table),
        Some(key) => Err(config(format!(
            "unknown table `[{key}]`; there are `[model]`, `[adapter]`, `[data]`, `[training]` and \
             `[[evaluation]]`"
        ))),
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

/// Reads an adapter from a table: the values of its `preset`, where there is one, overridden by
/// its other keys.
///
/// # Errors
///
/// [`TrainError`] naming the key that cannot work.
pub fn adapter_from_table(table: Table, origin: &str) -> Result<AdapterConfig, TrainError> {
    let adapter: AdapterConfig = parse(with_preset(table, origin)?, "adapter", origin)?;
    adapter.check()?;
    Ok(adapter)
}

/// The keys of a table over those of its `preset`, where there is one.
pub(super) fn with_preset(mut table: Table, origin: &str) -> Result<Table, TrainError> {
    let config = |message: String| TrainError::Config { origin: origin.into(), message };
    let mut merged = match table.remove("preset") {
        None => Table::new(),
        Some(Value::String(name)) => {
            let preset: Preset = name.parse()?;
            match Value::try_from(preset.config()) {
                Ok(Value::Table(table)) => table,
                Ok(_) => Table::new(),
                Err(error) => return Err(config(error.to_string())),
            }
        }
        Some(other) => return Err(config(format!("`adapter.preset` is {other}, not a name"))),
    };
    // A single adapter has no router to balance, so the preset's loss goes with its mixture.
    if table.get("num_experts").and_then(Value::as_integer) == Some(1)
        && !table.contains_key("balance_loss")
    {
        merged.remove("balance_loss");
    }
    merge(&mut merged, table);
    Ok(merged)
}

/// Reads an adapter from a preset and `adapter.key=value` assignments.
///
/// # Errors
///
/// [`TrainError`] naming the key that cannot work.
pub fn adapter_from_assignments(
    preset: &str,
    assignments: &[String],
) -> Result<AdapterConfig, TrainError> {
    let mut table = Table::new();
    for assignment in assignments {
        set(&mut table, assignment)?;
    }
    let mut adapter = match table.remove("adapter") {
        Some(Value::Table(adapter)) => adapter,
        _ => Table::new(),
    };
    if let Some(key) = table.keys().next() {
        return Err(TrainError::value(key, "set", "a key of the adapter, as in adapter.r=8"));
    }
    adapter.entry("preset").or_insert_with(|| Value::String(preset.to_owned()));
    adapter_from_table(adapter, "--set")
}

/// Puts the values of `changes` into `table`. Tables of the same `type` are merged, others
/// replaced: the keys of one strategy mean nothing to another. So are tables that name one variant
/// each, as in `init = { normal = { std = 0.02 } }`.
pub(super) fn merge(table: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new))
                if new.get("type").is_none_or(|kind| old.get("type") == Some(kind))
                    && !other_variant(old, &new) =>
            {
                merge(old, new);
            }
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Whether both are one key, and not the same.
fn other_variant(old: &Table, new: &Table) -> bool {
    old.len() == 1 && new.len() == 1 && old.keys().ne(new.keys())
}

/// Applies one `key.path=value`; the value is TOML, or text where it is not.
fn set(table: &mut Table, assignment: &str) -> Result<(), TrainError> {
    let wrong = |message: &str| TrainError::Config {
        origin: format!("--set {assignment}"),
        message: message.into(),
    };
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| wrong("expected KEY=VALUE, as in training.learning_rate=1e-4"))?;
    let text = text.trim();
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut keys: Vec<_> = path.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(|| wrong("the key is empty"))?;
    let mut at = table;
    for key in keys {
        let next = at.entry(key.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(|| wrong("the path leads through a plain value"))?;
    }
    // The keys of one strategy mean nothing to another.
    if last == "type" && at.get(last).is_some_and(|kind| *kind != value) {
        at.clear();
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// Reads the section `name` of the configuration at `origin`.
///
/// # Errors
/// [`TrainError::Config`] naming the section and the key.
pub fn parse<T: DeserializeOwned>(
    table: Table,
    section: &str,
    origin: &str,
) -> Result<T, TrainError> {
    Value::Table(table).try_into().map_err(|error: toml::de::Error| TrainError::Config {
        origin: origin.into(),
        message: in_one_line(section, error.to_string().trim()),
    })
}

/// What is wrong in a section: the key, which the parser tells in a line of its own, comes first, and
/// types are called what users call them.
fn in_one_line(section: &str, error: &str) -> String {
    let (what, key) = match error.rsplit_once("\nin `") {
        Some((what, key)) => (what, format!(", `{}`", key.trim_end_matches('`'))),
        None => (error, String::new()),
    };
    let what = what
        .replace("expected usize", "expected a whole number of at least 0")
        .replace("expected u64", "expected a whole number of at least 0")
        .replace("expected f64", "expected a number");
    format!("in `[{section}]`{key}: {what}")
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
    fn another_variant_replaces_that_of_the_preset() {
        let table: Table = "preset = \"mixlora\"\nrouter.gate.init = { normal = { std = 0.5 } }\n"
            .parse()
            .unwrap();
        let same = adapter_from_table(table, "test").unwrap();
        assert!(serde_json::to_string(&same.router).unwrap().contains("0.5"));
        let table: Table =
            "preset = \"dynmole\"\nrouter.entropy = { renyi = { q = 2.0 } }\n".parse().unwrap();
        let other = serde_json::to_string(&adapter_from_table(table, "test").unwrap().router);
        let other = other.unwrap();
        assert!(other.contains("renyi") && !other.contains("tsallis"), "{other}");
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
