use std::path::Path;

use moe_adapter::AdapterConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::GroundConfig;
use super::store::file_name;
use crate::BASE;
use crate::StudyError;
use finetune::run::adapter_from_table;
use finetune::train::TrainError;

/// A comparison of methods under equal conditions.
///
/// Every method is tuned on the same samples for the same number of steps, with as many trainable
/// parameters as the baseline (its rank is solved for), at the learning rate that the same search
/// chose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyConfig {
    /// The seeds of worlds, pre-training, adapters and data; one run of each method for each.
    pub seeds: Vec<u64>,
    /// The amounts of tuning data, in samples; empty for all that there is.
    pub samples: Vec<usize>,
    /// The learning rates that the search tries for methods that name none of their own.
    pub learning_rates: Vec<f64>,
    /// The amount of tuning data of the search, which runs on the first seed and is measured on
    /// the other half of the evaluation sets; absent for the largest of `samples`.
    pub search_samples: Option<usize>,
    /// The name of the method that others are compared with and equal in parameters.
    pub baseline: String,
    /// Whether speed and memory are measured.
    pub cost: bool,
    /// By how many nats a tuned model's loss on held-out text must be above the base model's for
    /// it to count as ruined; see [`Divergence`](super::Divergence).
    pub divergence_threshold: f64,
    /// Every how many steps a run in progress is kept, so that it goes on from there when it was
    /// interrupted; 0 for never, absent for about once a minute. It changes no number, and is no part
    /// of what a study is.
    #[serde(skip_serializing)]
    pub save_steps: Option<usize>,
    /// What the methods are tuned from, tuned on and measured on.
    pub ground: GroundConfig,
    /// The methods to compare.
    pub methods: Vec<StudyMethod>,
}

/// A method of a study.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyMethod {
    /// Its name in the report.
    pub name: String,
    /// Its adapter, before the rank is solved for.
    pub adapter: AdapterConfig,
    /// Its learning rate, where it is not searched for.
    pub learning_rate: Option<f64>,
    /// The learning rates that the search tries for it; empty for those of the study.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learning_rates: Vec<f64>,
    /// Whether its rank is changed so that it has as many trainable parameters as the baseline.
    pub equal_parameters: bool,
}

/// The keys of a study's file beside its methods.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default = "default_seeds")]
    seeds: Vec<u64>,
    samples: Option<Vec<usize>>,
    #[serde(default = "default_learning_rates")]
    learning_rates: Vec<f64>,
    search_samples: Option<usize>,
    baseline: Option<String>,
    #[serde(default = "yes")]
    cost: bool,
    #[serde(default = "default_divergence_threshold")]
    divergence_threshold: f64,
    save_steps: Option<usize>,
}

fn default_seeds() -> Vec<u64> {
    vec![0, 1, 2]
}

/// The amounts of data in the demo's world, whose data has no end.
const DEFAULT_SAMPLES: [usize; 2] = [8_000, 24_000];

fn default_learning_rates() -> Vec<f64> {
    vec![5e-4, 1e-3, 2e-3, 4e-3]
}

fn default_divergence_threshold() -> f64 {
    3.0
}

fn yes() -> bool {
    true
}

impl StudyConfig {
    /// The built-in study: nine methods, three seeds, two amounts of data.
    pub const DEFAULT_TOML: &str = include_str!("default.toml");

