use std::path::{Path, PathBuf};

use super::TrainError;
use super::checkpoint::{checkpoint_folder, checkpoints, read_state};

/// Where a run starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// At its beginning.
    #[default]
    No,
    /// At its last healthy checkpoint.
    LastHealthy,
    /// At the checkpoint of this path, or of this name in the run's folder.
    From(PathBuf),
}

impl Resume {
    /// The checkpoint in a run's folder to go on from; `None` where the run starts at its
    /// beginning, or has not saved one.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the checkpoint named is none of the run's, none is healthy, or the state
    /// of one cannot be read.
    pub fn checkpoint(&self, output_dir: &Path) -> Result<Option<PathBuf>, TrainError> {
        match self {
            Self::No => Ok(None),
            Self::LastHealthy => last_healthy(output_dir),
            Self::From(path) => named(output_dir, path).map(Some),
        }
    }
}

fn last_healthy(output_dir: &Path) -> Result<Option<PathBuf>, TrainError> {
    let steps = checkpoints(output_dir);
    for step in steps.iter().rev() {
        let folder = checkpoint_folder(output_dir, *step);
        let state =
            read_state(&folder).map_err(|error| broken_checkpoint(output_dir, &folder, error))?;
        if state.health.is_some_and(|health| health.healthy) {
            return Ok(Some(folder));
        }
    }
    match steps.last() {
        None => Ok(None),
        Some(newest) => Err(TrainError::NoHealthyCheckpoint {
            path: output_dir.into(),
            newest: checkpoint_folder(output_dir, *newest),
        }),
    }
}

fn named(output_dir: &Path, path: &Path) -> Result<PathBuf, TrainError> {
    let steps = checkpoints(output_dir);
    let found = steps.iter().map(|step| checkpoint_folder(output_dir, *step)).find(|folder| {
        let same = || Some(folder.canonicalize().ok()? == path.canonicalize().ok()?);
        folder.file_name() == Some(path.as_os_str()) || same().unwrap_or(false)
    });
    found.ok_or_else(|| {
        let there: Vec<_> = steps.iter().map(|step| format!("checkpoint-{step}")).collect();
        TrainError::UnknownCheckpoint {
            path: path.into(),
            output_dir: output_dir.into(),
            there: if there.is_empty() { "none".into() } else { there.join(", ") },
        }
    })
}

/// An error of loading a checkpoint: where it cannot be read, with one to go on from instead.
pub(crate) fn broken_checkpoint(output_dir: &Path, folder: &Path, error: TrainError) -> TrainError {
    if matches!(error, TrainError::OtherTraining { .. } | TrainError::OtherAdapter { .. }) {
        return error;
    }
    let step = |folder: &Path| {
        folder.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse::<usize>().ok()
    };
    let others =
        checkpoints(output_dir).into_iter().rev().filter(|other| Some(*other) != step(folder));
    let mut others = others.map(|step| checkpoint_folder(output_dir, step));
    // Without what is broken too, and without what is known to be useless.
    let other = others.find(|folder| {
        read_state(folder).is_ok_and(|state| state.health.is_some_and(|health| health.healthy))
    });
    let remedy = match other {
        Some(other) => format!("go on from another one with `--resume {}`", other.display()),
        None => {
            "the run has no other healthy checkpoint; remove this one, and start again without \
                 --resume"
                .to_owned()
        }
    };
    TrainError::BrokenCheckpoint { path: folder.into(), source: Box::new(error), remedy }
}
