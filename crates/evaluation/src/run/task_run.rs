use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use eval_tasks::{
    ChatTemplate, DataSources, Group, PromptOptions, Request, Response, Task, TaskIndex,
    TaskSummary,
};
use model_zoo::TextTokenizer;
use moe_adapter::FolderLock;
use serde_json::{Map, Value, json};

use super::chat::TokenizerChat;
use super::journal::Journal;
use super::record::records;
use super::{Answer, AnswerError, Hub, JOURNAL_FILE, RunError, RunOptions, file_hash};
use crate::results::{EvaluationResults, RESULTS_FILE, SampleCount, SampleRecord, write_samples};
use crate::scoring::Progress;

/// Tasks with their data, and all that a model is to be asked.
pub struct TaskRun {
    tasks: Vec<Asked>,
    groups: Vec<Group>,
    requests: Vec<Request>,
    bootstrap_iters: usize,
    about: Map<String, Value>,
}

/// A task, and the place of its requests among all.
struct Asked {
    task: Task,
    /// Of each document that is evaluated, the requests: each a place and a number of repeats.
    documents: Vec<Vec<(usize, usize)>>,
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// The folder, created where it is absent.
    pub folder: &'a Path,
    /// Whether an interrupted evaluation goes on.
    pub resume: bool,
}

impl TaskRun {
    /// Finds tasks, reads their data and makes the prompts. The tokenizer's chat template is used
    /// where the options say so.
    ///
    /// # Errors
    /// [`RunError::Task`] naming the file, the key and the row at fault.
    pub fn prepare(
        options: &RunOptions,
        tokenizer: Option<&TextTokenizer>,
    ) -> Result<Self, RunError> {
        let selection = TaskIndex::with_folders(&options.include_path)?.select(&options.tasks)?;
        let sources = DataSources { roots: options.data_dir.clone(), hub: Some(&Hub) };
        let chat = match (options.apply_chat_template, tokenizer) {
            (true, Some(tokenizer)) if tokenizer.has_chat_template() => {
                Some(TokenizerChat(tokenizer))
            }
            (true, _) => {
                return Err(RunError::Model(
                    "the model's tokenizer has no chat template, but --apply-chat-template asks \
                     for one"
                        .to_owned(),
                ));
            }
            (false, _) => None,
        };
        let prompts = PromptOptions {
            fewshot_seed: options.fewshot_seed,
            system_instruction: options.system_instruction.as_deref(),
            chat_template: chat.as_ref().map(|chat| chat as &dyn ChatTemplate),
            fewshot_as_multiturn: options.fewshot_as_multiturn,
        };
        let mut tasks = Vec::new();
        let mut requests = Vec::new();
        for (_, config) in selection.tasks {
            let task = Task::load(config, &sources, options.num_fewshot)?;
            let count = options.limit.of(task.documents().len());
            let mut documents = vec![Vec::new(); count];
            for instance in task.instances(&prompts, options.limit)? {
                documents[instance.document].push((requests.len(), instance.repeats));
                let copies = vec![instance.request; instance.repeats];
                requests.extend(copies);
            }
            tasks.push(Asked { task, documents });
        }
        let mut about = match options.about() {
            Value::Object(about) => about,
            _ => Map::new(),
        };
        about.insert("data_sha256".into(), json!(data_hashes(&tasks)?));
        let groups = selection.groups.into_values().collect();
        Ok(Self { tasks, groups, requests, bootstrap_iters: options.bootstrap_iters, about })
    }

    /// All that a model is asked.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The number of requests.
    pub fn num_requests(&self) -> usize {
        self.requests.len()
    }

    /// What results will be called: `task/metric`, with `,filter` where the task has filters, and
    /// whether more is better.
    pub fn metrics(&self) -> Vec<(String, bool)> {
        let tasks = self.tasks.iter().flat_map(|asked| {
            let config = asked.task.config();
            config.metrics.iter().flat_map(move |metric| {
                config.filters.iter().map(move |filter| {
                    let name = metric_name(&config.task, metric.metric.name(), &filter.name);
                    (name, metric.higher_is_better)
                })
            })
        });
        tasks.collect()
    }

