use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use burn::tensor::Device;
use model_zoo::{CausalLm, Decoder, ModelError, TextTokenizer, resolve_model};
use rand::seq::SliceRandom;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use router::stable_hash;
use serde_json::Map;

use super::config::{KEPT_TASKS, LEARNED_TASKS};
use super::sets::{Cut, Set, Sets, check_room, windows};
use super::{DataGroundConfig, DataMeasures, Ground, Kind, Role};
use crate::Setting;
use crate::StudyError;
use crate::checkpoints::RunCheckpoints;
use crate::demo::{DemoMethod, Half};
use crate::tune::{OnStep, Tuning, tune};
use crate::{RunMeasures, StudyAbout, StudyMethod};
use data::{
    BatchPlan, DataFile, EncodeConfig, EncodeReport, Sample, encode_records, paths, read_records,
    split,
};
use evaluation::{ExactMatch, evaluate};
use finetune::run::{TaskEvaluation, TaskEvaluationConfig, load_base};
use finetune::train::TrainingConfig;

/// The seed of what is held out, which is the same for all runs.
const HOLD_OUT_SEED: u64 = 42;

/// A model and data of the user's. All seeds share the model; each has a choice and an order of
/// the training samples of its own.
#[derive(Clone)]
pub(crate) struct DataGround {
    config: DataGroundConfig,
    seeds: Vec<u64>,
    model: Decoder,
    tokenizer: TextTokenizer,
    train: Vec<Sample>,
    train_report: EncodeReport,
    validation: Sets,
    test: Sets,
    files: Vec<(String, String)>,
    svd_cache: PathBuf,
}

impl DataGround {
    /// Reads the model and the data. With `searched` the sets to measure on are halved, one for
    /// the search of learning rates and one for the report; otherwise the report has all of them.
    pub(crate) fn new(
        config: &DataGroundConfig,
        seeds: &[u64],
        methods: &[StudyMethod],
        searched: bool,
        cache: &Path,
        device: &Device,
    ) -> Result<Self, StudyError> {
        let DataGroundConfig { model: source, data, measures, .. } = config;
        let folder =
            resolve_model(&source.path, source.revision.as_deref()).map_err(ModelError::from)?;
        let tokenizer = TextTokenizer::from_folder(&folder)?;
        let model = load_base(&folder, source, device)?;
        let encoding = EncodeConfig {
            template: data.template.clone(),
            max_length: data.longest(model.max_positions()),
            train_on_prompt: data.train_on_prompt,
            chat: data.chat,
            ..EncodeConfig::default()
        };

        let mut train = read_records(&data.train)?;
        let tasks = match (&data.validation[..], data.validation_split) {
            ([], Some(hold_out)) => {
                let (kept, held_out) = split(train, hold_out, HOLD_OUT_SEED)?;
                train = kept;
                held_out
            }
            (files, _) => read_records(files)?,
        };
        let (train, train_report) = encode_records(&train, &tokenizer, &encoding)?;
        check_task_types(methods, &train)?;
        let retain = read_records(&measures.retain)?;
        let text = windows(&measures.text, &tokenizer, encoding.max_length)?;

        let cut = Cut { searched, tokenizer: &tokenizer, encoding: &encoding };
        let (tasks_validation, tasks) = cut.sets("data.validation", tasks)?;
        let (retain_validation, retain) = cut.sets("data.retain", retain)?;
        let (text_validation, text) = cut.halves("data.text", text)?;
        if measures.exact_match_samples > 0 {
            for set in [&tasks, &retain, &tasks_validation, &retain_validation] {
                check_room(set, &tokenizer, config, model.max_positions())?;
            }
        }
        for (key, tasks) in benchmarks(measures) {
            let metrics = TaskEvaluation::new(tasks, &tokenizer, Path::new(""))?.metrics();
            headline(key, &metrics)?;
        }
        let files = data.train.iter().chain(&data.validation).chain(&measures.retain);
        let mut hashes = Vec::new();
        for path in files.map(|DataFile { path, .. }| path).chain(&measures.text) {
            for file in paths(path)? {
                hashes.push(hashed(&file)?);
            }
        }
        Ok(Self {
            config: config.clone(),
            seeds: seeds.to_vec(),
            files: hashes,
            validation: Sets {
                tasks: tasks_validation,
                knowledge: retain_validation,
                text: text_validation,
            },
            test: Sets { tasks, knowledge: retain, text },
            svd_cache: source.svd_cache.clone().unwrap_or_else(|| cache.join("svd")),
            model,
            tokenizer,
            train,
            train_report,
        })
    }

