use std::path::Path;

use moe_adapter::AdapterConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::demo::DemoConfig;
use crate::run::adapter_from_table;
use crate::train::TrainError;

/// A comparison of methods under equal conditions.
///
/// Every method is tuned on the same samples for the same number of steps, with as many trainable
/// parameters as the baseline (its rank is solved for), at the learning rate that the same search
/// chose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyConfig {
    /// The seeds of worlds, pre-training, adapters and data; one run of each method for each.
    pub seeds: Vec<u64>,
    /// The amounts of tuning data, in samples.
    pub samples: Vec<usize>,
    /// The learning rates that the search tries for methods that name none.
    pub learning_rates: Vec<f64>,
    /// The amount of tuning data of the search, which runs on the first seed and is measured on
    /// the other half of the evaluation sets.
    pub search_samples: usize,
    /// The name of the method that others are compared with and equal in parameters.
    pub baseline: String,
    /// Whether speed and memory are measured.
    pub cost: bool,
    /// The world, the model and the tuning; `seed`, `samples` and `methods` in it are not used.
    pub demo: DemoConfig,
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
    /// Whether its rank is changed so that it has as many trainable parameters as the baseline.
    pub equal_parameters: bool,
}

/// The keys of a study's file beside its methods.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default = "default_seeds")]
    seeds: Vec<u64>,
    #[serde(default = "default_samples")]
    samples: Vec<usize>,
    #[serde(default = "default_learning_rates")]
    learning_rates: Vec<f64>,
    search_samples: Option<usize>,
    baseline: Option<String>,
    #[serde(default = "yes")]
    cost: bool,
    #[serde(default)]
    demo: DemoConfig,
}

fn default_seeds() -> Vec<u64> {
    vec![0, 1, 2]
}

fn default_samples() -> Vec<usize> {
    vec![8_000, 24_000]
}

fn default_learning_rates() -> Vec<f64> {
    vec![5e-4, 1e-3, 2e-3, 4e-3]
}

fn yes() -> bool {
    true
}

impl StudyConfig {
    /// Reads a study from TOML text. `origin` names it in errors.
    ///
    /// Each `[[methods]]` has a `name`, a `preset` or an `[methods.adapter]` table (or both: the
    /// table overrides the preset), and optionally `learning_rate` and `equal_parameters`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the key, what was found and what is allowed.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, TrainError> {
        let wrong = |message: String| TrainError::Config { origin: origin.into(), message };
        let mut table: Table =
            text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        let methods = match table.remove("methods") {
            Some(Value::Array(methods)) => methods,
            Some(_) => return Err(wrong("`methods` must be tables, as in [[methods]]".into())),
            None => return Err(wrong("there is no [[methods]] table".into())),
        };
        let methods =
            methods.into_iter().map(|m| method(m, origin)).collect::<Result<Vec<_>, _>>()?;
        let keys: Keys =
            Value::Table(table).try_into().map_err(|error| wrong(error.to_string()))?;
        let first = methods.first().map(|method| method.name.clone()).unwrap_or_default();
        let config = Self {
            search_samples: keys
                .search_samples
                .or(keys.samples.iter().copied().max())
                .unwrap_or_default(),
            baseline: keys.baseline.unwrap_or(first),
            seeds: keys.seeds,
            samples: keys.samples,
            learning_rates: keys.learning_rates,
            cost: keys.cost,
            demo: keys.demo,
            methods,
        };
        config.check()?;
        Ok(config)
    }

    /// Reads a study from a file; see [`from_toml`](Self::from_toml).
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, the key and what is allowed.
    pub fn from_file(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// Checks what can be checked without running it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the key, what was found and what is allowed.
    pub fn check(&self) -> Result<(), TrainError> {
        let distinct = |count: usize, list: Vec<String>| {
            let unique: std::collections::BTreeSet<_> = list.iter().collect();
            count > 0 && unique.len() == count
        };
        if !distinct(self.seeds.len(), self.seeds.iter().map(u64::to_string).collect()) {
            return Err(TrainError::value("seeds", format!("{:?}", self.seeds), "different seeds"));
        }
        let samples: Vec<_> = self.samples.iter().map(usize::to_string).collect();
        if !distinct(self.samples.len(), samples) || self.samples.contains(&0) {
            let found = format!("{:?}", self.samples);
            return Err(TrainError::value("samples", found, "different numbers above 0"));
        }
        if self.search_samples == 0 {
            return Err(TrainError::value("search_samples", 0, "at least 1"));
        }
        let names: Vec<_> = self.methods.iter().map(|method| method.name.clone()).collect();
        if !distinct(names.len(), names.clone()) {
            return Err(TrainError::value("methods", names.join(", "), "of different names"));
        }
        if !names.contains(&self.baseline) {
            let allowed = format!("one of {}", names.join(", "));
            return Err(TrainError::value("baseline", &self.baseline, allowed));
        }
        let searched = self.methods.iter().any(|method| method.learning_rate.is_none());
        let positive = |rate: &f64| rate.is_finite() && *rate > 0.0;
        if (searched && self.learning_rates.is_empty()) || !self.learning_rates.iter().all(positive)
        {
            let found = format!("{:?}", self.learning_rates);
            return Err(TrainError::value("learning_rates", found, "numbers above 0"));
        }
        for method in &self.methods {
            if let Some(rate) = method.learning_rate.filter(|rate| !positive(rate)) {
                let key = format!("methods.{}.learning_rate", method.name);
                return Err(TrainError::value(key, rate, "a number above 0"));
            }
            method.adapter.check()?;
        }
        Ok(())
    }
}

fn method(value: Value, origin: &str) -> Result<StudyMethod, TrainError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Method {
        name: String,
        preset: Option<String>,
        #[serde(default)]
        adapter: Table,
        learning_rate: Option<f64>,
        #[serde(default = "yes")]
        equal_parameters: bool,
    }
    let wrong = |message: String| TrainError::Config { origin: origin.into(), message };
    let Method { name, preset, mut adapter, learning_rate, equal_parameters } =
        value.try_into().map_err(|error| wrong(format!("[[methods]]: {error}")))?;
    if let Some(preset) = preset {
        adapter.insert("preset".into(), Value::String(preset));
    }
    let adapter = adapter_from_table(adapter, &format!("{origin}, method {name}"))?;
    Ok(StudyMethod { name, adapter, learning_rate, equal_parameters })
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
        assert_eq!((study.demo.hidden_size, study.search_samples), (32, 100));
        assert_eq!((study.methods[1].adapter.r, study.methods[1].adapter.num_experts), (2, 6));
        assert_eq!(study.methods[0].learning_rate, Some(1e-3));
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
            ("samples = [100]", "samples = [0]", "`samples`"),
            ("seeds", "search_samples = 0\nseeds", "`search_samples`"),
            ("seeds", "baseline = \"x\"\nseeds", "`baseline`"),
            ("seeds", "learning_rates = [-1.0]\nseeds", "`learning_rates`"),
            ("learning_rate = 1e-3", "learning_rate = 0.0", "learning_rate"),
            ("\"small\"", "\"LoRA\"", "`methods`"),
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
