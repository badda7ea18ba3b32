use indexmap::IndexMap;
use serde_json::Value;

use super::{
    DatasetConfig, FewshotConfig, FieldSource, FilterPipelineConfig, MetricConfig, OutputType,
    filter, generation,
};
use crate::TaskError;
use crate::metric::Metric;
use crate::preprocess::{DocsFunction, ResultsFunction, unknown};
use crate::request::GenerationArguments;
use crate::yaml::{Fields, Node, NodeKind, Place};

/// A task as its file describes it, includes and overrides applied.
#[derive(Debug, Clone)]
pub struct TaskConfig {
    /// The name.
    pub task: String,
    /// The name in tables.
    pub task_alias: Option<String>,
    /// The data.
    pub dataset: DatasetConfig,
    /// The split of the examples that come first in question for few-shot prompts.
    pub training_split: Option<String>,
    /// The split that is evaluated if there is no `test_split`.
    pub validation_split: Option<String>,
    /// The split that is evaluated.
    pub test_split: Option<String>,
    /// How the model is asked.
    pub output_type: OutputType,
    /// What is done to all rows first.
    pub process_docs: Option<DocsFunction>,
    /// How answers become values, instead of the metrics' own way.
    pub process_results: Option<ResultsFunction>,
    /// The question.
    pub doc_to_text: Option<FieldSource>,
    /// The second text of a pair, of `sequence_classification`.
    pub doc_to_text_pair: Option<FieldSource>,
    /// The image, of `image_classification`.
    pub doc_to_image: Option<FieldSource>,
    /// The answer.
    pub doc_to_target: Option<FieldSource>,
    /// The choices.
    pub doc_to_choice: Option<FieldSource>,
    /// What comes before everything.
    pub description: Option<FieldSource>,
    /// What comes between question and answer.
    pub target_delimiter: String,
    /// What comes after an example.
    pub fewshot_delimiter: String,
    /// The examples; its split is `fewshot_split` if it has none.
    pub fewshot: FewshotConfig,
    /// How many examples.
    pub num_fewshot: Option<usize>,
    /// What the answer begins with.
    pub gen_prefix: Option<FieldSource>,
    /// When generation stops.
    pub generation: GenerationArguments,
    /// How many answers are drawn of each request.
    pub repeats: usize,
    /// What is done to answers.
    pub filters: Vec<FilterPipelineConfig>,
    /// What is measured.
    pub metrics: Vec<MetricConfig>,
    /// Anything; `version`, `source` and `licence` are shown.
    pub metadata: Value,
    /// Where it is defined.
    pub place: Place,
    /// The keys as written, for records of a run.
    pub written: IndexMap<String, Value>,
}