    fn sets(&self, half: Half) -> &Sets {
        match half {
            Half::Validation => &self.validation,
            Half::Test => &self.test,
        }
    }

    /// The loss of the answers, and by how many of them are right, or else how probable their
    /// tokens are, from 0 to 1.
    fn answers(&self, model: &Decoder, set: &Set) -> Result<(f64, f64), StudyError> {
        let measures = &self.config.measures;
        let batch_size = self.config.training.per_device_eval_batch_size;
        let loss = evaluate(model, &set.samples, batch_size)?.loss;
        if measures.exact_match_samples == 0 || !loss.is_finite() {
            return Ok((loss, (-loss).exp()));
        }
        let exact_match = ExactMatch {
            template: &self.config.data.template,
            max_new_tokens: measures.max_new_tokens,
            batch_size,
        };
        let few = &set.records[..set.records.len().min(measures.exact_match_samples)];
        Ok((loss, exact_match.share(model, &self.tokenizer, few)?))
    }

    /// The mean score of benchmark tasks; that of each is put among `scores`.
    fn score(
        &self,
        model: &Decoder,
        (key, tasks): (&str, &TaskEvaluationConfig),
        scores: &mut BTreeMap<String, f64>,
    ) -> Result<f64, StudyError> {
        let tasks = TaskEvaluation::new(tasks, &self.tokenizer, Path::new(""))?;
        let names = headline(key, &tasks.metrics())?;
        let mut sum = 0.0;
        for measured in tasks.scores(model, Map::new(), None)? {
            if names.contains(&measured.name) {
                sum += measured.value;
                scores.insert(measured.name, measured.value);
            }
        }
        Ok(sum / names.len() as f64)
    }

    /// The steps of a run over so many samples.
    fn plan(
        &self,
        training: &TrainingConfig,
        samples: &[Sample],
    ) -> Result<Vec<Vec<Vec<usize>>>, StudyError> {
        let lengths: Vec<_> = samples.iter().map(Sample::len).collect();
        let batch_size = training.per_device_train_batch_size;
        let by_length = training.group_by_length;
        let plan = BatchPlan::new(&lengths, batch_size, training.seed, by_length, false)?;
        let passes = training.gradient_accumulation_steps;
        let mut order = (u64::MAX, Vec::new());
        let mut pass = |at: usize| {
            let (epoch, index) = plan.locate(at as u64);
            if order.0 != epoch {
                order = (epoch, plan.batches(epoch));
            }
            order.1[index].clone()
        };
        Ok((0..training.total_steps(plan.batches_per_epoch()))
            .map(|step| (0..passes).map(|micro| pass(step * passes + micro)).collect())
            .collect())
    }
}

impl Ground for DataGround {
    fn model(&self, _seed: usize) -> &Decoder {
        &self.model
    }

    fn one_model(&self) -> bool {
        true
    }

    fn steps(&self, amount: usize) -> usize {
        let training = &self.config.training;
        training.total_steps(amount.div_ceil(training.per_device_train_batch_size))
    }

    fn most_samples(&self) -> Option<usize> {
        Some(self.train.len())
    }

    fn tune(
        &self,
        seed: usize,
        method: &DemoMethod,
        amount: usize,
        kept: Option<&mut RunCheckpoints>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Decoder, StudyError> {
        let training = TrainingConfig {
            seed: self.seeds[seed],
            learning_rate: method.learning_rate,
            ..self.config.training.clone()
        };
        // A smaller amount is part of every larger one.
        let mut order: Vec<&Sample> = self.train.iter().collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(training.seed));
        let samples: Vec<Sample> = order.into_iter().take(amount).cloned().collect();
        let tuning = Tuning {
            adapter: &method.adapter,
            training: &training,
            samples: &samples,
            steps: &self.plan(&training, &samples)?,
            svd_cache: Some(&self.svd_cache),
        };
        Ok(tune(&self.model, &tuning, kept, on_step)?.model)
    }

