use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tensor_files::write_atomically;

use super::{EvaluationResults, ResultsError, SampleRecord, TableStyle, results_table};

/// The file of the aggregates.
pub const RESULTS_FILE: &str = "results.json";

/// The file of the table.
pub const TABLE_FILE: &str = "results.md";

/// The file of a task's samples. Characters that some file system refuses become `_`.
pub fn samples_file(folder: &Path, task: &str) -> PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    folder.join(format!("samples_{}.jsonl", task.chars().map(safe).collect::<String>()))
}

/// Writes a task's samples, whole or not at all.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_samples(
    folder: &Path,
    task: &str,
    samples: &[SampleRecord],
) -> Result<(), ResultsError> {
    let path = samples_file(folder, task);
    let mut lines = Vec::new();
    for sample in samples {
        serde_json::to_writer(&mut lines, sample)
            .map_err(|error| ResultsError::content(&path, &error, 0))?;
        lines.push(b'\n');
    }
    write_atomically(&path, &lines).map_err(ResultsError::io(&path))
}

/// Reads what [`write_samples`] wrote.
///
/// # Errors
/// When the file cannot be read, or a line holds something else.
pub fn read_samples(folder: &Path, task: &str) -> Result<Vec<SampleRecord>, ResultsError> {
    let path = samples_file(folder, task);
    let text = fs::read_to_string(&path).map_err(ResultsError::io(&path))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| ResultsError::content(&path, &error, index))
        })
        .collect()
}

impl EvaluationResults {
    /// Reads the aggregates of a folder.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn read(folder: &Path) -> Result<Self, ResultsError> {
        let path = folder.join(RESULTS_FILE);
        let text = fs::read_to_string(&path).map_err(|error| {
            let error = match error.kind() {
                ErrorKind::NotFound => std::io::Error::new(
                    ErrorKind::NotFound,
                    "no such file, so the folder holds no finished evaluation",
                ),
                _ => error,
            };
            ResultsError::io(&path)(error)
        })?;
        serde_json::from_str(&text).map_err(|error| ResultsError::content(&path, &error, 0))
    }

    /// Writes the aggregates and their table, each file whole or not at all.
    ///
    /// # Errors
    /// When a file cannot be written; an earlier one is then left as it was.
    pub fn write(&self, folder: &Path) -> Result<(), ResultsError> {
        let table = folder.join(TABLE_FILE);
        let markdown = results_table(self, TableStyle::Markdown);
        write_atomically(&table, markdown.as_bytes()).map_err(ResultsError::io(&table))?;
        let path = folder.join(RESULTS_FILE);
        let json = serde_json::to_value(self)
            .and_then(|value: Value| serde_json::to_string_pretty(&value))
            .map_err(|error| ResultsError::content(&path, &error, 0))?;
        write_atomically(&path, (json + "\n").as_bytes()).map_err(ResultsError::io(&path))
    }
}
