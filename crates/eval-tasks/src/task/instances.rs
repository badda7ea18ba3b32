use std::path::PathBuf;

use serde_json::Value;

use super::load::index;
use super::{Limit, PromptOptions, Task};
use crate::TaskError;
use crate::config::{FieldSource, OutputType};
use crate::data::Document;
use crate::fewshot::{Contexts, Delimiters, ExampleSampler, Message, Shot, join_boundary, turn};
use crate::metric::Metric;
use crate::python::is_space;
use crate::request::{ImageSource, Instance, Request};

impl Task {
    /// The requests of the first documents, document after document.
    ///
    /// # Errors
    /// A document or example that lacks what the prompt asks for, too few examples, a chat
    /// template that refuses the conversation.
    pub fn instances(
        &self,
        options: &PromptOptions<'_>,
        limit: Limit,
    ) -> Result<Vec<Instance>, TaskError> {
        let sampler = self.config.fewshot.sampler;
        let mut sampler = ExampleSampler::new(&self.examples, sampler, options.fewshot_seed);
        let mut instances = Vec::new();
        for (number, document) in
            self.documents[..limit.of(self.documents.len())].iter().enumerate()
        {
            let requests = self.requests(document, number, &mut sampler, options)?;
            instances.extend(requests.into_iter().enumerate().map(|(index, request)| Instance {
                document: number,
                index,
                repeats: self.config.repeats,
                request,
            }));
        }
        Ok(instances)
    }

    fn requests(
        &self,
        document: &Document,
        number: usize,
        sampler: &mut ExampleSampler<'_>,
        options: &PromptOptions<'_>,
    ) -> Result<Vec<Request>, TaskError> {
        match self.config.output_type {
            OutputType::LogLikelihoodRolling => {
                let text = self.target_text(document)?;
                return Ok(vec![Request::LogLikelihoodRolling { text }]);
            }
            OutputType::SequenceClassification => {
                let text = self.required(&self.config.doc_to_text, document)?;
                let pair = self.config.doc_to_text_pair.as_ref();
                let text_pair =
                    pair.map(|field| self.prompts.plain(field, document)).transpose()?;
                return Ok(vec![Request::SequenceClassification { text, text_pair }]);
            }
            OutputType::ImageClassification => {
                let labels = self.choices(document)?.unwrap_or_default();
                let image = self.image(document)?;
                return Ok(vec![Request::ImageClassification { image, labels }]);
            }
            OutputType::LogLikelihood | OutputType::MultipleChoice | OutputType::GenerateUntil => {}
        }
        let gen_prefix = self.config.gen_prefix.as_ref();
        let gen_prefix = gen_prefix.map(|field| self.prompts.plain(field, document)).transpose()?;
        let contexts = self.contexts(document, number, gen_prefix.as_deref(), sampler, options)?;
        Ok(match self.config.output_type {
            OutputType::MultipleChoice => self.choice_requests(document, contexts, options)?,
            OutputType::GenerateUntil => contexts
                .into_iter()
                .map(|context| Request::GenerateUntil {
                    context,
                    generation: self.config.generation.clone(),
                })
                .collect(),
            _ => {
                let continuation = self.target_text(document)?;
                let ask = |context| Request::LogLikelihood {
                    context,
                    continuation: continuation.clone(),
                };
                contexts.into_iter().map(ask).collect()
            }
        })
    }

    fn choice_requests(
        &self,
        document: &Document,
        contexts: Vec<String>,
        options: &PromptOptions<'_>,
    ) -> Result<Vec<Request>, TaskError> {
        // In a conversation the template separates question and answer.
        let delimiter = match (&options.chat_template, &self.config.gen_prefix) {
            (None, _) => self.config.target_delimiter.as_str(),
            (Some(_), Some(prefix)) if !ends_with_space(prefix) => &self.config.target_delimiter,
            (Some(_), _) => "",
        };
        let choices = self.choices(document)?.unwrap_or_default();
        let ask = |context: String, answer: &str| Request::LogLikelihood {
            context,
            continuation: format!("{delimiter}{answer}"),
        };
        let mut requests: Vec<Request> = if self.multiple_inputs {
            let target = self.target_text(document)?;
            contexts.into_iter().map(|context| ask(context, &target)).collect()
        } else {
            let context = contexts.into_iter().next().unwrap_or_default();
            choices.iter().map(|choice| ask(context.clone(), choice)).collect()
        };
        if self.config.metrics.iter().any(|metric| metric.metric == Metric::AccMutualInfo) {
            requests.extend(choices.iter().map(|choice| ask(String::new(), choice)));
        }
        Ok(requests)
    }

    /// The text before the answer; one for each choice if the choices are inputs.
    fn contexts(
        &self,
        document: &Document,
        number: usize,
        gen_prefix: Option<&str>,
        sampler: &mut ExampleSampler<'_>,
        options: &PromptOptions<'_>,
    ) -> Result<Vec<String>, TaskError> {
        let mut messages = Vec::new();
        let description = self.config.description.as_ref();
        let description =
            description.map(|field| self.prompts.plain(field, document)).transpose()?;
        let system = join_boundary(
            options.system_instruction.unwrap_or_default(),
            &description.unwrap_or_default(),
            &self.config.fewshot_delimiter,
        );
        if !system.is_empty() {
            messages.push(Message::new("system", system, ""));
        }
        messages.extend(self.shots(document, sampler)?);
        let writer = Contexts {
            chat_template: options.chat_template,
            multiturn: options.fewshot_as_multiturn,
        };
        let questions = if self.multiple_inputs {
            self.choices(document)?.unwrap_or_default()
        } else {
            vec![self.question(&self.config.doc_to_text, document)?]
        };
        // Between a choice that is an input and the answer's prefix nothing stands.
        let delimiter = if self.multiple_inputs { "" } else { &self.config.target_delimiter };
        questions
            .into_iter()
            .map(|question| {
                let mut messages = messages.clone();
                messages.extend(turn(question, gen_prefix, delimiter));
                writer.text(&messages, gen_prefix).map_err(|source| TaskError::Chat {
                    task: self.config.task.clone(),
                    document: number,
                    source,
                })
            })
            .collect()
    }

