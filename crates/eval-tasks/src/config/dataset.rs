use indexmap::IndexMap;
use record_files::{FileForm, ReadOptions, SampleBy};
use serde_json::Value;

use crate::TaskError;
use crate::yaml::{Fields, Node, NodeKind};

/// The files of each split, in order.
pub type DataFiles = IndexMap<String, Vec<String>>;

/// Which data set a task reads.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetConfig {
    /// `dataset_path`: `json`, `csv`, `text`, `parquet` or `arrow` with `data_files`, a folder, or the name
    /// of a data set on the hub.
    pub path: String,
    /// `dataset_name`: the configuration of the data set.
    pub name: Option<String>,
    /// `dataset_kwargs.data_files`, by split.
    pub data_files: Option<DataFiles>,
    /// How the files are read.
    pub options: ReadOptions,
}

impl DatasetConfig {
    /// The reader that `dataset_path` names, if it is none of a folder or of the hub.
    pub fn reader(&self) -> Option<FileForm> {
        match self.path.as_str() {
            "json" => Some(FileForm::Json),
            "csv" => Some(FileForm::Table),
            "text" => Some(FileForm::Text),
            "parquet" => Some(FileForm::Parquet),
            "arrow" => Some(FileForm::Arrow),
            _ => None,
        }
    }

    pub(super) fn read(
        path: String,
        name: Option<String>,
        kwargs: Option<&Node>,
    ) -> Result<Self, TaskError> {
        let mut config = Self { path, name, data_files: None, options: ReadOptions::default() };
        let Some(node) = kwargs else { return Ok(config) };
        let mut fields = Fields::of(node, "dataset_kwargs")?;
        for ignored in [
            "trust_remote_code",
            "streaming",
            "keep_linebreaks",
            "download_mode",
            "revision",
            "verification_mode",
        ] {
            fields.take(ignored);
        }
        config.data_files = fields.take_with("data_files", data_files)?;
        config.options = ReadOptions {
            form: None,
            field: fields.take_with("field", Node::text)?,
            sample_by: fields.take_with("sample_by", sample_by)?.unwrap_or_default(),
            delimiter: None,
            column_names: None,
            headerless: false,
            no_quoting: fields
                .take_with("quoting", |node, key| match node.scalar().and_then(Value::as_u64) {
                    Some(0 | 1) => Ok(false),
                    Some(3) => Ok(true),
                    _ => Err(node.wrong(key, "0 (quotation marks quote) or 3 (they do not)")),
                })?
                .unwrap_or(false),
            untyped: false,
        };
        for key in ["delimiter", "sep"] {
            let delimiter =
                fields.take_with(key, |node, key| match node.text(key)?.as_bytes() {
                    [byte] => Ok(*byte),
                    _ => Err(node.wrong(key, "one ASCII character")),
                })?;
            config.options.delimiter = config.options.delimiter.or(delimiter);
        }
        for key in ["column_names", "names"] {
            let names = fields.take_with(key, Node::texts)?;
            config.options.column_names = config.options.column_names.or(names);
        }
        if let Some(header) = fields.take_even_null("header") {
            match header.scalar() {
                Some(Value::Null) => config.options.headerless = true,
                Some(value) if value.as_u64() == Some(0) => {}
                _ => {
                    return Err(
                        header.wrong("dataset_kwargs.header", "0, or null where there is none")
                    );
                }
            }
        }
        fields.finish()?;
        Ok(config)
    }
}

fn sample_by(node: &Node, key: &str) -> Result<SampleBy, TaskError> {
    match node.text(key)?.as_str() {
        "line" => Ok(SampleBy::Line),
        "paragraph" => Ok(SampleBy::Paragraph),
        "document" => Ok(SampleBy::Document),
        _ => Err(node.wrong(key, "line, paragraph, document")),
    }
}

/// A file or a list of files is the split `train`.
fn data_files(node: &Node, key: &str) -> Result<DataFiles, TaskError> {
    match &node.kind {
        NodeKind::Mapping(map) => {
            map.iter().map(|(split, files)| Ok((split.clone(), files.texts(key)?))).collect()
        }
        _ => Ok(DataFiles::from_iter([("train".to_owned(), node.texts(key)?)])),
    }
}