    fn measure(
        &self,
        _seed: usize,
        model: &Decoder,
        half: Half,
    ) -> Result<RunMeasures, StudyError> {
        let sets = self.sets(half);
        let (task_loss, mut tasks) = self.answers(model, &sets.tasks)?;
        let (knowledge_loss, mut knowledge) = self.answers(model, &sets.knowledge)?;
        let mut scores = BTreeMap::new();
        // A search goes by the records, so that no benchmark decides on a learning rate.
        if half == Half::Test && task_loss.is_finite() && knowledge_loss.is_finite() {
            for (key, config) in benchmarks(&self.config.measures) {
                let score = self.score(model, (key, config), &mut scores)?;
                *(if key == LEARNED_TASKS { &mut tasks } else { &mut knowledge }) = score;
            }
        }
        let text_loss = match sets.text.is_empty() {
            true => knowledge_loss,
            false => {
                evaluate(model, &sets.text, self.config.training.per_device_eval_batch_size)?.loss
            }
        };
        Ok(RunMeasures {
            knowledge,
            tasks,
            text_loss,
            knowledge_loss: Some(knowledge_loss),
            task_loss: Some(task_loss),
            scores,
            routing: None,
        })
    }

    fn kinds(&self, _seed: usize) -> Result<Vec<Kind>, StudyError> {
        let Sets { tasks, knowledge, text } = &self.test;
        let kind = |name: String, role, samples: Vec<Sample>| Kind { name, role, samples };
        let mut types: Vec<_> = tasks.samples.iter().map(|sample| sample.task_type).collect();
        types.sort_unstable();
        types.dedup();
        let mut kinds: Vec<Kind> = types
            .iter()
            .map(|task_type| {
                let own = tasks.samples.iter().filter(|sample| sample.task_type == *task_type);
                let name = match (types.len(), task_type) {
                    (2.., Some(number)) => format!("type {number}"),
                    _ => "tasks".to_owned(),
                };
                kind(name, Role::Tasks, own.cloned().collect())
            })
            .collect();
        kinds.push(kind("knowledge".into(), Role::Knowledge, knowledge.samples.clone()));
        if !text.is_empty() {
            kinds.push(kind("text".into(), Role::Text, text.clone()));
        }
        Ok(kinds)
    }

    fn cost_shape(&self) -> [usize; 2] {
        let tokens: usize = self.train.iter().map(Sample::len).sum();
        let mean = tokens.div_ceil(self.train.len().max(1)).max(2);
        [self.config.training.per_device_train_batch_size, mean]
    }

    fn threads(&self, workers: usize) -> usize {
        let all = available_parallelism().map_or(1, |threads| threads.get());
        (all / workers.max(1)).max(1)
    }

    fn settings(&self) -> Vec<Setting> {
        let DataGroundConfig { model, data, training, .. } = &self.config;
        let mut settings = vec![
            Setting::new("model", model.path.display()),
            Setting::new("training data", self.train_report),
            Setting::new("longest sample", format!("{} tokens", data.max_length)),
            Setting::new(
                "tuning",
                format!(
                    "{} samples a step, {} epochs, {:?} after {:.0} % warm-up",
                    training.per_device_train_batch_size * training.gradient_accumulation_steps,
                    training.num_train_epochs,
                    training.lr_scheduler_type,
                    100.0 * training.warmup_ratio
                ),
            ),
            Setting::new(
                "measured on",
                format!(
                    "{} records of tasks, {} to be retained, {} windows of text",
                    self.test.tasks.records.len(),
                    self.test.knowledge.records.len(),
                    self.test.text.len()
                ),
            ),
        ];
        settings.extend(
            self.files.iter().map(|(path, hash)| Setting::new(path, format!("FNV-1a {hash}"))),
        );
        settings
    }

