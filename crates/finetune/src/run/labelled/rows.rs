use std::path::Path;

use data::{LabelSet, LabelledRow, read_labelled, split};
use model_zoo::{ClassificationTask, ProblemType};

use super::super::RunConfig;
use super::LabelledData;
use super::labels::check_same;
use crate::train::TrainError;

/// The rows of a run, and the labels that they have.
#[derive(Debug, Clone)]
pub struct LabelledRows {
    /// Rows to train on.
    pub train: Vec<LabelledRow>,
    /// Rows to validate on.
    pub validation: Vec<LabelledRow>,
    /// Their labels.
    pub labels: LabelSet,
}

impl LabelledRows {
    /// Reads the files of a run. `head` is what the head of the run tells apart where it is one
    /// that is kept, and the file that says so.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, the row and the label at fault.
    pub fn read(
        run: &RunConfig<LabelledData>,
        head: Option<(&ClassificationTask, &Path)>,
    ) -> Result<Self, TrainError> {
        let data = &run.data;
        let kind = data.task.input();
        let mut train = read_labelled(&data.train, kind)?;
        let mut validation = match &data.validation[..] {
            [] => Vec::new(),
            files => read_labelled(files, kind)?,
        };
        let problem = data.problem();
        let labels = match (&data.labels, problem) {
            (_, ProblemType::Regression) => LabelSet::regression(),
            (Some(names), _) => LabelSet::new(names.clone(), problem)?,
            (None, _) => LabelSet::of(&train, problem)?,
        };
        if let Some((head, path)) = head {
            check_same(&labels, head, path.into())?;
        }
        if data.validation.is_empty()
            && let Some(hold_out) = data.validation_split
        {
            (train, validation) = split(train, hold_out, run.training.seed)?;
        }
        Ok(Self { train, validation, labels })
    }
}