impl TaskConfig {
    /// Checks the keys of a task whose includes and overrides are applied.
    pub(crate) fn read(place: Place, map: IndexMap<String, Node>) -> Result<Self, TaskError> {
        let written = map.iter().filter_map(|(key, node)| Some((key.clone(), plain(node)?)));
        let written = written.collect();
        let mut fields = Fields::new(place.clone(), "", map);
        let task = fields.need("task", "it is the name")?.name("task")?;
        for harmless in [
            "tag",
            "group",
            "task_list",
            "use_prompt",
            "should_decontaminate",
            "doc_to_decontamination_query",
            "unsafe_code",
        ] {
            let node = fields.take(harmless);
            if harmless == "use_prompt"
                && let Some(node) = node
            {
                return Err(node.wrong("use_prompt", "nothing: write the prompt as `doc_to_text`"));
            }
        }
        for refused in ["custom_dataset", "doc_to_audio", "class"] {
            if let Some(node) = fields.take(refused) {
                let allowed = "nothing: it needs Python, or a model that hears";
                return Err(match &node.kind {
                    NodeKind::Function(name) => unknown(&node.place, refused, name),
                    _ => node.wrong(refused, allowed),
                });
            }
        }
        let path = fields
            .need(
                "dataset_path",
                "it names the data: json, csv, text, parquet or arrow with \
                dataset_kwargs.data_files, a folder, or a data set of the hub",
            )?
            .name("dataset_path")?;
        let name = fields.take_with("dataset_name", Node::name)?;
        let kwargs = fields.take("dataset_kwargs");
        let dataset = DatasetConfig::read(path, name, kwargs.as_ref())?;
        let hub = Some(dataset.path.as_str());
        let field = |node: &Node, key: &str| FieldSource::read(node, key, hub);

        let output_type =
            fields.take_with("output_type", OutputType::of)?.unwrap_or(OutputType::GenerateUntil);
        let fewshot_delimiter =
            fields.take_with("fewshot_delimiter", Node::text)?.unwrap_or_else(|| "\n\n".into());
        let generation_kwargs = fields.take("generation_kwargs");
        let mut fewshot = fields
            .take_with("fewshot_config", |node, key| FewshotConfig::read(node, key, hub))?
            .unwrap_or_default();
        let fewshot_split = fields.take_with("fewshot_split", Node::name)?;
        fewshot.split = fewshot.split.or(fewshot_split);
        let process_results = fields
            .take_with("process_results", |node, key| ResultsFunction::read(node, key, hub))?;
        let metrics = match fields.take_with("metric_list", MetricConfig::list)? {
            Some(metrics) => metrics,
            None => {
                let usual =
                    output_type.usual_metrics().iter().filter_map(|name| Metric::named(name));
                usual.map(MetricConfig::usual).collect()
            }
        };
        let config = Self {
            task,
            task_alias: fields.take_with("task_alias", Node::name)?,
            training_split: fields.take_with("training_split", Node::name)?,
            validation_split: fields.take_with("validation_split", Node::name)?,
            test_split: fields.take_with("test_split", Node::name)?,
            output_type,
            process_docs: fields
                .take_with("process_docs", |node, key| DocsFunction::read(node, key, hub))?,
            process_results,
            doc_to_text: fields.take_with("doc_to_text", field)?,
            doc_to_text_pair: fields.take_with("doc_to_text_pair", field)?,
            doc_to_image: fields.take_with("doc_to_image", field)?,
            doc_to_target: fields.take_with("doc_to_target", field)?,
            doc_to_choice: fields.take_with("doc_to_choice", field)?,
            description: fields.take_with("description", FieldSource::text)?,
            target_delimiter: fields
                .take_with("target_delimiter", Node::text)?
                .unwrap_or_else(|| " ".into()),
            generation: generation::read(generation_kwargs.as_ref(), &fewshot_delimiter)?,
            fewshot_delimiter,
            fewshot,
            num_fewshot: fields.take_with("num_fewshot", Node::whole)?,
            gen_prefix: fields.take_with("gen_prefix", FieldSource::text)?,
            repeats: fields.take_with("repeats", Node::whole)?.unwrap_or(1).max(1),
            filters: fields.take_with("filter_list", filter::pipelines)?.unwrap_or_else(|| {
                let steps = vec![super::FilterStep::TakeFirst];
                vec![FilterPipelineConfig { name: "none".into(), steps }]
            }),
            metrics,
            metadata: fields.take_with("metadata", Node::to_value)?.unwrap_or(Value::Null),
            dataset,
            place,
            written,
        };
        fields.finish()?;
        config.check()?;
        Ok(config)
    }

    /// What the keys need of each other.
    fn check(&self) -> Result<(), TaskError> {
        let missing = |key: &str, why: String| {
            let place = self.place.to_string();
            Err(TaskError::MissingKey { place, key: key.to_owned(), why })
        };
        if self.test_split.is_none() && self.validation_split.is_none() {
            return missing("test_split", "it or `validation_split` is what is evaluated".into());
        }
        let why = || format!("output_type {} needs it", self.output_type);
        if self.doc_to_target.is_none() {
            return missing("doc_to_target", why());
        }
        let needs_choice = matches!(self.output_type, OutputType::MultipleChoice);
        if needs_choice && self.doc_to_choice.is_none() {
            return missing("doc_to_choice", why());
        }
        let needs_image = self.output_type == OutputType::ImageClassification;
        if needs_image && self.doc_to_image.is_none() {
            return missing("doc_to_image", why());
        }
        let needs_text = !needs_image && self.output_type != OutputType::LogLikelihoodRolling;
        if needs_text && self.doc_to_text.is_none() {
            return missing("doc_to_text", why());
        }
        if self.process_results.is_none() {
            for metric in &self.metrics {
                if !metric.metric.measures(self.output_type) {
                    return Err(TaskError::WrongValue {
                        place: self.place.to_string(),
                        key: "metric_list.metric".into(),
                        found: metric.metric.name().into(),
                        allowed: format!(
                            "for output_type {}: {}",
                            self.output_type,
                            Metric::of(self.output_type).join(", ")
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    /// The split that is evaluated.
    pub fn evaluated_split(&self) -> &str {
        self.test_split.as_deref().or(self.validation_split.as_deref()).unwrap_or_default()
    }

    /// The version in the metadata.
    pub fn version(&self) -> Option<String> {
        self.metadata.get("version").map(crate::python::display)
    }
}

fn plain(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        NodeKind::Scalar(value) => value.clone(),
        NodeKind::Function(name) => format!("!function {name}").into(),
        NodeKind::Sequence(items) => items.iter().filter_map(plain).collect(),
        NodeKind::Mapping(map) => Value::Object(
            map.iter().filter_map(|(key, node)| Some((key.clone(), plain(node)?))).collect(),
        ),
    })
}