    /// Asks the model, scores its answers, and with an output writes samples and results.
    ///
    /// `about` says what the model is; results say it too, and an evaluation resumes only as what
    /// it was. `observe` is told how far it is, of [`num_requests`](Self::num_requests).
    ///
    /// `observe` sees how far it is, and can end it.
    ///
    /// # Errors
    /// [`RunError`] naming the task and the document, or the file. Answers that were kept before
    /// stay, for resuming.
    pub fn evaluate(
        &self,
        model: &dyn Answer,
        about: Map<String, Value>,
        output: Option<Output<'_>>,
        observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<EvaluationResults, RunError> {
        let mut config = about;
        config.extend(self.about.clone());
        let config = Value::Object(config);
        let mut known: Vec<Option<Response>> = vec![None; self.requests.len()];
        let mut journal = None;
        let lock = output.map(|output| FolderLock::acquire(output.folder)).transpose()?;
        if let Some(output) = output {
            if let Some(done) = finished(output, &config)? {
                return Ok(done);
            }
            let (opened, answers) = if output.resume {
                Journal::resume(output.folder, &config, self.requests.len())?
            } else {
                (Journal::create(output.folder, &config)?, known)
            };
            (journal, known) = (Some(opened), answers);
        }
        let is_known: Vec<bool> = known.iter().map(Option::is_some).collect();
        let mut keep = |index: usize, response: Response, progress: Progress| {
            if let (Some(journal), false) = (&mut journal, is_known[index]) {
                journal.append(index, &response).map_err(AnswerError::Keep)?;
            }
            known[index] = Some(response);
            match observe(progress) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => {
                    let path = output.map(|output| output.folder.to_path_buf());
                    Err(AnswerError::Keep(RunError::Interrupted { path }))
                }
            }
        };
        model.answer(&self.requests, &is_known, &mut keep).map_err(|error| self.explain(error))?;
        let results = self.score(&known, config, output.map(|output| output.folder))?;
        if let (Some(output), Some(journal)) = (output, journal) {
            if let Some(lock) = &lock {
                lock.check()?;
            }
            results.write(output.folder)?;
            journal.remove()?;
        }
        Ok(results)
    }

    /// Names the task and the document of a request that could not be answered.
    pub fn explain(&self, error: AnswerError) -> RunError {
        let (index, message) = match error {
            AnswerError::Request { index, message } => (index, message),
            AnswerError::Model(message) => return RunError::Model(message),
            AnswerError::Keep(error) => return error,
        };
        let owner = self.tasks.iter().find_map(|asked| {
            let holds = |requests: &Vec<(usize, usize)>| {
                requests.iter().any(|(first, repeats)| (*first..first + repeats).contains(&index))
            };
            let document = asked.documents.iter().position(holds)?;
            Some((asked.task.config().task.clone(), document))
        });
        match owner {
            Some((task, document)) => RunError::Request { task, document, message },
            None => RunError::Model(message),
        }
    }