    fn shots(
        &self,
        document: &Document,
        sampler: &mut ExampleSampler<'_>,
    ) -> Result<Vec<Message>, TaskError> {
        if self.num_fewshot == 0 {
            return Ok(Vec::new());
        }
        let (config, fewshot) = (&self.config, &self.config.fewshot);
        // The harness compares the names, so that two splits without a name are the same.
        let same_split = fewshot.split == config.test_split;
        let evaluated = same_split.then_some(&document.row);
        let drawn =
            sampler.draw(self.num_fewshot, evaluated).map_err(|few| TaskError::TooFewExamples {
                task: config.task.clone(),
                wanted: few.wanted,
                source_split: match (&fewshot.split, &fewshot.samples) {
                    (Some(split), _) => format!("split `{split}`"),
                    (None, Some(_)) => "fewshot_config.samples".into(),
                    (None, None) => "the split of the examples".into(),
                },
                available: few.available,
                note: if same_split { " (the document itself may not be among them)" } else { "" },
            })?;
        let delimiters = Delimiters {
            target: fewshot.target_delimiter.as_ref().unwrap_or(&config.target_delimiter),
            fewshot: fewshot.fewshot_delimiter.as_ref().unwrap_or(&config.fewshot_delimiter),
        };
        let mut messages = Vec::new();
        for example in drawn {
            messages.extend(self.shot(example, delimiters)?);
        }
        Ok(messages)
    }

    fn shot(
        &self,
        example: &Document,
        delimiters: Delimiters<'_>,
    ) -> Result<Vec<Message>, TaskError> {
        let (config, fewshot) = (&self.config, &self.config.fewshot);
        let choice_field = fewshot.doc_to_choice.as_ref().or(config.doc_to_choice.as_ref());
        let mut choices =
            choice_field.map(|field| self.prompts.choices(field, example)).transpose()?;
        let text_field = fewshot.doc_to_text.as_ref().or(config.doc_to_text.as_ref());
        let target_field = fewshot.doc_to_target.as_ref().or(config.doc_to_target.as_ref());
        let (Some(text_field), Some(target_field)) = (text_field, target_field) else {
            return Ok(Vec::new());
        };
        let text = self.prompts.text(text_field, example)?;
        let wrong = |field: &FieldSource, message: String| TaskError::Render {
            place: field.place.to_string(),
            key: field.key.clone(),
            row: example.origin.to_string(),
            message,
        };
        let question = if self.multiple_inputs {
            let chosen = index(&text).and_then(|index| usize::try_from(index).ok());
            let choices = choices.take().unwrap_or_default();
            let chosen = chosen.and_then(|index| choices.get(index)).cloned();
            chosen.ok_or_else(|| wrong(text_field, "no index of a choice".into()))?
        } else {
            text_of(&text).ok_or_else(|| wrong(text_field, not_text(&text)))?
        };
        let gen_prefix = fewshot.gen_prefix.as_ref().or(config.gen_prefix.as_ref());
        let shot = Shot {
            question,
            choices,
            answer: self.prompts.target(target_field, example)?,
            gen_prefix: gen_prefix.map(|field| self.prompts.plain(field, example)).transpose()?,
        };
        shot.messages(delimiters).map_err(|message| wrong(target_field, message))
    }

    fn question(
        &self,
        field: &Option<FieldSource>,
        document: &Document,
    ) -> Result<String, TaskError> {
        let Some(field) = field else { return Ok(String::new()) };
        let text = self.prompts.text(field, document)?;
        text_of(&text).ok_or_else(|| TaskError::Render {
            place: field.place.to_string(),
            key: field.key.clone(),
            row: document.origin.to_string(),
            message: not_text(&text),
        })
    }

    fn required(
        &self,
        field: &Option<FieldSource>,
        document: &Document,
    ) -> Result<String, TaskError> {
        match field {
            Some(field) => self.prompts.plain(field, document),
            None => Ok(String::new()),
        }
    }

    /// The target as it is scored: the text itself, or whatever it is, as Python prints it.
    fn target_text(&self, document: &Document) -> Result<String, TaskError> {
        Ok(crate::python::display(&self.target(document)?))
    }

    fn image(&self, document: &Document) -> Result<ImageSource, TaskError> {
        let Some(field) = &self.config.doc_to_image else {
            return Ok(ImageSource::Pixels(Value::Null));
        };
        let value = self.prompts.target(field, document)?;
        let path = value.as_str().or_else(|| value.get("path").and_then(Value::as_str));
        Ok(match path {
            Some(path) => {
                let folder = document.origin.file.parent().map(PathBuf::from).unwrap_or_default();
                ImageSource::File(folder.join(path))
            }
            None => ImageSource::Pixels(value),
        })
    }
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn not_text(value: &Value) -> String {
    let found = record_files::excerpt(&crate::python::repr(value));
    format!("it gives {found}, which is no text; as a template, `{{{{column}}}}`, it is one")
}

fn ends_with_space(prefix: &FieldSource) -> bool {
    match &prefix.field {
        crate::config::Field::Text(text) => text.chars().next_back().is_some_and(is_space),
        _ => false,
    }
}
