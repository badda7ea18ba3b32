use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::Divergence;
use crate::{Setting, row::number};

/// Everything that a study measured, run by run: what reports, tables and files are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyResults {
    /// The command that repeats it.
    pub command: String,
    /// The version of this library.
    pub version: String,
    /// Everything else that was held equal.
    pub settings: Vec<Setting>,
    /// What was measured, in words.
    pub about: StudyAbout,
    /// The method that others are compared with, pairwise by seed.
    pub baseline: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The amounts of tuning data, ascending.
    pub samples: Vec<usize>,
    /// The methods, in the order of the configuration.
    pub methods: Vec<MethodResults>,
    /// The base model before tuning, one for each seed.
    pub base: Vec<BaseResult>,
    /// The runs, one for each method, seed and amount of data.
    pub runs: Vec<RunRecord>,
    /// The names of runs that are not there yet, those of the search included; empty where the study
    /// is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// What a study measured, in words for its readers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyAbout {
    /// What is tuned and on what, a paragraph.
    pub setting: String,
    /// What knowledge and tasks are, a sentence.
    pub measures: String,
}

/// A method of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodResults {
    /// Its name.
    pub name: String,
    /// Its experts, rank, router and start in a few words.
    pub description: String,
    /// The rank that gives it its number of trainable parameters; absent where it has none.
    pub rank: Option<usize>,
    /// The trainable parameters.
    pub trainable_parameters: usize,
    /// Whether the rank was solved for as many trainable parameters as the baseline's.
    pub equal_parameters: bool,
    /// The learning rate that the search chose.
    pub learning_rate: f64,
    /// The search, one entry for each learning rate of the grid; empty where the learning rate was
    /// given.
    pub search: Vec<SearchPoint>,
    /// Its cost; absent where it was not measured.
    pub cost: Option<MethodCost>,
}

/// One learning rate of a search, measured on the validation half.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchPoint {
    /// The learning rate.
    pub learning_rate: f64,
    /// Tasks learned.
    #[serde(deserialize_with = "number")]
    pub tasks: f64,
    /// Knowledge kept.
    #[serde(deserialize_with = "number")]
    pub knowledge: f64,
    /// Whether the run diverged.
    pub diverged: bool,
}

/// What a method costs, measured one method at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MethodCost {
    /// Tokens per second in training.
    pub train_tokens_per_s: f64,
    /// Tokens per second in generation.
    pub generate_tokens_per_s: f64,
    /// The largest resident memory in training, in MiB; 0 where the system does not tell.
    pub peak_rss_mb: f64,
}

/// The base model of a seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BaseResult {
    /// The seed of its world and its pre-training.
    pub seed: u64,
    /// Knowledge kept, from 0 to 1: the share answered exactly, or what [`StudyAbout`] says.
    #[serde(deserialize_with = "number")]
    pub knowledge: f64,
    /// Tasks learned, from 0 to 1, likewise.
    #[serde(deserialize_with = "number")]
    pub tasks: f64,
    /// The mean cross-entropy of held-out text, in nats per token.
    #[serde(deserialize_with = "number")]
    pub text_loss: f64,
    /// The mean cross-entropy of the answers by which knowledge is measured, in nats per token;
    /// absent where it is not.
    #[serde(default)]
    pub knowledge_loss: Option<f64>,
    /// That of the answers by which tasks are measured.
    #[serde(default)]
    pub task_loss: Option<f64>,
    /// The value of each benchmark task, as in `arc_easy/acc`; empty where there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
}

/// One tuning run and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The method's name.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// The amount of tuning data.
    pub samples: usize,
    /// The learning rate.
    pub learning_rate: f64,
    /// Why the run diverged; absent where it did not.
    pub diverged: Option<Divergence>,
    /// What was measured; absent where the loss became no number. That of a model that was ruined
    /// is kept, but is in no mean and no table.
    pub measured: Option<RunMeasures>,
    /// Training loss by step.
    #[serde(deserialize_with = "points")]
    pub curve: Vec<(f64, f64)>,
    /// The wall-clock time of the tuning in seconds.
    pub seconds: f64,
}

impl RunRecord {
    /// What counts of the run: nothing where it diverged.
    pub fn counted(&self) -> Option<&RunMeasures> {
        self.measured.as_ref().filter(|_| self.diverged.is_none())
    }
}

/// What was measured of a tuned model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunMeasures {
    /// Knowledge kept, from 0 to 1: the share answered exactly, or what [`StudyAbout`] says.
    #[serde(deserialize_with = "number")]
    pub knowledge: f64,
    /// Tasks learned, from 0 to 1, likewise.
    #[serde(deserialize_with = "number")]
    pub tasks: f64,
    /// The mean cross-entropy of held-out text, in nats per token.
    #[serde(deserialize_with = "number")]
    pub text_loss: f64,
    /// The mean cross-entropy of the answers by which knowledge is measured, in nats per token;
    /// absent where it is not.
    #[serde(default)]
    pub knowledge_loss: Option<f64>,
    /// That of the answers by which tasks are measured.
    #[serde(default)]
    pub task_loss: Option<f64>,
    /// The value of each benchmark task, as in `arc_easy/acc`; empty where there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// How it routes; absent where nothing is routed.
    pub routing: Option<RoutingMeasures>,
}

/// How a tuned mixture routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutingMeasures {
    /// The entropy of the combine weights over the logarithm of the number of experts, mean over
    /// tokens and routers.
    #[serde(deserialize_with = "number")]
    pub entropy: f64,
    /// The largest mean share of an expert at any router.
    #[serde(deserialize_with = "number")]
    pub largest_share: f64,
    /// The experts that are used for hardly any token, over all routers, as a share of all.
    #[serde(deserialize_with = "number")]
    pub dead_experts: f64,
    /// The mutual information of expert and kind of text, in nats, mean over routers.
    #[serde(deserialize_with = "number")]
    pub specialisation: f64,
    /// The share of identity experts on the tuned tasks and on general text; absent where there
    /// are none.
    pub identity_share: Option<(f64, f64)>,
    /// The mean share of each expert, by router and kind of text.
    pub shares: Vec<ExpertShares>,
}

/// The mean share of each expert of one router on one kind of text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertShares {
    /// The layer.
    pub layer: usize,
    /// The projection or block.
    pub module: String,
    /// The kind of text: `knowledge`, `tasks` or `text`.
    pub kind: String,
    /// By expert; they sum to the mean sum of weights.
    pub shares: Vec<f64>,
    /// The share of tokens that selected each expert; 1 everywhere in dense routing.
    #[serde(default)]
    pub load: Vec<f64>,
}

fn points<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(f64, f64)>, D::Error> {
    let points: Vec<(Option<f64>, Option<f64>)> = Vec::deserialize(deserializer)?;
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Ok(points.into_iter().map(|(step, loss)| (number(step), number(loss))).collect())
}