    fn score(
        &self,
        answers: &[Option<Response>],
        config: Value,
        folder: Option<&Path>,
    ) -> Result<EvaluationResults, RunError> {
        let mut results = EvaluationResults { config, ..EvaluationResults::default() };
        let mut summaries: BTreeMap<String, TaskSummary> = BTreeMap::new();
        for asked in &self.tasks {
            let (summary, samples) = self.score_task(asked, answers)?;
            let config = asked.task.config();
            let name = &config.task;
            if let Some(folder) = folder {
                write_samples(folder, name, &samples)?;
            }
            let alias = config.task_alias.as_deref().unwrap_or(name);
            results.results.insert(name.clone(), row(alias, &summary));
            let written: Map<String, Value> =
                config.written.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            results.configs.insert(name.clone(), Value::Object(written));
            let version = config.metadata.get("version").cloned().unwrap_or_default();
            results.versions.insert(name.clone(), version);
            results.num_fewshot.insert(name.clone(), asked.task.num_fewshot());
            let directions = config.metrics.iter();
            let directions =
                directions.map(|of| (of.metric.name().to_owned(), of.higher_is_better));
            results.higher_is_better.insert(name.clone(), directions.collect());
            let original = asked.task.documents().len();
            let count = SampleCount { original, effective: asked.documents.len() };
            results.num_samples.insert(name.clone(), count);
            summaries.insert(name.clone(), summary);
        }
        for group in &self.groups {
            let below: Vec<_> = group.tasks.iter().filter_map(|task| summaries.get(task)).collect();
            let summary = TaskSummary::of_group(&below, &group.metrics);
            let row = row(&group.alias, &summary);
            results.results.insert(group.name.clone(), row.clone());
            results.groups.insert(group.name.clone(), row);
            results.group_subtasks.insert(group.name.clone(), group.children.clone());
        }
        Ok(results)
    }

    fn score_task(
        &self,
        asked: &Asked,
        answers: &[Option<Response>],
    ) -> Result<(TaskSummary, Vec<SampleRecord>), RunError> {
        let mut scores = Vec::with_capacity(asked.documents.len());
        let mut samples = Vec::with_capacity(asked.documents.len());
        for (document, places) in asked.documents.iter().enumerate() {
            let requests: Vec<&Request> =
                places.iter().map(|(first, _)| &self.requests[*first]).collect();
            let responses: Vec<Vec<Response>> = places
                .iter()
                .map(|(first, repeats)| answers[*first..first + repeats].iter().flatten().cloned())
                .map(Iterator::collect)
                .collect();
            let score = asked.task.score(document, &responses)?;
            samples.extend(records(&asked.task, &score, &requests, &responses));
            scores.push(score);
        }
        Ok((asked.task.aggregate(&scores, self.bootstrap_iters)?, samples))
    }
}

/// A metric of a task, as `arc_easy/acc` or `gsm8k/exact_match,strict-match`.
pub(super) fn metric_name(task: &str, metric: &str, filter: &str) -> String {
    match filter {
        "none" => format!("{task}/{metric}"),
        filter => format!("{task}/{metric},{filter}"),
    }
}

/// A row of results, with the harness's keys.
fn row(alias: &str, summary: &TaskSummary) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("alias".into(), json!(alias));
    for metric in &summary.metrics {
        row.insert(metric.key(), json!(metric.value));
        let stderr = metric.stderr.map_or_else(|| json!("N/A"), |error| json!(error));
        row.insert(metric.stderr_key(), stderr);
    }
    row
}

/// The SHA-256 of each file of data.
fn data_hashes(tasks: &[Asked]) -> Result<BTreeMap<String, String>, RunError> {
    let files: BTreeSet<_> = tasks.iter().flat_map(|asked| asked.task.files()).collect();
    files.into_iter().map(|file| Ok((file.display().to_string(), file_hash(file)?))).collect()
}

/// The results of an evaluation that is resumed though it is complete.
///
/// # Errors
/// Where the folder holds an evaluation that is not to be resumed, or another one.
fn finished(output: Output<'_>, config: &Value) -> Result<Option<EvaluationResults>, RunError> {
    let Output { folder, resume } = output;
    std::fs::create_dir_all(folder).map_err(RunError::io(folder))?;
    let (results, journal) = (folder.join(RESULTS_FILE), folder.join(JOURNAL_FILE));
    if !resume && (results.exists() || journal.exists()) {
        return Err(RunError::OutputExists { path: folder.into() });
    }
    if !results.exists() {
        return Ok(None);
    }
    let done = EvaluationResults::read(folder)?;
    super::journal::check_same(&results, &done.config, config)?;
    if journal.exists() {
        std::fs::remove_file(&journal).map_err(RunError::io(&journal))?;
    }
    Ok(Some(done))
}
