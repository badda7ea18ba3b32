use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use finetune::train::{Learner, LearnerCheckpoints, latest_checkpoint};
use model_zoo::Decoder;
use moe_adapter::{FolderLock, LockError};
use serde::{Deserialize, Serialize};

use crate::StudyError;

/// What a checkpoint holds besides the learner.
const FILE: &str = "losses.json";

/// When a run is kept that is told no number of steps.
const OFTEN: Duration = Duration::from_secs(60);

/// The checkpoints of a run in progress: one that was killed goes on from the last.
pub(crate) struct RunCheckpoints {
    folder: PathBuf,
    /// Every how many steps; about once a minute where nothing is said.
    save_steps: Option<usize>,
    /// What was spent on the steps of the checkpoint that it went on from.
    before: Duration,
    started: Instant,
    saved: Instant,
    _lock: FolderLock,
}

/// The steps so far.
#[derive(Serialize, Deserialize)]
struct Steps {
    /// As text, which reads back as the same bits.
    losses: Vec<String>,
    seconds: f64,
}

impl RunCheckpoints {
    /// Opens the folder of a run; `None` where nothing is to be kept, and where another process is at
    /// the same run, as one that was taken for dead.
    pub(crate) fn open(
        folder: PathBuf,
        save_steps: Option<usize>,
    ) -> Result<Option<Self>, StudyError> {
        if save_steps == Some(0) {
            return Ok(None);
        }
        let lock = match FolderLock::acquire(&folder) {
            Ok(lock) => lock,
            Err(LockError::Held { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let (before, now) = (Duration::ZERO, Instant::now());
        Ok(Some(Self { folder, save_steps, before, started: now, saved: now, _lock: lock }))
    }

    /// The name of the checkpoint that it will go on from.
    pub(crate) fn newest(&self) -> Option<String> {
        Some(latest_checkpoint(&self.folder)?.file_name()?.to_string_lossy().into_owned())
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The time of the run, of the processes before this one too.
    pub(crate) fn elapsed(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    /// Brings a learner to where the last checkpoint left off, and returns the losses of the steps
    /// until there; none where there is no checkpoint.
    pub(crate) fn resume(
        &mut self,
        checkpoints: &LearnerCheckpoints<'_>,
        learner: &mut Learner<Decoder>,
    ) -> Result<Vec<f64>, StudyError> {
        let again = |path: &Path, error: String| {
            StudyError::state(path, format!("{error}; delete the folder to begin this run again"))
        };
        let found = checkpoints.resume(learner);
        let Some(path) = found.map_err(|error| again(&self.folder, error.to_string()))? else {
            return Ok(Vec::new());
        };
        let file = path.join(FILE);
        let text = std::fs::read_to_string(&file).map_err(|e| again(&file, e.to_string()))?;
        let steps: Steps = serde_json::from_str(&text).map_err(|e| again(&file, e.to_string()))?;
        let losses: Result<Vec<f64>, _> = steps.losses.iter().map(|loss| loss.parse()).collect();
        let before = Duration::try_from_secs_f64(steps.seconds);
        match (losses, before) {
            (Ok(losses), Ok(before)) if losses.len() == learner.steps() => {
                self.before = before;
                Ok(losses)
            }
            _ => Err(again(&file, format!("is not that of {} steps", learner.steps()))),
        }
    }

    /// Keeps a learner where it is time to; always after the last step, for measuring may take longer
    /// than the steps.
    pub(crate) fn stepped(
        &mut self,
        checkpoints: &LearnerCheckpoints<'_>,
        learner: &Learner<Decoder>,
        losses: &[f64],
    ) -> Result<(), StudyError> {
        let step = losses.len();
        let due = match self.save_steps {
            Some(every) => step.is_multiple_of(every),
            None => self.saved.elapsed() >= OFTEN,
        };
        if !due && step < checkpoints.total_steps {
            return Ok(());
        }
        let losses = losses.iter().map(f64::to_string).collect();
        let steps = Steps { losses, seconds: self.elapsed().as_secs_f64() };
        let text = serde_json::to_string(&steps)
            .map_err(|error| StudyError::state(&self.folder, error.to_string()))?;
        checkpoints.save(learner, &[(FILE.to_owned(), text)])?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// Removes the checkpoints of a run whose result is kept. What cannot be removed is in nobody's way.
pub(crate) fn remove(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_another_process_is_at_is_made_without_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run");
        assert!(RunCheckpoints::open(place.clone(), Some(0)).unwrap().is_none());
        assert!(!place.exists());
        let one = RunCheckpoints::open(place.clone(), None).unwrap();
        assert!(one.is_some());
        assert!(RunCheckpoints::open(place.clone(), None).unwrap().is_none());
        drop(one);
        let next = RunCheckpoints::open(place.clone(), Some(2)).unwrap().unwrap();
        assert_eq!(next.newest(), None);
        drop(next);
        remove(&place);
        assert!(!place.exists());
        remove(&place);
    }
}