    /// Reads a study from TOML text. `origin` names it in errors.
    ///
    /// Each `[[methods]]` has a `name`, a `preset` or an `[methods.adapter]` table (or both: the
    /// table overrides the preset), and optionally `learning_rate` and `equal_parameters`.
    ///
    /// # Errors
    ///
    /// [`StudyError`] naming the key, what was found and what is allowed.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, StudyError> {
        let wrong = |message: String| StudyError::config(origin, message);
        let mut table: Table =
            text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        let methods = match table.remove("methods") {
            Some(Value::Array(methods)) => methods,
            Some(_) => return Err(wrong("`methods` must be tables, as in [[methods]]".into())),
            None => return Err(wrong("there is no [[methods]] table".into())),
        };
        let methods =
            methods.into_iter().map(|m| method(m, origin)).collect::<Result<Vec<_>, _>>()?;
        let ground = GroundConfig::take(&mut table, origin)?;
        let keys: Keys =
            Value::Table(table).try_into().map_err(|error| wrong(error.to_string()))?;
        let samples = match (keys.samples, &ground) {
            (Some(samples), _) => samples,
            (None, GroundConfig::World(_)) => DEFAULT_SAMPLES.to_vec(),
            (None, GroundConfig::Data(_)) => Vec::new(),
        };
        let first = methods.first().map(|method| method.name.clone()).unwrap_or_default();
        let config = Self {
            search_samples: keys.search_samples,
            baseline: keys.baseline.unwrap_or(first),
            seeds: keys.seeds,
            samples,
            learning_rates: keys.learning_rates,
            cost: keys.cost,
            divergence_threshold: keys.divergence_threshold,
            save_steps: keys.save_steps,
            ground,
            methods,
        };
        config.check()?;
        Ok(config)
    }

    /// Reads a study from a file; see [`from_toml`](Self::from_toml).
    ///
    /// # Errors
    ///
    /// [`StudyError`] naming the file, the key and what is allowed.
    pub fn from_file(path: &Path) -> Result<Self, StudyError> {
        let text = std::fs::read_to_string(path).map_err(StudyError::io(path))?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// Whether a learning rate is searched for.
    pub(super) fn searched(&self) -> bool {
        self.methods.iter().any(|method| method.learning_rate.is_none())
    }

    /// The learning rates that the search tries for a method; none where it names its rate.
    pub(super) fn grid<'a>(&'a self, method: &'a StudyMethod) -> &'a [f64] {
        match (method.learning_rate, method.learning_rates.is_empty()) {
            (Some(_), _) => &[],
            (None, true) => &self.learning_rates,
            (None, false) => &method.learning_rates,
        }
    }

    /// Checks what can be checked without running it.
    ///
    /// # Errors
    ///
    /// [`StudyError`] naming the key, what was found and what is allowed.
    pub fn check(&self) -> Result<(), StudyError> {
        let distinct = |count: usize, list: Vec<String>| {
            let unique: std::collections::BTreeSet<_> = list.iter().collect();
            count > 0 && unique.len() == count
        };
        if !distinct(self.seeds.len(), self.seeds.iter().map(u64::to_string).collect()) {
            return Err(StudyError::value("seeds", format!("{:?}", self.seeds), "different seeds"));
        }
        let samples: Vec<_> = self.samples.iter().map(usize::to_string).collect();
        let all = matches!(self.ground, GroundConfig::Data(_)) && samples.is_empty();
        if !all && (!distinct(self.samples.len(), samples) || self.samples.contains(&0)) {
            let found = format!("{:?}", self.samples);
            return Err(StudyError::value("samples", found, "different numbers above 0"));
        }
        if self.search_samples == Some(0) {
            return Err(StudyError::value("search_samples", 0, "at least 1"));
        }
        let names: Vec<_> = self.methods.iter().map(|method| method.name.clone()).collect();
        if !distinct(names.len(), names.clone()) {
            return Err(StudyError::value("methods", names.join(", "), "of different names"));
        }
        // Files and figures are named after methods, and the untuned model has a name of its own.
        let files: Vec<_> = names.iter().map(|name| file_name(name)).collect();
        if !distinct(files.len(), files) || names.iter().any(|name| name == BASE) {
            let allowed =
                format!("of names that differ in letters and digits, none of them `{BASE}`");
            return Err(StudyError::value("methods", names.join(", "), allowed));
        }
        if !names.contains(&self.baseline) {
            let allowed = format!("one of {}", names.join(", "));
            return Err(StudyError::value("baseline", &self.baseline, allowed));
        }
        let positive = |rate: &f64| rate.is_finite() && *rate > 0.0;
        if !positive(&self.divergence_threshold) {
            let found = self.divergence_threshold;
            return Err(StudyError::value("divergence_threshold", found, "a number above 0"));
        }
        let lacking = self
            .methods
            .iter()
            .any(|method| method.learning_rate.is_none() && self.grid(method).is_empty());
        if lacking || !self.learning_rates.iter().all(positive) {
            let found = format!("{:?}", self.learning_rates);
            return Err(StudyError::value("learning_rates", found, "numbers above 0"));
        }
        for method in &self.methods {
            let key = || format!("methods.{}.learning_rates", method.name);
            if method.learning_rate.is_some() && !method.learning_rates.is_empty() {
                let allowed = "either this or `learning_rate`";
                return Err(StudyError::value(key(), "given", allowed));
            }
            if !method.learning_rates.iter().all(positive) {
                let found = format!("{:?}", method.learning_rates);
                return Err(StudyError::value(key(), found, "numbers above 0"));
            }
            if let Some(rate) = method.learning_rate.filter(|rate| !positive(rate)) {
                let key = format!("methods.{}.learning_rate", method.name);
                return Err(StudyError::value(key, rate, "a number above 0"));
            }
            method.adapter.check()?;
        }
        Ok(())
    }
}