    fn about(&self) -> StudyAbout {
        let measures = &self.config.measures;
        let how = match measures.exact_match_samples {
            0 => "the probability of a token of the right answer, exp(\u{2212}loss), the geometric mean over all tokens"
                .to_owned(),
            n => format!("the share of the first {n} records whose greedy answer is exactly the right one"),
        };
        let text = match measures.text.is_empty() {
            true => "Text loss: that of the answers of knowledge, for there is no data.text.",
            false => "Text loss: that of data.text.",
        };
        StudyAbout {
            setting: format!(
                "Every method tunes the model {} on the same records. Seeds differ in the choice and order of the \
                 records and in the start of the adapters; the model is the same.",
                self.config.model.path.display()
            ),
            measures: {
                let names = |tasks: &TaskEvaluationConfig| tasks.tasks.join(", ");
                let by_tasks: String = benchmarks(measures)
                    .map(|(key, tasks)| match key {
                        LEARNED_TASKS => format!(" Tasks: the mean score of {}.", names(tasks)),
                        _ => format!(" Knowledge: the mean score of {}.", names(tasks)),
                    })
                    .collect();
                let otherwise =
                    if by_tasks.is_empty() { "" } else { "Where nothing else is said, " };
                let what = if by_tasks.is_empty() { "Knowledge" } else { "knowledge" };
                format!(
                    "{otherwise}{what} and tasks: {how}, on data.retain and on the validation data.\
                     {by_tasks} {text}"
                )
            },
        }
    }

    fn fingerprint(&self) -> Vec<(String, String)> {
        self.files.clone()
    }
}

/// The benchmark tasks that are asked for, with their keys.
fn benchmarks(
    measures: &DataMeasures,
) -> impl Iterator<Item = (&'static str, &TaskEvaluationConfig)> {
    let asked = [(LEARNED_TASKS, &measures.learned_tasks), (KEPT_TASKS, &measures.kept_tasks)];
    asked.into_iter().filter_map(|(key, tasks)| Some((key, tasks.as_ref()?)))
}

/// The metric of each task that counts: the first one, of which more has to be better.
fn headline(key: &str, metrics: &[(String, bool)]) -> Result<Vec<String>, StudyError> {
    let task = |name: &str| name.split('/').next().unwrap_or(name).to_owned();
    let mut found: Vec<String> = Vec::new();
    for (name, higher_is_better) in metrics {
        if found.iter().any(|other| task(other) == task(name)) {
            continue;
        }
        if !higher_is_better {
            let allowed = "tasks with accuracies, whose first metric is better the higher it is";
            return Err(StudyError::value(format!("data.{key}.tasks"), name, allowed));
        }
        found.push(name.clone());
    }
    Ok(found)
}

/// A balance loss that needs task types would fail in the middle of the study otherwise.
fn check_task_types(methods: &[StudyMethod], train: &[Sample]) -> Result<(), StudyError> {
    let untyped = train.iter().any(|sample| sample.task_type.is_none());
    let needs = methods.iter().find(|method| {
        let loss = method.adapter.balance_loss.as_ref();
        loss.is_some_and(|loss| loss.needs_task_types())
    });
    match needs.filter(|_| untyped) {
        Some(method) => Err(StudyError::value(
            "data.train",
            "without a `task_type`",
            format!("of records that have one, which the balance loss of {} needs", method.name),
        )),
        None => Ok(()),
    }
}

fn hashed(path: &Path) -> Result<(String, String), StudyError> {
    let bytes = std::fs::read(path).map_err(StudyError::io(path))?;
    Ok((path.display().to_string(), format!("{:016x}", stable_hash(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_metric_of_each_task_counts_and_has_to_be_an_accuracy() {
        let metrics = |all: &[(&str, bool)]| {
            let own = |(name, higher): &(&str, bool)| ((*name).to_owned(), *higher);
            headline("learned_tasks", &all.iter().map(own).collect::<Vec<_>>())
        };
        let found = metrics(&[("a/acc", true), ("a/loss", false), ("b/f1", true), ("b/acc", true)]);
        assert_eq!(found.unwrap(), ["a/acc", "b/f1"]);
        let error = metrics(&[("a/acc", true), ("b/loss", false)]).unwrap_err().to_string();
        assert!(error.contains("data.learned_tasks.tasks") && error.contains("b/loss"), "{error}");
    }
}
