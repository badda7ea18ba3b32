use record_files::Row;

use super::FieldSource;
use crate::TaskError;
use crate::preprocess::DocsFunction;
use crate::yaml::{Fields, Node};

/// How examples are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sampler {
    /// By Python's generator, which goes on from document to document.
    #[default]
    Default,
    /// The first ones of the split.
    FirstN,
}

/// Where examples come from and how they are written; what is `None` is as in the task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FewshotConfig {
    /// How they are chosen.
    pub sampler: Sampler,
    /// The split they come from.
    pub split: Option<String>,
    /// The examples themselves, instead of a split.
    pub samples: Option<Vec<Row>>,
    /// What is done to all rows of the split first.
    pub process_docs: Option<DocsFunction>,
    /// The question of an example.
    pub doc_to_text: Option<FieldSource>,
    /// The answer of an example.
    pub doc_to_target: Option<FieldSource>,
    /// The choices of an example.
    pub doc_to_choice: Option<FieldSource>,
    /// What comes between question and answer.
    pub target_delimiter: Option<String>,
    /// What comes after an example.
    pub fewshot_delimiter: Option<String>,
    /// What an answer begins with.
    pub gen_prefix: Option<FieldSource>,
}

impl FewshotConfig {
    pub(super) fn read(node: &Node, key: &str, dataset: Option<&str>) -> Result<Self, TaskError> {
        let mut fields = Fields::of(node, key)?;
        let field = |node: &Node, key: &str| FieldSource::read(node, key, dataset);
        // Nothing reads it in the harness either.
        fields.take("fewshot_indices");
        let config = Self {
            sampler: fields.take_with("sampler", sampler)?.unwrap_or_default(),
            split: fields.take_with("split", Node::name)?,
            samples: fields.take_with("samples", samples)?,
            process_docs: fields
                .take_with("process_docs", |node, key| DocsFunction::read(node, key, dataset))?,
            doc_to_text: fields.take_with("doc_to_text", field)?,
            doc_to_target: fields.take_with("doc_to_target", field)?,
            doc_to_choice: fields.take_with("doc_to_choice", field)?,
            target_delimiter: fields.take_with("target_delimiter", Node::text)?,
            fewshot_delimiter: fields.take_with("fewshot_delimiter", Node::text)?,
            gen_prefix: fields.take_with("gen_prefix", FieldSource::text)?,
        };
        fields.finish()?;
        Ok(config)
    }
}

fn sampler(node: &Node, key: &str) -> Result<Sampler, TaskError> {
    match node.text(key)?.as_str() {
        "default" => Ok(Sampler::Default),
        "first_n" => Ok(Sampler::FirstN),
        _ => Err(node.wrong(key, "default, first_n")),
    }
}

fn samples(node: &Node, key: &str) -> Result<Vec<Row>, TaskError> {
    if let crate::yaml::NodeKind::Function(name) = &node.kind {
        return Err(crate::preprocess::unknown(&node.place, key, name));
    }
    let rows = node.items(key)?.iter().map(|item| {
        let map = item.mapping(key)?;
        map.iter().map(|(name, value)| Ok((name.clone(), value.to_value(key)?))).collect()
    });
    rows.collect()
}
