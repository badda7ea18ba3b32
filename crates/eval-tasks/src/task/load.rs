use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use record_files::{Origin, Row};
use serde_json::Value;

use crate::TaskError;
use crate::config::{FieldSource, OutputType, TaskConfig};
use crate::data::{DataSources, Document, Split, load_split};
use crate::template::Prompts;

/// A task with its documents and examples.
pub struct Task {
    pub(super) config: TaskConfig,
    pub(super) prompts: Prompts,
    pub(super) documents: Vec<Document>,
    pub(super) examples: Vec<Document>,
    pub(super) num_fewshot: usize,
    /// Whether the choices stand in the context, and the question names the right one.
    pub(super) multiple_inputs: bool,
    /// Whether a document has several right answers.
    pub(super) multiple_targets: bool,
    files: Vec<PathBuf>,
}

impl Task {
    /// Reads the data of a task.
    ///
    /// `num_fewshot` replaces the number of the task, unless the task says 0. The examples are
    /// only read if there are to be some.
    ///
    /// # Errors
    /// Data that is not there or not readable, a split without rows, a template that is wrong or
    /// that asks the first document for something it lacks.
    pub fn load(
        config: TaskConfig,
        sources: &DataSources<'_>,
        num_fewshot: Option<usize>,
    ) -> Result<Self, TaskError> {
        let num_fewshot = match (config.num_fewshot, num_fewshot) {
            (Some(0), _) | (None, None) => 0,
            (_, Some(count)) | (Some(count), None) => count,
        };
        let split = config.evaluated_split().to_owned();
        let Split { documents, mut files } =
            load_split(&config, sources, &split, config.process_docs)?;
        let prompted = config.output_type != OutputType::LogLikelihoodRolling;
        let examples = if num_fewshot > 0 && prompted {
            let loaded = examples(&config, sources)?;
            files.extend(
                loaded.files.into_iter().filter(|file| !files.contains(file)).collect::<Vec<_>>(),
            );
            loaded.documents
        } else {
            Vec::new()
        };
        let columns: HashSet<String> = documents
            .iter()
            .flat_map(|document| document.row.columns())
            .map(str::to_owned)
            .collect();
        let prompts = Prompts::new(fields(&config), columns, config.doc_to_choice.is_some())?;
        let mut task = Self {
            config,
            prompts,
            documents,
            examples,
            num_fewshot,
            multiple_inputs: false,
            multiple_targets: false,
            files,
        };
        task.look_at_first()?;
        Ok(task)
    }

    /// The first document tells whether there are several inputs or targets.
    fn look_at_first(&mut self) -> Result<(), TaskError> {
        let first = &self.documents[0];
        if let (Some(text), Some(_)) = (&self.config.doc_to_text, &self.config.doc_to_choice)
            && self.config.output_type == OutputType::MultipleChoice
        {
            self.multiple_inputs = index(&self.prompts.text(text, first)?).is_some();
        }
        let target = self.target(first)?;
        self.multiple_targets = target.as_array().is_some_and(|targets| !targets.is_empty());
        Ok(())
    }

    /// What the task's file says.
    pub fn config(&self) -> &TaskConfig {
        &self.config
    }

    /// The documents that are evaluated.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// How many examples a prompt has.
    pub fn num_fewshot(&self) -> usize {
        self.num_fewshot
    }

    /// The files of data that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The right answer of a document: a text, an index, or a list of either.
    ///
    /// # Errors
    /// If the document lacks what it is made of.
    pub fn target(&self, document: &Document) -> Result<Value, TaskError> {
        match &self.config.doc_to_target {
            Some(field) => self.prompts.target(field, document),
            None => Ok(Value::Null),
        }
    }

    /// The choices of a document, if the task has any.
    ///
    /// # Errors
    /// If the document lacks what they are made of.
    pub fn choices(&self, document: &Document) -> Result<Option<Vec<String>>, TaskError> {
        let field = self.config.doc_to_choice.as_ref();
        field.map(|field| self.prompts.choices(field, document)).transpose()
    }
}

/// An integer, or a truth value, which Python counts among them.
pub(super) fn index(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_bool().map(i64::from))
}

fn fields(config: &TaskConfig) -> impl Iterator<Item = &FieldSource> {
    let fewshot = &config.fewshot;
    [
        &config.doc_to_text,
        &config.doc_to_text_pair,
        &config.doc_to_target,
        &config.doc_to_choice,
        &config.doc_to_image,
        &config.description,
        &config.gen_prefix,
        &fewshot.doc_to_text,
        &fewshot.doc_to_target,
        &fewshot.doc_to_choice,
        &fewshot.gen_prefix,
    ]
    .into_iter()
    .flatten()
}

/// The rows that examples are drawn from: of the configured split, the samples in the task's file,
/// or else of the training, validation or test split.
fn examples(config: &TaskConfig, sources: &DataSources<'_>) -> Result<Split, TaskError> {
    let fewshot = &config.fewshot;
    if let Some(split) = &fewshot.split {
        return load_split(config, sources, split, fewshot.process_docs.or(config.process_docs));
    }
    if let Some(samples) = &fewshot.samples {
        let file: Arc<Path> = config.place.file.clone();
        let document = |(row, sample): (usize, &Row)| Document {
            row: sample.clone(),
            origin: Origin { file: file.clone(), row, line: None },
        };
        let documents = samples.iter().enumerate().map(document).collect();
        return Ok(Split { documents, files: Vec::new() });
    }
    let splits = [&config.training_split, &config.validation_split, &config.test_split];
    let split = splits.into_iter().flatten().next().map_or("", String::as_str);
    load_split(config, sources, split, config.process_docs)
}
