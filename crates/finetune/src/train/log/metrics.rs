use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use moe_adapter::write_atomically;
use serde_json::Value;

use crate::train::TrainError;

/// `metrics.jsonl`: one JSON object a line, each with its `step`.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log of a run that has made `steps` steps; lines of later steps, which a run left
    /// between its last checkpoint and its end, are dropped.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] when the file cannot be read or written.
    pub fn open(path: &Path, steps: usize) -> Result<Self, TrainError> {
        if path.exists() {
            let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
            let kept: String = text
                .lines()
                .filter(|line| step_of(line) <= steps)
                .fold(String::new(), |kept, line| kept + line + "\n");
            write_atomically(path, kept.as_bytes()).map_err(TrainError::io(path))?;
        } else if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(TrainError::io(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Appends a line.
    ///
    /// # Errors
    ///
    /// [`TrainError::Io`] when the file cannot be written.
    pub fn write(&mut self, line: &Value) -> Result<(), TrainError> {
        writeln!(self.file, "{line}").map_err(TrainError::io(&self.path))
    }
}

/// The step of a line; one that was cut short counts as beyond any.
fn step_of(line: &str) -> usize {
    serde_json::from_str::<Value>(line)
        .ok()
        .and_then(|line| line["step"].as_u64())
        .map_or(usize::MAX, |step| step as usize)
}
