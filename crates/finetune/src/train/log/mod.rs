//! What a run writes down of its way: `metrics.jsonl`, and event files for TensorBoard.

mod crc32c;
mod events;
mod metrics;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TrainError;
use events::EventFile;
pub use metrics::MetricsLog;

/// Where else metrics go; `report_to` of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportTo {
    /// Event files in `runs` in the folder of the run, which TensorBoard shows.
    Tensorboard,
}

/// All that a run writes its metrics to.
pub(super) struct RunLog {
    metrics: MetricsLog,
    events: Option<EventFile>,
}

impl RunLog {
    /// Opens the logs of a run that has made `steps` steps; what they have of later steps is dropped.
    pub(super) fn open(
        metrics: &Path,
        steps: usize,
        report_to: &[ReportTo],
    ) -> Result<Self, TrainError> {
        let events = match report_to.contains(&ReportTo::Tensorboard) {
            true => Some(EventFile::create(&metrics.with_file_name("runs"), steps)?),
            false => None,
        };
        Ok(Self { metrics: MetricsLog::open(metrics, steps)?, events })
    }

    /// Writes a line of metrics.
    pub(super) fn write(&mut self, line: &Value) -> Result<(), TrainError> {
        self.metrics.write(line)?;
        self.events.as_mut().map_or(Ok(()), |events| events.write(line))
    }
}
