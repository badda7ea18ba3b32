use std::path::{Path, PathBuf};

use record_files::{FileRow, ReadOptions, Row, read_rows};

use super::folder::{self, Found};
use super::{DataSources, Document};
use crate::TaskError;
use crate::config::{DatasetConfig, TaskConfig};
use crate::preprocess::DocsFunction;

/// The rows of a split, and the files that they come from.
pub(crate) struct Split {
    pub(crate) documents: Vec<Document>,
    pub(crate) files: Vec<PathBuf>,
}

/// Reads a split and applies `process_docs`.
pub(crate) fn load_split(
    config: &TaskConfig,
    sources: &DataSources<'_>,
    split: &str,
    process_docs: Option<DocsFunction>,
) -> Result<Split, TaskError> {
    let found = find(config, sources, split)?;
    let options = ReadOptions { form: config.dataset.reader(), ..config.dataset.options.clone() };
    let mut rows: Vec<FileRow> = Vec::new();
    for file in &found.files {
        let read = read_rows(file, &options);
        rows.extend(
            read.map_err(|source| TaskError::Records { task: config.task.clone(), source })?,
        );
    }
    if !found.of_configuration
        && let Some(name) = &config.dataset.name
    {
        rows = of_configuration(rows, name);
    }
    let files = || list(&found.files);
    if rows.is_empty() {
        let (task, split) = (config.task.clone(), split.to_owned());
        return Err(TaskError::EmptySplit { task, split, files: files() });
    }
    let documents = match process_docs {
        None => rows.into_iter().map(|FileRow { row, origin }| Document { row, origin }).collect(),
        Some(function) => process(config, function, rows)?,
    };
    Ok(Split { documents, files: found.files })
}

fn process(
    config: &TaskConfig,
    function: DocsFunction,
    rows: Vec<FileRow>,
) -> Result<Vec<Document>, TaskError> {
    let (rows, origins): (Vec<Row>, Vec<_>) =
        rows.into_iter().map(|row| (row.row, row.origin)).unzip();
    let processed = function.apply(rows).map_err(|(index, message)| TaskError::Render {
        place: config.place.to_string(),
        key: "process_docs".into(),
        row: origins.get(index).map(ToString::to_string).unwrap_or_default(),
        message,
    })?;
    let origin = |index: usize| {
        let mut origin = origins[if function.keeps_rows() { index } else { 0 }].clone();
        if !function.keeps_rows() {
            (origin.row, origin.line) = (index, None);
        }
        origin
    };
    let document = |(index, row)| Document { row, origin: origin(index) };
    Ok(processed.into_iter().enumerate().map(document).collect())
}

/// The rows whose column `subject`, `subset` or `config` is the configuration, if there is one.
fn of_configuration(rows: Vec<FileRow>, name: &str) -> Vec<FileRow> {
    let column = ["subject", "subset", "config"]
        .into_iter()
        .find(|column| rows.first().is_some_and(|row| row.row.get(column).is_some()));
    match column {
        None => rows,
        Some(column) => {
            let is =
                |row: &FileRow| row.row.get(column).and_then(|value| value.as_str()) == Some(name);
            rows.into_iter().filter(is).collect()
        }
    }
}

fn find(config: &TaskConfig, sources: &DataSources<'_>, split: &str) -> Result<Found, TaskError> {
    let dataset = &config.dataset;
    let no_data = |looked: String, get: String| TaskError::NoData {
        task: config.task.clone(),
        split: split.to_owned(),
        dataset: match &dataset.name {
            Some(name) => format!("`{}` (`{name}`)", dataset.path),
            None => format!("`{}`", dataset.path),
        },
        looked,
        get,
    };
    let task_folder = config.place.file.parent().unwrap_or(Path::new("")).to_owned();
    if let Some(data_files) = &dataset.data_files {
        let Some(patterns) = data_files.get(split) else {
            let splits: Vec<&str> = data_files.keys().map(String::as_str).collect();
            let get = "Name its files there, or another split".to_owned();
            let looked = format!("dataset_kwargs.data_files has {}", splits.join(", "));
            return Err(no_data(looked, get));
        };
        let mut bases = vec![PathBuf::new(), task_folder];
        if dataset.reader().is_none() {
            bases = bases.iter().map(|base| base.join(&dataset.path)).collect();
        }
        bases.extend(sources.roots.iter().cloned());
        let mut files = Vec::new();
        for pattern in patterns {
            let found = bases.iter().map(|base| expand(&base.join(pattern)));
            let Some(found) = found.into_iter().find(|found| !found.is_empty()) else {
                let looked = format!("no file `{pattern}` in {}", list(&bases));
                return Err(no_data(looked, "Save it there, or write its whole path".into()));
            };
            files.extend(found);
        }
        return Ok(Found { files, of_configuration: true });
    }
    if dataset.reader().is_some() {
        let get = "Write dataset_kwargs: {data_files: {test: rows.jsonl}}".to_owned();
        return Err(no_data("dataset_kwargs.data_files is missing".into(), get));
    }
    for folder in [PathBuf::from(&dataset.path), task_folder.join(&dataset.path)] {
        if folder.is_dir()
            && let Some(found) = folder::in_dataset(&folder, dataset.name.as_deref(), split)
        {
            return Ok(found);
        }
    }
    let name = dataset.name.as_deref();
    for root in &sources.roots {
        if let Some(found) = folder::in_root(root, &dataset.path, name, &config.task, split) {
            return Ok(found);
        }
    }
    let looked = match sources.roots.as_slice() {
        [] => "no folder of data sets was given, and no such folder is here".to_owned(),
        roots => format!("looked in {}", list(roots)),
    };
    match sources.hub {
        None => Err(no_data(looked, how_to_get(config))),
        Some(hub) => match hub.files(&dataset.path, name, split) {
            Ok(files) if !files.is_empty() => Ok(Found { files, of_configuration: true }),
            Ok(_) => {
                Err(no_data(format!("{looked}; the hub has no such split"), how_to_get(config)))
            }
            Err(error) => Err(no_data(format!("{looked}; the hub: {error}"), how_to_get(config))),
        },
    }
}

fn how_to_get(config: &TaskConfig) -> String {
    let DatasetConfig { path, name, .. } = &config.dataset;
    let file = match name {
        Some(name) => format!("DIR/{path}/{name}/"),
        None => format!("DIR/{path}/"),
    };
    let source = config.metadata.get("source").and_then(|value| value.as_str());
    let fetch = match source {
        Some(source) => format!("get it from {source}"),
        None => {
            format!("fetch it with `hf download --repo-type dataset {path} --local-dir DIR/{path}`")
        }
    };
    format!("To have it, {fetch}, so that its files are in {file}, and pass --data-dir DIR")
}

/// The files of a path whose last part may hold `*`.
fn expand(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains('*') {
        return if path.is_file() { vec![path.to_owned()] } else { Vec::new() };
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| crate::glob::matches(&name, &entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .take(4)
        .map(|path| match path.as_os_str().is_empty() {
            true => "the working folder".to_owned(),
            false => format!("`{}`", path.display()),
        })
        .collect();
    let more = paths.len().saturating_sub(4);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