fn method(value: Value, origin: &str) -> Result<StudyMethod, StudyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Method {
        name: String,
        preset: Option<String>,
        #[serde(default)]
        adapter: Table,
        learning_rate: Option<f64>,
        #[serde(default)]
        learning_rates: Vec<f64>,
        #[serde(default = "yes")]
        equal_parameters: bool,
    }
    let wrong = |message: String| StudyError::config(origin, message);
    let Method { name, preset, mut adapter, learning_rate, learning_rates, equal_parameters } =
        value.try_into().map_err(|error| wrong(format!("[[methods]]: {error}")))?;
    if let Some(preset) = preset {
        adapter.insert("preset".into(), Value::String(preset));
    }
    let place = format!("{origin}, method {name}");
    let adapter = adapter_from_table(adapter, &place).map_err(|error| match error {
        error @ TrainError::Config { .. } => error,
        other => TrainError::Config { origin: place, message: other.to_string() },
    })?;
    Ok(StudyMethod { name, adapter, learning_rate, learning_rates, equal_parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = r#"
        seeds = [0, 1]
        samples = [100]
        [demo]
        hidden_size = 32
        [[methods]]
        name = "LoRA"
        preset = "lora"
        learning_rate = 1e-3
        [[methods]]
        name = "small"
        preset = "loramoe-paper"
        adapter = { r = 2 }
    "#;

    #[test]
    fn presets_are_overridden_by_the_adapters_keys() {
        let study = StudyConfig::from_toml(STUDY, "test").unwrap();
        assert_eq!(study.baseline, "LoRA");
        let GroundConfig::World(demo) = &study.ground else { panic!() };
        assert_eq!((demo.hidden_size, &study.samples[..]), (32, &[100][..]));
        assert_eq!((study.methods[1].adapter.r, study.methods[1].adapter.num_experts), (2, 6));
        assert_eq!(study.methods[0].learning_rate, Some(1e-3));
    }

    #[test]
    fn a_methods_own_grid_wins_over_the_studys() {
        let text = STUDY.replace("r = 2 }", "r = 2 }\nlearning_rates = [1e-5, 1e-4]");
        let study = StudyConfig::from_toml(&text, "test").unwrap();
        let grids: Vec<_> = study.methods.iter().map(|method| study.grid(method)).collect();
        assert_eq!(grids, [&[][..], &[1e-5, 1e-4]]);
        let study = StudyConfig::from_toml(STUDY, "test").unwrap();
        assert_eq!(study.grid(&study.methods[1]), &study.learning_rates);
    }

    #[test]
    fn a_study_on_data_takes_all_of_it_unless_told() {
        let data = "[model]\npath = \"m\"\n[data]\ntrain = [{ path = \"a\" }]\n\
                    retain = [{ path = \"b\" }]\nvalidation_split = 0.1\n";
        let text = STUDY.replace("[demo]\n        hidden_size = 32\n", data);
        let study = StudyConfig::from_toml(&text, "test").unwrap();
        assert_eq!(study.samples, [100]);
        let text = text.replace("samples = [100]\n", "\n");
        assert!(StudyConfig::from_toml(&text, "test").unwrap().samples.is_empty());
    }

    #[test]
    fn the_built_in_study_is_valid() {
        let study = StudyConfig::from_toml(StudyConfig::DEFAULT_TOML, "test").unwrap();
        assert_eq!((study.methods.len(), study.seeds.len()), (9, 3));
    }

    #[test]
    fn each_bad_value_is_refused_by_its_key() {
        let refused = |from: &str, to: &str| {
            let text = STUDY.replace(from, to);
            assert_ne!(text, STUDY);
            StudyConfig::from_toml(&text, "test").unwrap_err().to_string()
        };
        let cases = [
            ("seeds = [0, 1]", "seeds = [1, 1]", "`seeds`"),
            ("seeds = [0, 1]", "seeds = []", "`seeds`"),
            ("samples = [100]", "samples = []", "`samples`"),
            ("samples = [100]", "samples = [0]", "`samples`"),
            ("seeds", "search_samples = 0\nseeds", "`search_samples`"),
            ("seeds", "baseline = \"x\"\nseeds", "`baseline`"),
            ("seeds", "learning_rates = [-1.0]\nseeds", "`learning_rates`"),
            ("learning_rate = 1e-3", "learning_rate = 0.0", "learning_rate"),
            ("learning_rate = 1e-3", "learning_rates = [0.0]", "LoRA.learning_rates"),
            ("rate = 1e-3", "rate = 1e-3\nlearning_rates = [1e-3]", "either this or"),
            ("\"small\"", "\"LoRA\"", "`methods`"),
            ("\"small\"", "\"lora\"", "`methods`"),
            ("\"small\"", "\"base\"", "`methods`"),
            ("seeds", "divergence_threshold = 0.0\nseeds", "`divergence_threshold`"),
            ("seeds", "speed = 1\nseeds", "speed"),
            ("preset = \"lora\"", "preset = \"x\"", "preset"),
        ];
        for (from, to, named) in cases {
            let error = refused(from, to);
            assert!(error.contains(named), "{to}: {error}");
        }
        let error = StudyConfig::from_toml("seeds = [0]", "test").unwrap_err().to_string();
        assert!(error.contains("[[methods]]"), "{error}");
    }
}
